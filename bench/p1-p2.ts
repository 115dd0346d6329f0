import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import type { ChildProcess } from 'node:child_process'
import { asker } from './support/asker.ts'
import { BareDisk, workFolder } from './support/disk.ts'
import { type Figure, median, micros, quantile, time } from './support/figure.ts'
import { BenchGate, startPlane, stop } from './support/plane.ts'

const ROUNDS = 7
const CALLS = 200
const [POLICIES, AGENTS, REVOCATIONS] = [1_000, 10_000, 100_000]
/** Registrations and revocations under way at once while a plane is filled. */
const AT_ONCE = 512

/** A plane of its own with a gate, and the times of its executions. */
class Measured {
  readonly after: number[] = []
  readonly before: number[] = []
  readonly #child: ChildProcess
  readonly #gate: BenchGate

  private constructor(child: ChildProcess, gate: BenchGate) {
    this.#child = child
    this.#gate = gate
  }
  static async open(folder: string, policies: number, fill: (dir: string) => Promise<void>): Promise<Measured> {
    fs.mkdirSync(folder)
    const { dir, child } = await startPlane(folder, policies)
    await fill(dir)
    const gate = new BenchGate(dir)
    await gate.open()
    for (let i = 0; i < 300; i++) await gate.execute('before_reply')
    return new Measured(child, gate)
  }
  async round(): Promise<void> {
    for (let i = 0; i < CALLS; i++) {
      this.after.push(await time(() => this.#gate.execute('after_reply')))
      await new Promise((resolve) => setTimeout(resolve, 3)) // the receipt of this call is not paid for by the next
    }
    for (let i = 0; i < CALLS; i++) this.before.push(await time(() => this.#gate.execute('before_reply')))
  }
  close(): Promise<void> {
    this.#gate.gate.close()
    return stop(this.#child)
  }
}

/** Registers agents and revokes what nobody asks for, through the plane's socket as a person would. */
async function govern(dir: string): Promise<void> {
  const plane = await asker(path.join(dir, 'plane.sock'))
  const each = async (count: number, one: (i: number) => Promise<unknown>): Promise<void> => {
    for (let from = 0; from < count; from += AT_ONCE) await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, i) => one(from + i)))
  }
  await each(AGENTS, (i) => plane.ask('agents.add', { agent: `agent-${i}`, key: randomBytes(32).toString('base64url'), owner: 'team:bench' }))
  await each(REVOCATIONS, (i) => plane.ask('revoke', { selector: `subject:user:${i}` }))
  plane.close()
}

/** One execution at a time: authorize over the socket, permit durable, seal verified, no-op run, receipt durable. */
export async function p1p2(): Promise<Figure[]> {
  const folder = workFolder()
  const small = await Measured.open(path.join(folder, 'small'), 0, async () => undefined)
  const governed = await Measured.open(path.join(folder, 'governed'), POLICIES, govern)
  const disk = new BareDisk(folder)
  const bare: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(disk.p50(CALLS))
    for (const plane of round % 2 === 0 ? [small, governed] : [governed, small]) await plane.round()
  }
  await small.close()
  await governed.close()
  const base = median(bare)
  const figure = (id: string, what: string, must: number, stretch: number, values: readonly number[]): Figure => ({
    id, what, must, stretch, better: 'lower',
    baseline: 'bare pwrite of 4 KiB + fdatasync, p50',
    ratio: median(values) / base,
    rows: [['whole path p50', micros(median(values))], ['whole path p99', micros(quantile(values, 0.99))], ['baseline p50 (median of rounds)', micros(base)]],
    durability: 'SQLite WAL, synchronous=FULL: permit durable before the reply',
    note: 'two Ed25519 verifications and two signatures a call are on the path, and the disk answers more slowly when it is asked once a millisecond than in the baseline’s tight loop; it would take a checkpoint that several calls share, and receipts verified off the event loop',
  })
  const full = `with ${POLICIES.toLocaleString('en')} policies, ${AGENTS.toLocaleString('en')} agents and ${REVOCATIONS.toLocaleString('en')} revocations`
  return [
    figure('P1', 'whole path, receipt durable after the reply', 5, 3, small.after), figure('P2', 'whole path, receipt durable before the reply (the default)', 8, 5, small.before),
    figure('P1b', `the same as P1 ${full}`, 5, 3, governed.after), figure('P2b', `the same as P2 ${full}`, 8, 5, governed.before),
  ]
}
