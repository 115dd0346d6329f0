import { quoted } from '@sealwrit/protocol'
import { placeIn } from '../../page.ts'
import type { Plane } from '../../plane.ts'
import { MalformedMember } from '../problem.ts'
import { actionFor, type Entity, type Tuple } from './asked.ts'
import { evaluate } from './evaluate.ts'

/** Candidates that are decided about for one page: it may be short, and says where to go on. */
const MAX_CANDIDATES = 200
const MAX_RESULTS = 100

export interface SearchRequest extends Tuple {
  readonly page?: { readonly token?: string; readonly limit?: number }
}
export interface Results<T> {
  readonly results: readonly T[]
  readonly page: { readonly next_token: string; readonly count: number }
}

interface Candidate<T> {
  /** A number that grows along the candidates. */
  readonly place: number
  readonly result: T
  readonly tuple: Tuple
}

/** Registered agents that may. @throws {MalformedMember} */
export function searchSubjects({ subject, page, ...rest }: SearchRequest, plane: Plane): Promise<Results<Entity>> {
  if (subject?.type !== 'agent') throw new MalformedMember('/subject/type', `subjects of type ${quoted(subject?.type ?? '')} cannot be searched; \`agent\` can`)
  const { properties = {} } = subject
  function* candidates(): Generator<Candidate<Entity>> {
    for (const [id, { seq }] of plane.log.state.agents) yield { place: seq, result: { type: 'agent', id }, tuple: { ...rest, subject: { type: 'agent', id, properties } } }
  }
  return permitted(candidates(), page, plane)
}

/** Recorded tools that may be called. @throws {MalformedMember} */
export function searchResources({ resource, page, ...rest }: SearchRequest, plane: Plane): Promise<Results<Entity>> {
  if (resource?.type !== 'tool') throw new MalformedMember('/resource/type', `resources of type ${quoted(resource?.type ?? '')} cannot be searched; \`tool\` can`)
  const { properties = {} } = resource
  function* candidates(): Generator<Candidate<Entity>> {
    let place = 0
    for (const { target, name } of plane.log.state.tools.values()) {
      const id = `${target}/${name}`
      yield { place: place++, result: { type: 'tool', id }, tuple: { ...rest, resource: { type: 'tool', id, properties } } }
    }
  }
  return permitted(candidates(), page, plane)
}

/** Actions that may be done with a resource: there is one kind for each. @throws {MalformedMember} */
export function searchActions({ page, ...rest }: SearchRequest, plane: Plane): Promise<Results<Entity>> {
  const name = actionFor(rest.resource ?? {})
  return permitted([{ place: 0, result: { name }, tuple: { ...rest, action: { name } } }], page, plane)
}

async function permitted<T>(candidates: Iterable<Candidate<T>>, { token = '', limit = MAX_RESULTS }: NonNullable<SearchRequest['page']> = {}, plane: Plane): Promise<Results<T>> {
  if (limit === 0) return { results: [], page: { next_token: token, count: 0 } }
  const after = token === '' ? -1 : placeIn(token)
  const results: T[] = []
  let [looked, last] = [0, after]
  const reply = (next: number | undefined): Results<T> => ({ results, page: { next_token: next === undefined ? '' : String(next), count: results.length } })
  for (const { place, result, tuple } of candidates) {
    if (place <= after) continue
    if (results.length >= Math.min(limit, MAX_RESULTS) || looked === MAX_CANDIDATES) return reply(last)
    looked++
    last = place
    if ((await evaluate(tuple, plane)).decision) results.push(result)
  }
  return reply(undefined)
}
