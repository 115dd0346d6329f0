import { canonicalText, type Digest, type JsonObject, type JsonValue, type Sha256 } from '@sealwrit/protocol'
import { decide } from '../decide/decide.ts'
import { PolicyEngine } from '../decide/engine.ts'
import { loadPolicySet } from '../decide/policy-set.ts'
import { recordedInput } from '../decide/replay.ts'
import { verdict } from '../decide/shadow.ts'

/** Engines of recorded sets kept at once: sets follow each other in a log. */
const MAX_ENGINES = 4

/** What differs between two verdicts on one request. */
export type ChangeKind = 'newly_permitted' | 'newly_held' | 'newly_denied' | 'changed_obligations' | 'changed_reason'

export interface Change {
  readonly kind: ChangeKind
  readonly before: JsonObject
  readonly after: JsonObject
  /** The policies that make the difference: those of the new verdict, or of the old one where nothing matches any more. */
  readonly policies: readonly string[]
}

/** Compares two verdicts on one request; undefined where they say the same. */
export function compareVerdicts(before: JsonObject, after: JsonObject): Change | undefined {
  const kind = changeOf(before, after)
  if (kind === undefined) return undefined
  const [was, is] = [before, after].map(({ determining }) => (determining ?? []) as readonly string[]) as [readonly string[], readonly string[]]
  return { kind, before, after, policies: is.length > 0 ? is : was }
}

function changeOf(before: JsonObject, after: JsonObject): ChangeKind | undefined {
  const [was, is] = [before['decision'], after['decision']]
  if (was !== is) return is === 'permit' ? 'newly_permitted' : is === 'hold' ? 'newly_held' : 'newly_denied'
  const same = (name: string): boolean => canonicalText(before[name] ?? '') === canonicalText(after[name] ?? '')
  if (is !== 'deny' && !(same('obligations') && same('risk'))) return 'changed_obligations'
  return is === 'deny' && !(same('code') && same('determining')) ? 'changed_reason' : undefined
}

/** A recorded request, as `policies.requests` gives it. */
export interface Recorded {
  readonly entry: { readonly kind: string; readonly seq: number; readonly sub?: string; readonly act?: { readonly sub: string; readonly verified: boolean }; readonly intent?: string; readonly policy: { readonly digest: Digest } }
  readonly action?: JsonValue
  readonly inputs?: JsonValue
}

/** Decides recorded requests anew: under the set that decided them, and under a candidate. */
export class RequestReplay {
  readonly #candidate: PolicyEngine
  readonly #texts: (digest: Digest) => Promise<Readonly<Record<string, string>> | undefined>
  readonly #sha256: Sha256
  readonly #engines = new Map<Digest, PolicyEngine | undefined>()

  /** @param texts gives the files of a recorded set, where they are kept */
  constructor(candidate: PolicyEngine, texts: (digest: Digest) => Promise<Readonly<Record<string, string>> | undefined>, sha256: Sha256) {
    this.#candidate = candidate
    this.#texts = texts
    this.#sha256 = sha256
  }

  /** Both verdicts; undefined where the request or the set that decided it is not kept. */
  async verdicts({ entry, action, inputs }: Recorded): Promise<{ before: JsonObject; after: JsonObject } | undefined> {
    const { sub, act, policy } = entry
    if (action === undefined || inputs === undefined || sub === undefined || act === undefined) return undefined
    const engine = await this.#engine(policy.digest)
    if (engine === undefined) return undefined
    const input = recordedInput(action, inputs, { ...entry, sub, act })
    return { before: verdict(decide(input, { engine, epoch: 0 })), after: verdict(decide(input, { engine: this.#candidate, epoch: 0 })) }
  }

  async #engine(digest: Digest): Promise<PolicyEngine | undefined> {
    if (digest === this.#candidate.set.digest) return this.#candidate
    if (this.#engines.has(digest)) return this.#engines.get(digest)
    const files = await this.#texts(digest)
    const engine = files === undefined ? undefined : new PolicyEngine(loadPolicySet(files, this.#sha256))
    if (this.#engines.size >= MAX_ENGINES) this.#engines.delete(this.#engines.keys().next().value as Digest)
    this.#engines.set(digest, engine)
    return engine
  }
}
