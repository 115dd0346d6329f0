import { BareDisk, workFolder } from './support/disk.ts'
import { type Figure, median, micros, quantile, time } from './support/figure.ts'
import { BenchGate, startPlane, stop } from './support/plane.ts'

const ROUNDS = 7
const CALLS = 200

/** One execution at a time: authorize over the socket, permit durable, seal verified, no-op run, receipt durable. */
export async function p1p2(): Promise<Figure[]> {
  const folder = workFolder()
  const { dir, child } = await startPlane(folder, 0)
  const gate = new BenchGate(dir)
  await gate.open()
  const disk = new BareDisk(folder)
  for (let i = 0; i < 300; i++) await gate.execute('before_reply')
  const bare: number[] = []
  const after: number[] = []
  const before: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(disk.p50(CALLS))
    for (let i = 0; i < CALLS; i++) {
      after.push(await time(() => gate.execute('after_reply')))
      await new Promise((resolve) => setTimeout(resolve, 3)) // the receipt of this call is not paid for by the next
    }
    for (let i = 0; i < CALLS; i++) before.push(await time(() => gate.execute('before_reply')))
  }
  gate.gate.close()
  await stop(child)
  const base = median(bare)
  const figure = (id: string, what: string, must: number, stretch: number, values: readonly number[]): Figure => ({
    id, what, must, stretch, better: 'lower',
    baseline: 'bare pwrite of 4 KiB + fdatasync, p50',
    ratio: median(values) / base,
    rows: [['whole path p50', micros(median(values))], ['whole path p99', micros(quantile(values, 0.99))], ['baseline p50 (median of rounds)', micros(base)]],
    durability: 'SQLite WAL, synchronous=FULL: permit durable before the reply',
    note: 'two Ed25519 verifications and two signatures a call are on the path, and the disk answers more slowly when it is asked once a millisecond than in the baseline’s tight loop; it would take a checkpoint that several calls share, and receipts verified off the event loop',
  })
  return [figure('P1', 'whole path, receipt durable after the reply', 5, 3, after), figure('P2', 'whole path, receipt durable before the reply (the default)', 8, 5, before)]
}
