import { createHash } from 'node:crypto'
import type { Clock, Rng } from '@sealwrit/protocol'
import type { FloorFile } from '../ports.ts'

/** A clock that moves when it is told to; the wall clock also backwards. */
export class FakeClock implements Clock {
  #wallMs: number
  #monotonicMs = 0
  #timers: { atMs: number; run: () => void }[] = []

  constructor(wallMs: number = Date.UTC(2026, 0, 1)) {
    this.#wallMs = wallMs
  }

  wallMs(): number {
    return this.#wallMs
  }
  monotonicMs(): number {
    return this.#monotonicMs
  }
  /** Counts through sleep, like the machine's own. */
  bootMs(): number {
    return this.#monotonicMs
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.#monotonicMs + ms, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  /** Time passes: both clocks move and due timers run, earliest first. */
  advance(ms: number): void {
    const end = this.#monotonicMs + ms
    for (;;) {
      const next = this.#timers.filter(({ atMs }) => atMs <= end).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((other) => other !== next)
      this.#wallMs += Math.max(0, next.atMs - this.#monotonicMs)
      this.#monotonicMs = Math.max(this.#monotonicMs, next.atMs)
      next.run()
    }
    this.#wallMs += end - this.#monotonicMs
    this.#monotonicMs = end
  }

  /** The machine stands still: time passes, but no timer has run yet when the program goes on. */
  suspend(ms: number): void {
    this.#monotonicMs += ms
    this.#wallMs += ms
  }

  /** Somebody sets the wall clock; the monotonic one does not notice. */
  jump(ms: number): void {
    this.#wallMs += ms
  }
}

/** Reproducible bytes: SHA-256 over seed and counter. Never for anything but tests. */
export function seededRng(seed: string): Rng {
  let counter = 0
  return {
    bytes: (count) => {
      const out = new Uint8Array(count)
      for (let at = 0; at < count; at += 32) out.set(createHash('sha256').update(`${seed}/${counter++}`).digest().subarray(0, count - at), at)
      return out
    },
  }
}

/** A floor file in memory. */
export class MemoryFloor implements FloorFile {
  text: string | undefined
  read(): string | undefined {
    return this.text
  }
  write(text: string): void {
    this.text = text
  }
}
