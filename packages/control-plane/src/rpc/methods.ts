import {
  Denied, Fields, type JsonValue, isIssueRequest, parseAction, parseAgent, parseAuthorizeRequest, parseDenialRequest, parseEnrolRequest, parseFacts, parseIssueRequest,
  parseReceiptRequest, parseRedeemRequest, parseToolsRequest,
} from '@sealwrit/protocol'
import type { Shown } from '../authorize/authorize.ts'
import type { Plane } from '../plane.ts'
import { MAX_PAGE } from '../prove/reader.ts'

/** What one connection, or one HTTP request, is to the plane. */
export interface Peer {
  /** The newest checkpoint that was shown to it. */
  readonly shown: Shown
  /** The session it opened; over a socket it can speak for no other. */
  session: string | undefined
}

type Method = (plane: Plane, params: JsonValue, peer: Peer) => unknown

/** Every method of the plane's socket. HTTP serves the same ones. */
export const METHODS: Readonly<Record<string, Method>> = Object.freeze({
  'gates.enrol': async (plane, params, peer) => {
    const request = parseEnrolRequest(params)
    const answer = await plane.enrol(request, peer.shown)
    peer.session = request.session
    return { sealed: answer.sealed, consistency: answer.consistency, sub: answer.sub, epoch: answer.epoch }
  },
  authorize: async (plane, params, peer) => {
    if (isIssueRequest(params)) return issue(plane, params, peer)
    const request = parseAuthorizeRequest(params)
    return plane.authorize(request, await speaker(plane, request.session, peer), peer.shown)
  },
  issue,
  redeem: async (plane, params, peer) => {
    const request = parseRedeemRequest(params)
    return plane.redeem(request, await speaker(plane, request.session, peer), peer.shown)
  },
  receipts: async (plane, params, peer) => {
    const request = parseReceiptRequest(params)
    return { seq: await plane.receipt(request, await speaker(plane, request.session, peer)) }
  },
  denials: async (plane, params, peer) => {
    const request = parseDenialRequest(params)
    return { seq: await plane.denial(request, await speaker(plane, request.session, peer)) }
  },
  'tools.record': async (plane, params, peer) => {
    const request = parseToolsRequest(params)
    await speaker(plane, request.session, peer)
    return { tools: await plane.tools(request) }
  },
  decide: async (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'decide')
    const action = parseAction(fields.value('action'))
    const agent = fields.optional('agent', (name) => parseAgent(fields.object(name))) ?? { name: 'anyone', verified: false }
    const facts = fields.optional('facts', (name) => parseFacts(fields.object(name))) ?? { paths: 'none' as const }
    fields.end()
    const decision = await plane.decide({ action, agent, facts })
    const { kind, policy, inputs, errors } = decision
    return {
      decision: kind,
      ...(decision.kind === 'deny' ? { code: decision.code } : {}),
      ...(decision.kind === 'hold' ? { approval: decision.approval } : {}),
      ...(decision.kind === 'permit' ? { constraints: decision.constraints, risk: decision.risk } : {}),
      policy,
      inputs,
      errors,
    }
  },
  'log.list': (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'log.list')
    const limit = fields.optional('limit', (name) => fields.integer(name, MAX_PAGE)) ?? 50
    const before = fields.optional('before', (name) => fields.integer(name)) ?? Number.MAX_SAFE_INTEGER
    const kinds = fields.optional('kinds', (name) => new Set(fields.strings(name, 32)))
    fields.end()
    return plane.reader.list(before, limit, kinds)
  },
  executions: (plane, params) => plane.reader.show(one(params, 'id')),
  evidence: (plane, params) => plane.reader.evidence(one(params, 'selector')),
  status: (plane) => ({
    origin: plane.log.origin,
    tenant: plane.log.tenant,
    size: plane.log.size,
    epoch: plane.epoch,
    policy: plane.log.state.policyDigest ?? '',
    open: plane.log.state.open.size,
    gates: plane.log.state.gates.size,
    ready: plane.notReady === undefined,
    pid: process.pid,
  }),
})

/** An artifact to be carried is for a caller that is no gate: a gate can never issue for itself or for another. */
async function issue(plane: Plane, params: JsonValue, peer: Peer): Promise<unknown> {
  const request = parseIssueRequest(params)
  if (peer.session !== undefined) throw new Denied('identity_invalid', 'this connection is that of a gate')
  return plane.issue(request, peer.shown)
}

/** The gate that a request may speak for. Over a socket only for the session that it opened itself (ATK-049). */
async function speaker(plane: Plane, session: string, peer: Peer): Promise<string> {
  if (peer.session !== session) throw new Denied('identity_invalid', 'this connection did not open that session')
  return plane.gateOf(session)
}

function one(params: JsonValue, name: string): string {
  const fields = new Fields(params, 'request_malformed', name)
  const value = fields.text(name, 64)
  fields.end()
  return value
}
