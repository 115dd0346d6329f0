import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeClock, nodeCryptography, nodeRng, Sequencer, type Store } from '@sealwrit/control-plane'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { fromBase64Url, noteKey } from '@sealwrit/protocol'
import pg from 'pg'
import { type Postgres, startPostgres } from '../test/support/postgres.ts'
import { workFolder } from './support/disk.ts'
import { type Figure, median, perSecond } from './support/figure.ts'
import { BenchGate, main, stop } from './support/plane.ts'

const ROUNDS = 5
const IN_FLIGHT = 64
const EXECUTIONS = 2_000
const REPLICAS = [1, 2, 3] as const
/** Of the baseline. */
const CONNECTIONS = 16
const ROWS = 6_000

/** Runs `count` steps, `inFlight` at a time. @returns steps a second */
async function rate(count: number, inFlight: number, step: (worker: number) => Promise<unknown>): Promise<number> {
  let left = count
  const from = performance.now()
  await Promise.all(Array.from({ length: inFlight }, async (_, worker) => {
    while (left-- > 0) await step(worker)
  }))
  return count / ((performance.now() - from) / 1_000)
}

function startReplica(dir: string, url: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', main, 'up', '--json', '--dir', dir, '--listen', '127.0.0.1:0'], { env: { ...process.env, SEALWRIT_STORE: url }, stdio: ['ignore', 'pipe', 'inherit'] })
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', () => resolve(child))
    child.once('exit', (code) => reject(new Error(`plane ended (${code})`)))
  })
}

/** So many planes, as processes, over one new database; a gate for each in this process. */
class Fleet {
  readonly gates: BenchGate[] = []
  readonly #children: ChildProcess[] = []

  static async open(folder: string, url: string, count: number): Promise<Fleet> {
    const fleet = new Fleet()
    for (let i = 0; i < count; i++) {
      const dir = path.join(folder, `${count}-${i}`)
      if (i > 0) for (const name of ['keys', 'log.vkey', 'policies']) fs.cpSync(path.join(folder, `${count}-0`, name), path.join(dir, name), { recursive: true })
      if (i > 0) fs.chmodSync(dir, 0o700)
      fleet.#children.push(await startReplica(dir, url))
      const gate = new BenchGate(dir)
      await gate.open()
      fleet.gates.push(gate)
    }
    return fleet
  }
  run(count: number): Promise<number> {
    return rate(count, IN_FLIGHT, (worker) => (this.gates[worker % this.gates.length] as BenchGate).execute('before_reply'))
  }
  async close(): Promise<void> {
    for (const { gate } of this.gates) gate.close()
    for (const child of this.#children) await stop(child)
  }
}

/** One action, one row, one commit: what is stored of an execution is as large as ours. */
class RowEach {
  readonly #clients: pg.Client[] = []
  readonly #body: string
  constructor(bytes: number) {
    this.#body = randomBytes(bytes / 2).toString('hex')
  }
  async open(url: string): Promise<void> {
    for (let i = 0; i < CONNECTIONS; i++) {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      if (i === 0) await client.query('CREATE TABLE record (id TEXT PRIMARY KEY, body TEXT NOT NULL)')
      this.#clients.push(client)
    }
  }
  run(count: number): Promise<number> {
    return rate(count, CONNECTIONS, (worker) => (this.#clients[worker] as pg.Client).query({ name: 'insert', text: 'INSERT INTO record (id, body) VALUES ($1, $2)', values: [randomBytes(16).toString('base64url'), this.#body] }))
  }
  async close(): Promise<void> {
    for (const client of this.#clients) await client.end()
  }
}

/** The log alone on this store, in this process: entries with bodies as large as an execution's, the same number waiting. */
class LogAlone {
  readonly #store: Store
  readonly #log: Sequencer
  readonly #text: string
  #n = 0
  private constructor(store: Store, log: Sequencer, bytes: number) {
    this.#store = store
    this.#log = log
    this.#text = randomBytes(bytes / 2).toString('hex')
  }
  static async open(url: string, bytes: number): Promise<LogAlone> {
    const store = await openPostgresStore(url, 'default')
    const keys = generateKeyPairSync('ed25519')
    const key = noteKey('bench.test/default', fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string), nodeCryptography.sha256)
    const log = await Sequencer.open({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey: { key, sign: (m) => sign(null, m, keys.privateKey) }, highWater: { read: () => undefined, write: () => undefined }, defer: setImmediate }, 'default')
    return new LogAlone(store, log, bytes)
  }
  run(count: number): Promise<number> {
    return rate(count, IN_FLIGHT, () => this.#log.submit(() => ({
      body: { kind: 'tool', target: 'mcp://bench', name: `tool${this.#n++}`, digest: `sha256:${'a'.repeat(64)}` },
      bodies: [{ purpose: 'inputs', commit: `sha256:${'c'.repeat(64)}`, salt: 'AAAAAAAAAAAAAAAAAAAAAA', digest: `sha256:${'d'.repeat(64)}`, text: this.#text }],
    })))
  }
  close(): Promise<void> {
    return this.#store.close()
  }
}

async function bytesAnExecution(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ bytes: string; permits: string }>("SELECT sum(length(entries) + length(bodies)) AS bytes, sum((length(entries) - length(replace(entries, '\"kind\":\"permit\"', ''))) / 15) AS permits FROM sealwrit_group")
  await client.end()
  return Math.round(Number(rows[0]?.bytes) / Number(rows[0]?.permits))
}

async function measure(postgres: Postgres): Promise<{ ours: number[][]; alone: number[]; rows: number[]; bytes: number }> {
  const folder = workFolder()
  const fleets: Fleet[] = []
  const urls: string[] = []
  for (const count of REPLICAS) {
    urls.push(await postgres.database())
    fleets.push(await Fleet.open(folder, urls.at(-1) as string, count))
  }
  for (const fleet of fleets) await fleet.run(1_500)
  const bytes = await bytesAnExecution(urls[0] as string)
  const baseline = new RowEach(bytes)
  await baseline.open(await postgres.database())
  await baseline.run(2_000)
  const log = await LogAlone.open(await postgres.database(), bytes)
  await log.run(2_000)
  const ours: number[][] = REPLICAS.map(() => [])
  const [rows, alone]: [number[], number[]] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, fleet] of fleets.entries()) ours[i]?.push(await fleet.run(EXECUTIONS))
    rows.push(await baseline.run(ROWS))
    alone.push(await log.run(ROWS))
  }
  for (const fleet of fleets) await fleet.close()
  await baseline.close()
  await log.close()
  return { ours, alone, rows, bytes }
}

/** Whole path on PostgreSQL: gates, planes and the database as processes, everything durable, against one row an action. */
export async function p7(): Promise<Figure[]> {
  const postgres = await startPostgres()
  try {
    const { ours, alone, rows, bytes } = await measure(postgres)
    const best = Math.max(...ours.map(median))
    const common = {
      baseline: `one row of ${bytes} bytes an action, one commit each, on ${CONNECTIONS} connections to the same server; nothing decided, signed or verified`,
      must: 3, stretch: 8, better: 'higher', durability: 'PostgreSQL, fsync=on, synchronous_commit=on on both sides; receipts before the reply',
    } as const
    const base = ['one row an action, median of rounds', perSecond(median(rows))] as const
    return [
      {
        id: 'P7', what: `whole path on PostgreSQL at ${IN_FLIGHT} in flight, executions a second, the best of ${REPLICAS.join(', ')} plane replicas`, ...common, ratio: best / median(rows),
        rows: [...REPLICAS.map((count, i) => [`${count} plane${count === 1 ? '' : 's'}, median of rounds`, perSecond(median(ours[i] as number[]))] as const), base],
        note: 'CPU bound: an execution costs a signature at the gate, its verification at the plane and the gate’s eight checks, an insert none of it, and on one machine replicas share the cores; it would take receipts that share a signature, and more cores',
      },
      {
        id: 'P7b', what: `the log alone on PostgreSQL, entries of that size a second, ${IN_FLIGHT} waiting`, ...common, ratio: median(alone) / median(rows),
        rows: [['entries a second, median of rounds', perSecond(median(alone))], base],
        note: 'a group of 64 such entries is 230 kB in one statement, which the server stores in pieces of 2 kB: that takes longer than its commit (with bodies of a few bytes an append takes under half the time)',
      },
    ]
  } finally {
    await postgres.stop()
  }
}
