import type { Clock } from '@sealwrit/protocol'

/** Wrong passwords for one name, or at one plane, before nothing more is tried in the window. */
export const MAX_ATTEMPTS = 5
export const MAX_ALL_ATTEMPTS = 300
/** How long they count, in milliseconds. */
export const ATTEMPTS_WINDOW_MS = 900_000
/** Names that are counted at once; beyond it the one that was tried first is forgotten, long after the plane itself takes no more. */
export const MAX_COUNTED_NAMES = 10_000

interface Counted {
  readonly fromMs: number
  readonly count: number
}

/** Bounds how often passwords are guessed, for names that there are and for those that there are not alike. */
export class Attempts {
  readonly #clock: Clock
  readonly #names = new Map<string, Counted>()
  #all: Counted = { fromMs: 0, count: 0 }

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts one try for `name`; false where it may not be made. */
  take(name: string): boolean {
    const now = this.#clock.monotonicMs()
    const [mine, all] = [current(this.#names.get(name), now), current(this.#all, now)]
    if (mine.count >= MAX_ATTEMPTS || all.count >= MAX_ALL_ATTEMPTS) return false
    if (this.#names.size >= MAX_COUNTED_NAMES && !this.#names.has(name)) this.#names.delete(this.#names.keys().next().value as string)
    this.#names.set(name, { ...mine, count: mine.count + 1 })
    this.#all = { ...all, count: all.count + 1 }
    return true
  }

  /** It was the right one: nothing is held against the name. */
  forget(name: string): void {
    this.#names.delete(name)
  }
}

function current(counted: Counted | undefined, now: number): Counted {
  return counted === undefined || now - counted.fromMs >= ATTEMPTS_WINDOW_MS ? { fromMs: now, count: 0 } : counted
}
