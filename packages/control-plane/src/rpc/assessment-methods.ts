import { Fields, type JsonValue, readAssessment } from '@sealwrit/protocol'
import type { Plane } from '../plane.ts'
import type { MethodName, Methods } from './api.ts'
import { type Peer, refuseGates } from './peer.ts'

export const ASSESSMENT_METHODS: Methods<Extract<MethodName, `assessments.${string}`>> = Object.freeze({
  'assessments.record': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'assessment')
    const { by: _, kind: __, ...found } = readAssessment(fields)
    fields.end()
    return plane.assessments.record(found, peer.person.id)
  },
  'assessments.list': (plane: Plane, params: JsonValue) => {
    new Fields(params, 'request_malformed', 'assessments.list').end()
    return plane.assessments.list()
  },
})
