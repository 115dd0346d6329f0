import { type Figure, median, micros, quantile } from './support/figure.ts'
import { grown } from './support/history.ts'
import { BenchGate, startPlane, stop } from './support/plane.ts'

const ROUNDS = 9
const CALLS = 150
const [SMALL, MIDDLE, LARGE] = [1_000, 100_000, 1_000_000]
const OPEN = 100_000

/** One plane on a log of its own, with a gate, a number of entries and a number of permits without an ending. */
class Grown {
  readonly startMs: number
  readonly #gate: BenchGate
  readonly #stop: () => Promise<void>
  readonly times: number[] = []

  private constructor(gate: BenchGate, startMs: number, end: () => Promise<void>) {
    this.#gate = gate
    this.startMs = startMs
    this.#stop = end
  }

  static async open(entries: number, open: number): Promise<Grown> {
    const { folder } = await grown('grown', entries, open)
    const from = performance.now()
    const { dir, child } = await startPlane(folder, 0)
    const startMs = performance.now() - from
    const gate = new BenchGate(dir)
    await gate.open()
    return new Grown(gate, startMs, async () => {
      gate.gate.close()
      await stop(child)
    })
  }

  async round(calls: number, isKept = true): Promise<void> {
    for (let i = 0; i < calls; i++) {
      const ms = await this.#gate.authorized()
      if (isKept) this.times.push(ms)
    }
  }
  close(): Promise<void> {
    return this.#stop()
  }
}

/** Authorize, from asking at the gate to the permit verified there, by what the log holds and by what is open. */
export async function p10(): Promise<Figure[]> {
  const planes = { small: await Grown.open(SMALL, 0), middle: await Grown.open(MIDDLE, 0), large: await Grown.open(LARGE, 0), open: await Grown.open(2 * OPEN, OPEN) }
  const all = Object.values(planes)
  for (const plane of all) await plane.round(300, false)
  for (let round = 0; round < ROUNDS; round++) for (const plane of round % 2 === 0 ? all : [...all].reverse()) await plane.round(CALLS)
  for (const plane of all) await plane.close()
  const { small, middle, large, open } = planes
  const base = median(small.times)
  const row = (name: string, { times }: Grown): readonly [string, string] => [name, `p50 ${micros(median(times))}, p99 ${micros(quantile(times, 0.99))}`]
  const common = { must: 1.1, stretch: 1, better: 'lower', durability: 'SQLite WAL, synchronous=FULL: permit durable before the reply; planes side by side, rounds interleaved' } as const
  const start = ({ startMs }: Grown, entries: number): string => `${(startMs / 1_000).toFixed(1)} s, ${(entries / startMs).toFixed(1)} entries a millisecond`
  return [
    {
      id: 'P10', what: 'authorize p50 with 10⁶ entries in the log', baseline: 'the same with 10³', ratio: median(large.times) / base, ...common,
      rows: [row('10³ entries', small), row('10⁵ entries', middle), row('10⁶ entries', large), ['start of the plane on 10⁵ entries', start(middle, MIDDLE)], ['start of the plane on 10⁶ entries', start(large, LARGE)]],
      note: 'a proof in a log of 10⁶ entries has twice as many hashes as one of 10³, made once and checked twice',
    },
    {
      id: 'P10b', what: 'authorize p50 with 10⁵ permits open', baseline: 'none open, in a log of 10³', ratio: median(open.times) / base, ...common,
      rows: [row('none open', small), row('10⁵ permits open, in a log of 2·10⁵', open)],
      note: 'every five seconds the plane looks through what is open for permits that are overdue',
    },
  ]
}
