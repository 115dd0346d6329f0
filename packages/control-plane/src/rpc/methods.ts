import {
  Denied, Fields, type JsonValue, isIssueRequest, MAX_PROOF_LENGTH, parseAction, parseAgent, parseAuthorizeRequest, parseDenialRequest, parseEnrolRequest, parseFacts, parseIssueRequest,
  parseReceiptRequest, parseRedeemRequest, parseToolsRequest, toBase64,
} from '@sealwrit/protocol'
import type { Shown } from '../authorize/authorize.ts'
import { isProtected } from '../decide/policy-set.ts'
import type { Plane } from '../plane.ts'
import { MAX_PAGE } from '../prove/reader.ts'
import { POLICY_METHODS } from './policy-methods.ts'

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
    const rules = policy.determining.filter(isProtected)
    return {
      decision: kind,
      ...(decision.kind === 'deny' ? { code: decision.code } : {}),
      ...(decision.kind === 'hold' ? { approval: decision.approval } : {}),
      ...(decision.kind === 'permit' ? { constraints: decision.constraints, risk: decision.risk } : {}),
      policy,
      ...(rules.length === 0 ? {} : { protected: rules }),
      ...(decision.shadow === undefined ? {} : { shadow: decision.shadow }),
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
  'log.read': (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'log.read')
    const from = fields.integer('from')
    const limit = fields.optional('limit', (name) => fields.integer(name, MAX_PAGE)) ?? MAX_PAGE
    fields.end()
    return plane.reader.read(from, limit)
  },
  executions: (plane, params) => plane.reader.show(one(params, 'id')),
  evidence: async (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'evidence')
    const selector = fields.text('selector', 64)
    const since = fields.optional('since', (name) => fields.text(name, MAX_PROOF_LENGTH))
    fields.end()
    const start = await plane.reader.evidenceStart(selector, since)
    return { ...start, ...(await plane.reader.evidencePage(start, 0)) }
  },
  'evidence.more': (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'evidence.more')
    const start = { head: { v: 1, origin: plane.log.origin, tenant: plane.log.tenant, checkpoint: fields.text('checkpoint', MAX_PROOF_LENGTH) }, size: fields.integer('size'), seqs: undefined } as const
    const from = fields.integer('from')
    fields.end()
    return plane.reader.evidencePage(start, from)
  },
  'log.checkpoint': async (plane) => ({ checkpoint: (await plane.log.evidenced()).note }),
  'log.tile': async (plane, params) => ({ bytes: toBase64(await plane.reader.tile(one(params, 'path'))) }),
  'log.gaps': (plane) => plane.reader.gaps(plane.nowMs),
  fsck: (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'fsck')
    const begin = fields.boolean('begin')
    fields.end()
    return plane.reader.fsck(begin)
  },
  erase: (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'erase')
    const [selector, isDry] = [fields.text('selector', 256), fields.boolean('dry')]
    fields.end()
    return plane.erase(selector, isDry)
  },
  ...POLICY_METHODS,
  'policies.text': (plane, params) => plane.reader.policies(one(params, 'digest', 71)),
  'anchors.now': async (plane, params) => {
    new Fields(params, 'request_malformed', 'anchors.now').end()
    return { outcomes: await plane.anchors.now() }
  },
  'anchors.list': async (plane, params) => {
    new Fields(params, 'request_malformed', 'anchors.list').end()
    return { sinks: await plane.anchors.list() }
  },
  status: async (plane) => ({
    origin: plane.log.origin,
    tenant: plane.log.tenant,
    size: plane.log.size,
    epoch: plane.epoch,
    policy: plane.log.state.policyDigest ?? '',
    open: plane.log.state.open.size,
    gates: plane.log.state.gates.size,
    ready: plane.notReady === undefined,
    pid: process.pid,
    anchors: await plane.anchors.status(),
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

function one(params: JsonValue, name: string, maxLength = 64): string {
  const fields = new Fields(params, 'request_malformed', name)
  const value = fields.text(name, maxLength)
  fields.end()
  return value
}
