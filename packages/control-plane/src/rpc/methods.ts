import {
  type AgentEntry, type AuthorizeReply, Denied, Fields, type JsonValue, isIssueRequest, parseStrictText, present, MAX_IDENTITY_TOKEN, MAX_PROOF_LENGTH, MAX_RESOURCE, MAX_SELECTOR, parseAction, parseAgent, parseApprovalRequest, parseAuthorizeRequest, parseDenialRequest, parseEnrolRequest, parseFacts, parseIssueRequest,
  parseReceiptRequest, parseRedeemRequest, parseRenewRequest, parseSupposed, readIntent, toBase64,
} from '@sealwrit/protocol'
import { parseApproverRequest } from '../govern/approvers.ts'
import { isProtected } from '../decide/policy-set.ts'
import { type Page, readPage } from '../page.ts'
import type { Plane } from '../plane.ts'
import { MAX_PAGE } from '../prove/reader.ts'
import { FEDERATION_METHODS } from './federation-methods.ts'
import { KEY_METHODS } from './key-methods.ts'
import { parseSearch } from '../prove/search.ts'
import type { MethodName, Methods } from './api.ts'
import { type Peer, refuseGates, speaker } from './peer.ts'
import { PEOPLE_METHODS } from './people-methods.ts'
import { POLICY_METHODS } from './policy-methods.ts'
import { ASSESSMENT_METHODS } from './assessment-methods.ts'
import { TOOL_METHODS } from './tool-methods.ts'

/** Every method of the plane's socket. HTTP serves the same ones; who may call which: `roles.ts`. */
export const METHODS: Methods<MethodName> = Object.freeze<Methods<MethodName>>({
  'gates.enrol': async (plane, params, peer) => {
    const request = parseEnrolRequest(params)
    const answer = await plane.enrol(request, peer.shown)
    peer.session = request.session
    peer.listen?.(await plane.gateOf(request.session))
    return answer
  },
  /** What a gate signs to enrol, and an agent to have an artifact issued; good once. */
  nonce: (plane, params) => {
    new Fields(params, 'request_malformed', 'nonce').end()
    return { origin: plane.log.origin, nonce: plane.nonce() }
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
  'identity.verify': async (plane, params, peer) => {
    const fields = new Fields(params, 'request_malformed', 'identity.verify')
    const [session, token, audience] = [fields.token('session'), fields.text('token', MAX_IDENTITY_TOKEN), fields.text('audience', MAX_RESOURCE)]
    fields.end()
    await speaker(plane, session, peer)
    await plane.openGateOf(session)
    return plane.identifier.bearer(token, audience)
  },
  'leases.renew': async (plane, params, peer) => {
    const request = parseRenewRequest(params)
    return plane.renew(request, await speaker(plane, request.session, peer), peer.shown)
  },
  'events.ack': async (plane, params, peer) => {
    const fields = new Fields(params, 'request_malformed', 'events.ack')
    const [session, seq] = [fields.token('session'), fields.integer('seq')]
    fields.end()
    plane.events.acknowledged(await speaker(plane, session, peer), seq)
    return {}
  },
  revoke: (plane, params, peer) => plane.stops.revoke(selectorOf(params, peer), peer.person.id),
  kill: (plane, params, peer) => plane.stops.kill(selectorOf(params, peer), peer.person.id),
  unkill: (plane, params, peer) => plane.stops.lift(selectorOf(params, peer), peer.person.id),
  effect: (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'effect')
    const seq = fields.integer('seq')
    fields.end()
    const effect = plane.events.effect(seq)
    if (effect === undefined) throw new Denied('request_malformed', 'not followed')
    return effect
  },
  'revocations.list': (plane, params) => plane.stops.revocations(page(params, 'revocations.list')),
  'kills.list': (plane, params) => plane.stops.kills(page(params, 'kills.list')),
  'agents.add': (plane, params, peer) => changeAgent(plane, params, peer, 'added'),
  'agents.add_key': (plane, params, peer) => changeAgent(plane, params, peer, 'key_added'),
  'agents.remove_key': (plane, params, peer) => changeAgent(plane, params, peer, 'key_removed'),
  'agents.remove': (plane, params, peer) => changeAgent(plane, params, peer, 'removed'),
  'agents.list': (plane, params) => plane.registry.agents(page(params, 'agents.list')),
  'gates.list': (plane, params) => plane.registry.gates(page(params, 'gates.list')),
  directory: async (plane, params) => {
    const name = await plane.registry.nameOf(one(params, 'id'))
    if (name === undefined) throw new Denied('request_malformed', 'no name is known for this id')
    return parseStrictText(name)
  },
  decide: async (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'decide')
    const action = parseAction(fields.value('action'))
    const agent = fields.optional('agent', (name) => parseAgent(fields.object(name))) ?? { name: 'anyone', verified: false }
    const facts = fields.optional('facts', (name) => parseFacts(fields.object(name))) ?? { paths: 'none' as const }
    const environment = fields.optional('environment', (name) => parseSupposed(fields.object(name)))
    const intent = fields.optional('intent', (name) => readIntent(fields, name))
    fields.end()
    const decision = await plane.decide(present<Parameters<Plane['decide']>[0]>({ action, agent, facts, environment, intent }))
    const { kind, policy, inputs, errors } = decision
    const rules = policy.determining.filter(isProtected)
    return {
      decision: kind,
      ...(decision.kind === 'deny' ? { code: decision.code } : {}),
      ...(decision.kind === 'hold' ? { approval: decision.approval } : {}),
      ...(decision.kind === 'permit' ? { constraints: decision.constraints, risk: decision.risk, assurance: decision.assurance } : {}),
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
  'executions.search': (plane, params) => plane.reader.search(parseSearch(params)),
  executions: (plane, params) => plane.reader.show(one(params, 'id')),
  lineage: (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'lineage')
    const [id, page] = [fields.token('id'), readPage(fields)]
    fields.end()
    return plane.reader.lineage(id, page)
  },
  evidence: async (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'evidence')
    const selector = fields.text('selector', 64)
    const since = fields.optional('since', (name) => fields.text(name, MAX_PROOF_LENGTH))
    fields.end()
    const start = await plane.reader.evidenceStart(selector, since)
    return { ...start, ...(await plane.reader.evidencePage(start, 0)) }
  },
  'evidence.more': async (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'evidence.more')
    const head = { v: 1, origin: plane.log.origin, tenant: plane.log.tenant, checkpoint: fields.text('checkpoint', MAX_PROOF_LENGTH) } as const
    const [selector, size, from] = [fields.text('selector', 64), fields.integer('size'), fields.integer('from')]
    fields.end()
    // Found anew, and not taken from the caller; what came meanwhile lies beyond `size`.
    const seqs = selector === 'all' ? undefined : (await plane.reader.evidenceStart(selector)).seqs
    return plane.reader.evidencePage({ head, size, seqs }, from)
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
  erase: (plane, params, peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'erase')
    const [selector, isDry] = [fields.text('selector', 256), fields.boolean('dry')]
    fields.end()
    return plane.erase(selector, isDry, peer.person.id)
  },
  ...PEOPLE_METHODS,
  ...POLICY_METHODS,
  ...KEY_METHODS,
  ...FEDERATION_METHODS,
  ...TOOL_METHODS,
  ...ASSESSMENT_METHODS,
  'policies.text': (plane, params) => plane.reader.policies(one(params, 'digest', 71)),
  'approvals.list': (plane, params) => {
    const fields = new Fields(params, 'request_malformed', 'approvals.list')
    const isAll = fields.optional('all', (name) => fields.boolean(name)) ?? false
    const asked = readPage(fields)
    fields.end()
    return plane.people.holds(isAll, asked)
  },
  'approvals.show': (plane, params) => plane.people.hold(one(params, 'hold')),
  'approvals.decide': (plane, params, peer) => {
    refuseGates(peer)
    return plane.people.decideHold(parseApprovalRequest(params))
  },
  'approvers.add': (plane, params, peer) => {
    refuseGates(peer)
    return plane.people.addApprover(parseApproverRequest(params), peer.person.id)
  },
  'approvers.remove': (plane, params, peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'approvers.remove')
    const [who, key] = [fields.text('who', 128), fields.optional('key', (name) => fields.text(name, 43))]
    fields.end()
    return plane.people.removeApprover(who, key, peer.person.id)
  },
  'approvers.list': (plane, params) => plane.people.approvers(page(params, 'approvers.list')),
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
    observing: plane.policies.isObserving,
    profiles: plane.policies.profiles,
    pid: process.pid,
    anchors: await plane.anchors.status(),
  }),
})

/** What can be asked for. */
export const METHOD_NAMES: readonly string[] = Object.keys(METHODS)

/** Registrations are for whoever may use the plane as its owner; a gate may not, it could register an agent of its own. */
async function changeAgent(plane: Plane, params: JsonValue, peer: Peer, event: AgentEntry['event']): Promise<{ seq: number }> {
  refuseGates(peer)
  const fields = new Fields(params, 'request_malformed', 'agent')
  const change = present<{ agent: string; event: AgentEntry['event']; key?: string; owner?: string; expires?: number }>({
    agent: fields.text('agent', 64),
    event,
    key: event === 'removed' ? undefined : fields.text('key', 43),
    owner: event === 'added' ? fields.optional('owner', (name) => fields.text(name, 128)) : undefined,
    expires: event === 'added' || event === 'key_added' ? fields.optional('expires', (name) => fields.integer(name)) : undefined,
  })
  fields.end()
  return { seq: await plane.registry.changeAgent({ ...change, by: peer.person.id }) }
}

function page(params: JsonValue, what: string): Page {
  const fields = new Fields(params, 'request_malformed', what)
  const asked = readPage(fields)
  fields.end()
  return asked
}

/** An artifact to be carried is for a caller that is no gate: a gate can never issue for itself or for another. */
async function issue(plane: Plane, params: JsonValue, peer: Peer): Promise<AuthorizeReply> {
  const request = parseIssueRequest(params)
  refuseGates(peer)
  return plane.issue(request, peer.shown)
}

/** Only people stop things: a gate speaks for executions and nothing else. @throws {Denied} */
function selectorOf(params: JsonValue, peer: Peer): string {
  refuseGates(peer)
  return one(params, 'selector', MAX_SELECTOR)
}

function one(params: JsonValue, name: string, maxLength = 64): string {
  const fields = new Fields(params, 'request_malformed', name)
  const value = fields.text(name, maxLength)
  fields.end()
  return value
}
