import type { Absence } from '@sealwrit/protocol'
import { Look, NotTold } from './look.ts'

/** What a collector told, or why it did not; collected again when a place that it looked at is another. */
export class Fact<T> {
  readonly #collect: (look: Look) => T
  readonly #nowMs: () => number
  #look: Look
  #told: { readonly value: T } | { readonly absent: Absence }

  constructor(collect: (look: Look) => T, nowMs: () => number) {
    this.#collect = collect
    this.#nowMs = nowMs
    this.#look = new Look(nowMs)
    this.#told = this.#ask()
  }

  get value(): T | undefined {
    return 'value' in this.#told ? this.#told.value : undefined
  }
  get absent(): Absence | undefined {
    return 'absent' in this.#told ? this.#told.absent : undefined
  }

  /** @returns whether anything was collected again */
  lookAgain(): boolean {
    if (this.#look.isUnchanged) return false
    this.#look = new Look(this.#nowMs)
    this.#told = this.#ask()
    return true
  }

  #ask(): { value: T } | { absent: Absence } {
    try {
      return { value: this.#collect(this.#look) }
    } catch (error) {
      if (error instanceof NotTold) return { absent: error.reason }
      throw error
    }
  }
}
