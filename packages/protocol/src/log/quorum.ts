import { Denied } from '../denial.ts'
import type { Crypto } from '../crypto.ts'
import { verifyCosignature } from './cosignature.ts'
import { type Note, parseNote, verifyNote } from './note.ts'
import type { PolicyWitness, Quorum, WitnessPolicy } from './witness-policy.ts'

/** How old a cosignature may be when a gate counts it, in seconds. */
export const MAX_COSIGNATURE_AGE_SECONDS = 60

/** When cosignatures are looked at, and how old they may be. */
export interface QuorumTime {
  readonly nowSeconds: number
  /** Undefined: of any age, as when old evidence is verified offline. */
  readonly maxAgeSeconds: number | undefined
}

/** A cosignature that counted. */
export interface Counted {
  /** The witness, as the policy names it. */
  readonly name: string
  /** When it saw the checkpoint, in seconds since 1970. */
  readonly time: number
}

interface Cosigned {
  readonly witness: PolicyWitness
  readonly time: number
}

/**
 * Verifies that a checkpoint note is valid under a policy: signed by one of its logs, where it lists any, and cosigned by
 * its quorum within the age.
 *
 * @returns the cosignatures that counted, in the policy's order
 * @throws {Denied} `witness_quorum_not_met`; `key_unknown` and `signature_invalid` where no listed log signed it; `artifact_malformed`, `encoding_invalid` for its form
 * @see c2sp.org/tlog-policy
 */
export function verifyQuorum(note: string, policy: WitnessPolicy, time: QuorumTime, crypto: Crypto): readonly Counted[] {
  return count(readCosigned(note, policy, time.nowSeconds, crypto), policy.quorum, time)
}

/** Everything about a note that stays true as time passes. */
function readCosigned(note: string, policy: WitnessPolicy, nowSeconds: number, crypto: Crypto): readonly Cosigned[] {
  if (policy.logs.length === 0 && policy.witnesses.length === 0) return []
  const parsed = parseNote(note)
  verifyListedLog(parsed, policy, crypto)
  return policy.witnesses.flatMap((witness) => {
    const time = verifyCosignature(parsed, witness.key, nowSeconds, crypto)
    return time === undefined ? [] : [{ witness, time }]
  })
}

function verifyListedLog(note: Note, { logs }: WitnessPolicy, crypto: Crypto): void {
  if (logs.length === 0) return
  const origin = note.text.slice(0, note.text.indexOf('\n'))
  const log = logs.find(({ key }) => key.name === origin && note.signatures.some((s) => s.name === key.name && s.id === key.id))
  if (log === undefined) throw new Denied('key_unknown', 'the witness policy lists no log that signed this')
  verifyNote(note, log.key, crypto)
}

function count(cosigned: readonly Cosigned[], quorum: Quorum, { nowSeconds, maxAgeSeconds }: QuorumTime): readonly Counted[] {
  const young = cosigned.filter(({ time }) => maxAgeSeconds === undefined || nowSeconds - time <= maxAgeSeconds)
  const by = new Set(young.map(({ witness }) => witness))
  if (!isQuorumMet(quorum, by)) throw new Denied('witness_quorum_not_met', cosigned.length > young.length ? 'cosignatures are missing, or too old' : 'cosignatures are missing')
  return young.map(({ witness, time }) => ({ name: witness.name, time }))
}

/** Whether cosignatures by exactly these suffice. A group is met when its threshold of members is; nesting is bounded by the number of groups. */
/** The fewest cosignatures that can meet `quorum`. */
export function leastCosignatures(quorum: Quorum): number {
  switch (quorum.kind) {
    case 'none':
      return 0
    case 'witness':
      return 1
    case 'group':
      return quorum.members.map(leastCosignatures).sort((a, b) => a - b).slice(0, quorum.threshold).reduce((sum, one) => sum + one, 0)
  }
}

export function isQuorumMet(quorum: Quorum, by: ReadonlySet<PolicyWitness>): boolean {
  switch (quorum.kind) {
    case 'none':
      return true
    case 'witness':
      return by.has(quorum.witness)
    case 'group':
      return quorum.members.filter((member) => isQuorumMet(member, by)).length >= quorum.threshold
  }
}

/**
 * A witness policy as a gate holds it. The cosignatures on one note are verified once; their age is looked at each time.
 */
export class WitnessQuorum {
  readonly policy: WitnessPolicy
  readonly maxAgeSeconds: number
  #known: { readonly note: string; readonly cosigned: readonly Cosigned[] } | undefined

  constructor(policy: WitnessPolicy, maxAgeSeconds: number = MAX_COSIGNATURE_AGE_SECONDS) {
    this.policy = policy
    this.maxAgeSeconds = maxAgeSeconds
  }

  /** Whether it asks for any cosignature at all. */
  get asks(): boolean {
    return this.policy.quorum.kind !== 'none'
  }

  /** As {@link verifyQuorum}. @throws {Denied} the same */
  verify(note: string, nowSeconds: number, crypto: Crypto): readonly Counted[] {
    const cosigned = this.#known?.note === note ? this.#known.cosigned : readCosigned(note, this.policy, nowSeconds, crypto)
    this.#known = { note, cosigned }
    return count(cosigned, this.policy.quorum, { nowSeconds, maxAgeSeconds: this.maxAgeSeconds })
  }
}
