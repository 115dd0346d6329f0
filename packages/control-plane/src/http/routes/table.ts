import type { Route } from '../route.ts'
import { AUTHZEN_ROUTES } from './authzen.ts'
import { EVIDENCE_ROUTES } from './evidence.ts'
import { GATE_ROUTES } from './gates.ts'
import { PEOPLE_ROUTES } from './people.ts'
import { PLANE_ROUTES } from './plane.ts'
import { REGISTRY_ROUTES } from './registry.ts'
import { SESSION_ROUTES } from './sessions.ts'

/** Everything that is served over HTTP. */
export const ROUTES: readonly Route[] = Object.freeze([...GATE_ROUTES, ...REGISTRY_ROUTES, ...PEOPLE_ROUTES, ...SESSION_ROUTES, ...EVIDENCE_ROUTES, ...AUTHZEN_ROUTES, ...PLANE_ROUTES])
