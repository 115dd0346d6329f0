import { type Clock, Denied } from '@sealwrit/protocol'

/** Wrong passwords for one name before nothing more is tried for it, and how long they count, in milliseconds. */
export const MAX_ATTEMPTS = 5
export const ATTEMPTS_WINDOW_MS = 900_000
/** The same for all names together: one guess at each of many is a guess too. Short, so that it keeps nobody out for long. */
export const MAX_ALL_ATTEMPTS = 60
export const ALL_ATTEMPTS_WINDOW_MS = 60_000
/** Names that are counted at once; beyond it the one that was tried first is forgotten. */
export const MAX_COUNTED_NAMES = 10_000

interface Counted {
  readonly fromMs: number
  readonly count: number
}

/** Bounds how often passwords are guessed, for names that there are and for those that there are not alike. */
export class Attempts {
  readonly #clock: Clock
  readonly #names = new Map<string, Counted>()
  #all: Counted | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts one try for `name`; false where it may not be made. @throws {Denied} `overloaded` where too many names are tried */
  take(name: string): boolean {
    const now = this.#clock.monotonicMs()
    const [mine, all] = [current(this.#names.get(name), now, ATTEMPTS_WINDOW_MS), current(this.#all, now, ALL_ATTEMPTS_WINDOW_MS)]
    if (all.count >= MAX_ALL_ATTEMPTS) throw new Denied('overloaded', 'too many wrong passwords')
    if (mine.count >= MAX_ATTEMPTS) return false
    if (this.#names.size >= MAX_COUNTED_NAMES && !this.#names.has(name)) this.#names.delete(this.#names.keys().next().value as string)
    this.#names.set(name, { ...mine, count: mine.count + 1 })
    this.#all = { ...all, count: all.count + 1 }
    return true
  }

  /** It was the right one: nothing is held against the name, or anybody. */
  forget(name: string): void {
    if (this.#names.delete(name) && this.#all !== undefined) this.#all = { ...this.#all, count: Math.max(0, this.#all.count - 1) }
  }
}

function current(counted: Counted | undefined, now: number, windowMs: number): Counted {
  return counted === undefined || now - counted.fromMs >= windowMs ? { fromMs: now, count: 0 } : counted
}
