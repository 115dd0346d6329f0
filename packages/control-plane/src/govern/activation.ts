import { type Digest, Fields, isObject, type JsonValue, quoted, type Sha256 } from '@sealwrit/protocol'
import { type CaseResult, parseCases, type PolicyCase, runCases } from '../decide/cases.ts'
import { PolicyEngine } from '../decide/engine.ts'
import { loadPolicySet, MAX_POLICY_FILES, PolicyError, type PolicySet } from '../decide/policy-set.ts'
import type { LogState } from '../log/state.ts'
import { type Page, pageOf, type Paged } from '../page.ts'
import type { Activated, Activating, Policies } from './policies.ts'

/** A policy set that somebody wants activated, with its own tests. */
export interface ActivationRequest {
  readonly files: Readonly<Record<string, string>>
  readonly tests: readonly PolicyCase[]
  readonly how: Activating
}

/** Failures of tests that are told one by one. */
const MAX_TOLD = 20

/** A refusal is an expected outcome: it says what is wrong with the set. Nothing was activated, and the old set stays. */
export type ActivationAnswer =
  | (Activated & { readonly tests: number })
  | { readonly outcome: 'refused'; readonly reason: string; readonly failed: readonly CaseResult[] }

/** @throws {Denied} `request_malformed` */
export function parseActivation(params: JsonValue): ActivationRequest {
  const fields = new Fields(params, 'request_malformed', 'policies.activate')
  const files = fields.value('files')
  const isTexts = isObject(files) && Object.keys(files).length <= MAX_POLICY_FILES + 1 && Object.values(files).every((text) => typeof text === 'string')
  if (!isTexts) fields.object('files').end()
  const flag = (name: string): boolean => fields.optional(name, () => fields.boolean(name)) ?? false
  const request = {
    files: files as Record<string, string>,
    tests: fields.optional('tests', (name) => parseCases(fields.value(name), 'tests')) ?? [],
    how: {
      mode: fields.optional<Activating['mode']>('mode', (name) => fields.oneOf(name, ['enforce', 'shadow'])) ?? 'enforce',
      fromMs: fields.optional('from', (name) => fields.integer(name)),
      urgent: flag('urgent'),
      confirm: flag('confirm'),
      rebase: flag('rebase'),
    },
  }
  fields.end()
  return request
}

/** Validates the set, runs its own tests, and only then activates it. @throws {Denied} as {@link Policies.activate} */
export async function activate({ files, tests, how }: ActivationRequest, policies: Policies, sha256: Sha256, by?: string): Promise<ActivationAnswer> {
  const refused = (reason: string, failed: readonly CaseResult[] = []): ActivationAnswer => ({ outcome: 'refused', reason, failed: failed.slice(0, MAX_TOLD) })
  if (how.mode === 'shadow' && (how.fromMs !== undefined || how.urgent || how.confirm)) return refused('a set in shadow mode governs nothing: it can be neither staged, urgent nor confirmed')
  let set: PolicySet
  try {
    set = loadPolicySet(files, sha256)
  } catch (error) {
    if (error instanceof PolicyError) return refused(error.message)
    throw error
  }
  const failed = runCases(tests, new PolicyEngine(set)).filter(({ failures }) => failures.length > 0)
  if (failed.length > 0) return refused(`${failed.length} of its ${tests.length} tests fail; the first is ${quoted((failed[0] as CaseResult).name)}`, failed)
  const refusal = policies.refusal(set, how)
  if (refusal !== undefined) return refused(refusal)
  return { ...(await policies.activate(set, how, by)), tests: tests.length }
}

/** Epochs that are told, the newest. */
const MAX_EPOCHS_TOLD = 100

/** Where the policy sets stand, for whoever asks. */
export interface PolicyStatus {
  readonly epoch: number
  readonly digest: string
  readonly since: number
  readonly seq: number
  readonly floor: number
  readonly base?: Digest
  readonly staged?: { readonly digest: Digest; readonly from: number; readonly seq: number }
  readonly shadow?: Digest
  /** What policy denies runs at gates that ask for it. */
  readonly observing?: true
  /** The newest ones. */
  readonly epochs: readonly { readonly epoch: number; readonly digest: Digest }[]
  /** Why nothing is permitted under the active set. */
  readonly void?: string
}

export function standingOf({ epoch, policyDigest, standing, epochs }: LogState): Omit<PolicyStatus, 'void'> {
  const { sinceSeq, sinceMs, base, floor, staged, shadow, isObserving } = standing
  return {
    epoch, digest: policyDigest ?? '', since: sinceMs, seq: sinceSeq, floor,
    ...(base === undefined ? {} : { base }),
    ...(staged === undefined ? {} : { staged: { digest: staged.digest, from: staged.fromMs, seq: staged.seq } }),
    ...(shadow === undefined ? {} : { shadow }),
    ...(isObserving ? { observing: true as const } : {}),
    epochs: [...epochs].slice(-MAX_EPOCHS_TOLD).map(([number, digest]) => ({ epoch: number, digest })),
  }
}

/** The set of each epoch, in order. */
export function epochsOf({ epochs }: LogState, asked: Page): Paged<'epochs', { readonly epoch: number; readonly digest: Digest }> {
  const { page, ...rest } = pageOf(epochs, ([epoch]) => epoch, asked)
  return { epochs: page.map(([epoch, digest]) => ({ epoch, digest })), ...rest }
}
