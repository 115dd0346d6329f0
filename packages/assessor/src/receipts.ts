import { ASSURANCE_LEVELS, type AssuranceLevel, CHECKS, type Checks, isObject, type JsonObject, type JsonValue, Numbering, OUTCOMES, type Outcome, ownText, peekClaims } from '@sealwrit/protocol'
import type { Life } from './lives.ts'
import { Count, MAX_PROOF, type Measure, type Measured } from './measure.ts'

/** What a receipt says, as far as it is graded. Whether its gate signed it is verified beside this. */
export interface Claims {
  readonly jti: string
  readonly gate: string
  readonly session: string
  readonly sequence: number
  readonly outcome: Outcome
  readonly cause: string | undefined
  readonly started: number | undefined
  readonly finished: number
  readonly checks: Checks
  readonly containment: readonly JsonValue[]
  readonly assurance: AssuranceLevel
}

const NO_CHECKS = Object.freeze(Object.fromEntries(CHECKS.map((check) => [check, 'missing']))) as Checks

/** The claims of a receipt; the least of everything where they are not of the form. */
export function claimsOf(token: string): Claims {
  const claims: JsonObject = peekClaims(token)
  const { jti, gate, session, sequence, outcome, cause, started, finished, checks, containment, assurance } = claims as Record<string, JsonValue | undefined>
  return {
    jti: typeof jti === 'string' ? jti : '',
    gate: typeof gate === 'string' ? gate : '',
    session: typeof session === 'string' ? session : '',
    sequence: typeof sequence === 'number' && Number.isSafeInteger(sequence) && sequence >= 0 ? sequence : -1,
    outcome: (OUTCOMES as readonly unknown[]).includes(outcome) ? (outcome as Outcome) : 'indeterminate',
    cause: typeof cause === 'string' ? cause : undefined,
    started: typeof started === 'number' ? started : undefined,
    finished: typeof finished === 'number' ? finished : 0,
    checks: isObject(checks) ? (checks as unknown as Checks) : NO_CHECKS,
    containment: Array.isArray(containment) ? containment : [],
    assurance: (ASSURANCE_LEVELS as readonly unknown[]).includes(assurance) ? (assurance as AssuranceLevel) : 'A0',
  }
}

/** Sessions of gates that are remembered. */
const MAX_SESSIONS = 100_000
/** Contradictions that are told one by one. */
const MAX_TOLD = 20
/** More numbers than this are not missing: no gate can have used them. */
const MAX_GAPS = 1_000_000_000

/** What one gate has to account for. */
interface Account {
  /** Numbers of receipts with their permits. */
  covered: number
  /** Receipts of nothing that was permitted there. */
  readonly stray: Count
  /** Executions of which the plane knows no ending, by the leaf index of its `indeterminate`. */
  readonly lost: Set<number>
  /** What it said that cannot be. */
  readonly lies: { readonly seq: number; readonly reason: string }[]
}
interface Session {
  readonly gate: string
  isRecent: boolean
  next: number
  /** Leaf index of the receipts before which numbers are missing, or were. */
  readonly jumps: number[]
}

/** The receipts of gates by their numbers: what is missing, what is there twice, and which part of all that ran at a gate is accounted for. */
export class Numbers {
  readonly #sessions = new Map<string, Session>()
  readonly #numbering = new Numbering()
  readonly #gates = new Map<string, Account>()
  #isFull = false

  /** @param life the execution that it ends; undefined where it ends none */
  receipt(seq: number, { gate, session, sequence }: Claims, life: Life | undefined, isRecent: boolean): void {
    const key = `${gate}\n${session}`
    const known = this.#sessions.get(key)
    if (known === undefined && this.#sessions.size >= MAX_SESSIONS) {
      this.#isFull = true
      return
    }
    const at: Session = known ?? { gate: ownText(gate), isRecent, next: 0, jumps: [] }
    if (known === undefined) this.#sessions.set(ownText(key), at)
    at.isRecent ||= isRecent
    if (sequence > at.next && at.jumps.length < MAX_PROOF) at.jumps.push(seq)
    at.next = Math.max(at.next, sequence + 1)
    const account = this.#account(at.gate)
    if (sequence < 0) this.#lie(account, seq, `gate ${gate} numbered a receipt with something that is no number`)
    else if (!this.#numbering.use(key, sequence)) this.#lie(account, seq, `gate ${gate} used number ${sequence} of its session ${session} twice`)
    if (life?.lost !== undefined) account.lost.delete(life.lost)
    if (!isRecent) return
    if (life === undefined) account.stray.add(seq)
    else account.covered++
  }

  lost({ gate, lost, isRecent }: Life): void {
    if (isRecent && lost !== undefined) this.#account(gate).lost.add(lost)
  }

  /** What a gate says from there on counts for nothing, also not against the log. */
  revoked(gate: string, from: number): void {
    const lies = this.#gates.get(gate)?.lies
    if (lies !== undefined) lies.splice(0, lies.length, ...lies.filter(({ seq }) => seq < from))
  }

  #account(gate: string): Account {
    const account = this.#gates.get(gate) ?? { covered: 0, stray: new Count(), lost: new Set<number>(), lies: [] }
    this.#gates.set(gate, account)
    return account
  }
  #lie({ lies }: Account, seq: number, reason: string): void {
    if (lies.length < MAX_TOLD) lies.push({ seq, reason })
  }

  /** What gates signed and cannot both be: then somebody else may have their keys, or they tell what is not. */
  get contradictions(): readonly string[] {
    return [...this.#gates.values()].flatMap(({ lies }) => lies.map(({ seq, reason }) => `entry ${seq}: ${reason}`)).slice(0, MAX_TOLD)
  }

  *measured(): Generator<readonly [Measure, Measured]> {
    if (this.#isFull) return
    const gaps = new Map([...this.#numbering.gaps()].map(({ session, missing }) => [session, missing]))
    const all = Math.min(MAX_GAPS, [...gaps.values()].reduce((sum, missing) => sum + missing, 0))
    yield ['receipt_gaps', { value: all, proof: [...gaps.keys()].flatMap((key) => this.#sessions.get(key)?.jumps ?? []).slice(0, MAX_PROOF) }]
    const missingAt = new Map<string, { missing: number; readonly jumps: number[] }>()
    for (const [key, missing] of gaps) {
      const session = this.#sessions.get(key)
      if (session?.isRecent !== true) continue
      const at = missingAt.get(session.gate) ?? { missing: 0, jumps: [] }
      at.missing += missing
      at.jumps.push(...session.jumps)
      missingAt.set(session.gate, at)
    }
    let least: Measured | undefined
    for (const [gate, { covered, stray, lost }] of this.#gates) {
      const { missing, jumps } = missingAt.get(gate) ?? { missing: 0, jumps: [] }
      // A number that is missing and an execution that is lost may be the same one.
      const whole = covered + stray.value + Math.max(missing, lost.size)
      if (whole === 0 || (least !== undefined && covered / whole >= least.value)) continue
      least = { value: covered / whole, proof: [...stray.proof, ...jumps, ...lost].slice(0, MAX_PROOF) }
    }
    if (least !== undefined) yield ['covered_share', least]
  }
}
