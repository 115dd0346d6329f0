/** A generator whose whole course is its seed. */
export class Random {
  #state: number
  constructor(seed: number) {
    this.#state = seed % 2_147_483_647 || 1
  }
  below(n: number): number {
    this.#state = (this.#state * 48_271) % 2_147_483_647
    return this.#state % n
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
  /** True in one of `n` cases. */
  once(n: number): boolean {
    return this.below(n) === 0
  }
}
