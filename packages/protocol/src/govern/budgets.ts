import { Denied } from '../denial.ts'
import { Fields } from '../json/fields.ts'
import type { JsonValue } from '../json/value.ts'

/** Whose permits one budget counts together. */
export const BUDGET_SCOPES = ['agent', 'principal', 'tenant'] as const
export type BudgetScope = (typeof BUDGET_SCOPES)[number]

/** Permits that one budget may allow in its window. */
export const MAX_BUDGET_COUNT = 10_000
/** Longest window of a budget, in seconds. */
export const MAX_BUDGET_SECONDS = 2_678_400
/** Budgets that one permit may be counted against. */
export const MAX_BUDGETS = 16

/** At most `count` permits that `policy` determines in any `seconds`, for each one that `per` tells apart. @see spec/policy.md#budgets */
export type Budget = Readonly<{ policy: string; count: number; seconds: number; per: BudgetScope }> // a type, so that it is a JSON value

/** Who a permit is counted for. */
export interface Spender {
  readonly sub: string
  readonly act: { readonly sub: string }
}

/** @throws {Denied} `artifact_malformed` */
export function readBudgets(value: JsonValue): readonly Budget[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_BUDGETS) throw new Denied('artifact_malformed', 'budgets: a list of allowed length')
  const budgets = value.map((one: JsonValue) => {
    const fields = new Fields(one, 'artifact_malformed', 'budget')
    const budget = { policy: fields.text('policy'), count: fields.integer('count', MAX_BUDGET_COUNT), seconds: fields.integer('seconds', MAX_BUDGET_SECONDS), per: fields.oneOf('per', BUDGET_SCOPES) }
    fields.end()
    if (budget.count === 0 || budget.seconds === 0) throw new Denied('artifact_malformed', 'budget: it allows nothing')
    return budget
  })
  if (new Set(budgets.map(({ policy }) => policy)).size !== budgets.length) throw new Denied('artifact_malformed', 'budgets: a policy has one')
  return budgets
}

/** How maps are changed, where a change may have to be taken back. */
export interface Edits {
  set<K, V>(map: Map<K, V>, key: K, value: V): void
  delete<K, V>(map: Map<K, V>, key: K): void
}
const PLAIN: Edits = { set: (map, key, value) => void map.set(key, value), delete: (map, key) => void map.delete(key) }

interface Spent {
  /** When a permit was counted, milliseconds, in the order of the log. */
  readonly times: readonly number[]
  readonly windowMs: number
}

/** What was spent of budgets, by the permits of a log. Writer and verifier count with this same piece. */
export class Budgets {
  readonly #spent = new Map<string, Spent>()
  /** One number, kept in a map so that it is taken back with everything else. */
  readonly #held = new Map<'times', number>()
  readonly #edits: Edits

  constructor(edits: Edits = PLAIN) {
    this.#edits = edits
  }

  /** Times that are held: what a limit on memory looks at. */
  get held(): number {
    return this.#held.get('times') ?? 0
  }

  /** The first of `budgets` that has nothing left for one more permit at `timeMs`. */
  exceeded(budgets: readonly Budget[], who: Spender, timeMs: number): Budget | undefined {
    return budgets.find((budget) => within(this.#spent.get(keyOf(budget, who)), timeMs, budget).length >= budget.count)
  }

  /** Counts a permit. */
  spend(budgets: readonly Budget[], who: Spender, timeMs: number): void {
    for (const budget of budgets) {
      const key = keyOf(budget, who)
      const spent = this.#spent.get(key)
      const times = [...within(spent, timeMs, budget), timeMs]
      this.#hold(times.length - (spent?.times.length ?? 0))
      if (spent !== undefined) this.#edits.delete(this.#spent, key) // to the end: what was used longest ago stands first
      this.#edits.set(this.#spent, key, { times, windowMs: budget.seconds * 1_000 })
    }
    this.#forget(timeMs)
  }

  /** What no window reaches any more. */
  #forget(timeMs: number): void {
    for (const [key, { times, windowMs }] of this.#spent) {
      if ((times.at(-1) as number) + windowMs > timeMs) return
      this.#hold(-times.length)
      this.#edits.delete(this.#spent, key)
    }
  }

  #hold(change: number): void {
    this.#edits.set(this.#held, 'times', this.held + change)
  }
}

function within(spent: Spent | undefined, timeMs: number, { seconds }: Budget): readonly number[] {
  if (spent === undefined) return []
  const from = timeMs - seconds * 1_000
  return spent.times.filter((time) => time > from)
}

/** A window of another length counts anew; another count goes on. */
function keyOf({ policy, seconds, per }: Budget, { sub, act }: Spender): string {
  const who = per === 'tenant' ? '' : per === 'agent' ? act.sub : sub
  return `${policy}\n${seconds}\n${per}\n${who}`
}
