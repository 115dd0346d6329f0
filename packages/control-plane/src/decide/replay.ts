import {
  type Artifact, MAX_DELEGATED_SCOPES, MAX_DEPTH_LINEAGE, MAX_SELECTOR, present, type Body, canonicalText, type DecisionEntry, Denied, type DenialCode, type Digest, Fields, IDENTITY_FORMS, isBelow, isTighter, OBSERVED_TERMS, type JsonObject, type JsonValue, parseAction, parseFacts, parseLevelAndFacts, type PolicyTexts, type Replay, type Sha256,
} from '@sealwrit/protocol'
import { decide, type Decision } from './decide.ts'
import { PolicyEngine } from './engine.ts'
import type { DecisionInput, Lineage } from './mapping.ts'
import { loadPolicySet } from './policy-set.ts'

/** Policy engines kept at once: sets follow each other in a log, so few are in use at the same time. */
const MAX_ENGINES = 4

/** What may refuse a request at its place in the log, whatever the policies said of it. */
const BY_STATE: readonly DenialCode[] = [
  'identity_unknown', 'identity_invalid', 'identity_missing', 'evidence_unavailable', 'policy_superseded', 'policy_stale', 'policy_missing', 'environment_mismatch', 'environment_unattested', 'tool_not_pinned', 'tool_changed',
  'approval_required', 'approval_rejected', 'approval_expired', 'quorum_not_met', 'budget_exceeded', 'obligation_unknown', 'revoked', 'killed',
  'ancestor_revoked', 'artifact_expired', 'artifact_spent', 'witness_quorum_not_met', 'state_diverged', 'subject_mismatch', 'lineage_depth', 'delegation_widens',
]

/** Decides again, from the stored policy sets and inputs, what the log says was decided. */
export class DecisionReplay implements Replay {
  readonly #sha256: Sha256
  readonly #texts = new Map<Digest, Readonly<Record<string, string>>>()
  readonly #engines = new Map<Digest, PolicyEngine>()

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  policies({ digest, files }: PolicyTexts): void {
    this.#texts.set(digest, files as Record<string, string>)
  }

  decision(entry: DecisionEntry, bodies: readonly Body[]): boolean {
    const body = (purpose: Body['purpose']): JsonValue | undefined => bodies.find((one) => one.purpose === purpose)?.body
    const [action, inputs, engine] = [body('action'), body('inputs'), this.#engine(entry.policy.digest)]
    const { sub, act } = entry
    if (action === undefined || inputs === undefined || engine === undefined || sub === undefined || act === undefined) return false
    const decision = decide(recordedInput(action, inputs, { ...entry, sub, act }), { engine, epoch: entry.policy.epoch })
    if (canonicalText(decision.inputs as JsonValue) !== canonicalText(inputs)) throw new Denied('action_mismatch', 'the policies saw other inputs than the action gives')
    if (decision.policy.determining.join('\n') !== entry.policy.determining.join('\n')) throw new Denied('policy_error', 'other policies determine it')
    compare(entry, decision)
    return true
  }

  #engine(digest: Digest): PolicyEngine | undefined {
    const known = this.#engines.get(digest)
    if (known !== undefined) return known
    const files = this.#texts.get(digest)
    if (files === undefined) return undefined
    const engine = new PolicyEngine(loadPolicySet(files, this.#sha256))
    if (this.#engines.size >= MAX_ENGINES) this.#engines.delete(this.#engines.keys().next().value as Digest)
    this.#engines.set(digest, engine)
    return engine
  }
}

/** What the entry itself says of who asked, and for what. */
export interface RecordedAsker {
  readonly sub: string
  readonly act: { readonly sub: string; readonly verified: boolean }
  readonly intent?: string | undefined
}

/** What was decided on: the action, and what the plane and the gate found out about the rest. A refusal before the policies has seen nothing. */
export function recordedInput(action: JsonValue, inputs: JsonValue, { sub, act, intent }: RecordedAsker): DecisionInput {
  const context = new Fields(inputs, 'request_malformed', 'inputs').optional('context', (name) => new Fields((inputs as JsonObject)[name], 'request_malformed', 'context'))
  return {
    action: parseAction(action),
    agent: { name: act.sub.replace(/^agent:/, ''), verified: act.verified },
    sub,
    environment: context === undefined ? { level: 'software' } : parseLevelAndFacts(context.object('environment')),
    facts: context === undefined ? { paths: 'none' } : parseFacts(context.object('facts')),
    intent,
    lineage: context?.optional('lineage', (name) => readLineage(context.object(name))),
    federation: context?.optional('federation', (name) => readFederation(context.object(name))),
    identity: context?.optional('identity', (name) => readIdentity(context.object(name))),
  }
}

/** @throws {Denied} `request_malformed` */
export function readLineage(fields: Fields): Lineage {
  const lineage = present<Lineage>({
    depth: fields.integer('depth', MAX_DEPTH_LINEAGE),
    root: fields.optional('root', (name) => fields.token(name)),
    parent: fields.optional('parent', (name) => {
      const parent = fields.object(name)
      const seen = { agent: parent.text('agent'), tool: parent.text('tool', MAX_SELECTOR) }
      parent.end()
      return seen
    }),
    delegates: fields.optional('delegates', (name) => {
      const delegates = fields.object(name)
      const seen = { depth: delegates.integer('depth'), uses: delegates.integer('uses'), seconds: delegates.integer('seconds'), scopes: delegates.strings('scopes', MAX_DELEGATED_SCOPES, MAX_SELECTOR) }
      delegates.end()
      return seen
    }),
  })
  fields.end()
  return lineage
}

function readFederation(fields: Fields): NonNullable<DecisionInput['federation']> {
  const federation = { direction: fields.oneOf('direction', ['from', 'to']), origin: fields.text('origin') }
  fields.end()
  return federation
}

export function readIdentity(fields: Fields): NonNullable<DecisionInput['identity']> {
  const identity = { form: fields.oneOf('form', IDENTITY_FORMS), issuer: fields.text('issuer'), claims: fields.strings('claims', 16, 2_048) }
  fields.end()
  return identity
}

/** The times of a child may be shorter than its policies say, since it ends with its parent. */
function isConstrainedAs({ constraints, depth, par }: Artifact, decided: Artifact['constraints']): boolean {
  const { lease_seconds: lease, max_runtime_seconds: runtime } = constraints
  // A permit of another plane may narrow what the policies say here, and widens nothing.
  if (par?.foreign !== undefined) return isTighter(constraints, decided) && canonicalText({ ...(decided.budgets === undefined ? {} : { budgets: decided.budgets as never }) }) === canonicalText({ ...(constraints.budgets === undefined ? {} : { budgets: constraints.budgets as never }) })
  const isShorter = depth > 0 && runtime <= decided.max_runtime_seconds && lease === Math.min(decided.lease_seconds, runtime)
  return canonicalText(isShorter ? { ...decided, lease_seconds: lease, max_runtime_seconds: runtime } : { ...decided }) === canonicalText({ ...constraints })
}

/** @throws {Denied} `policy_error` where the log says otherwise */
function compare(entry: DecisionEntry, decision: Decision): void {
  const differ = (what: string): never => {
    throw new Denied('policy_error', what)
  }
  if (entry.kind === 'permit' && entry.observed !== undefined) {
    const by = { policy_denied: 'deny', policy_no_match: 'deny', approval_required: 'hold', tool_not_pinned: 'permit', budget_exceeded: 'permit' }[entry.observed]
    if (decision.kind !== by || (decision.kind === 'deny' && decision.code !== entry.observed)) return differ(`the policies do not say ${entry.observed} (${decision.kind === 'deny' ? decision.code : decision.kind})`)
    const { constraints, risk } = decision.kind === 'deny' ? OBSERVED_TERMS : decision.kind === 'hold' ? decision.permit : decision
    if (risk !== entry.risk || canonicalText({ ...constraints, budgets: [] }) !== canonicalText({ ...entry.constraints, budgets: [] })) differ('other terms of what is only observed')
  } else if (entry.kind === 'permit') {
    // What was approved is permitted by policies that hold it, and only that.
    const permit = decision.kind === 'hold' && entry.approvals.length > 0 ? decision.permit : decision
    if (permit.kind !== 'permit') return differ(`the policies do not permit it (${permit.kind})`)
    if (!isConstrainedAs(entry, permit.constraints)) differ('other obligations')
    if (permit.risk !== entry.risk) differ('another risk')
    // A permit of another plane may demand more of it.
    if (entry.par?.foreign === undefined ? permit.assurance !== entry.assurance : isBelow(entry.assurance, permit.assurance)) differ('another assurance is demanded')
  } else if (entry.kind === 'hold') {
    if (decision.kind !== 'hold') return differ(`the policies do not hold it (${decision.kind})`)
    if (entry.approval === undefined) return // an older plane did not say what it demanded
    const { groups, quorum, timeoutSeconds } = decision.approval
    const demanded = { groups, quorum, expires: Math.floor(entry.time / 1_000) + timeoutSeconds }
    if (canonicalText(demanded) !== canonicalText({ ...entry.approval })) differ('another demand of approval')
  } else if (decision.kind === 'deny') {
    if (decision.code !== entry.code) differ(`the policies deny it for another reason (${decision.code})`)
  } else if (!BY_STATE.includes(entry.code)) differ(`the policies do not deny it (${decision.kind})`)
}
