import type { Plane } from '@sealwrit/control-plane'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { type AuthorizeReply, type AuthorizeRequest, parseEntry } from '@sealwrit/protocol'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { sized } from '../../../test/support/scoreboard.ts'
import { type Postgres, startPostgres } from '../../../test/support/postgres.ts'
import { attempt, Load, pause, Replicas, violations } from '../../../test/support/replicas.ts'
import { ToxicProxy } from '../../../test/support/toxic.ts'
import { ask, outcome, TestGate, told } from './support/rig.ts'

/** The statements at which connections are cut. */
const APPEND = 'UPDATE sealwrit_head SET size'
const ROUNDS = sized(30, 500)

let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const one of closing.splice(0).reverse()) await one()
})

/** Planes that reach the database through a proxy; it itself is reached by `replicas.url`. */
async function through(count: number): Promise<{ proxy: ToxicProxy; replicas: Replicas; url: string; plane: Plane }> {
  if (!postgres.isOurs) throw new Error('void: the proxy stands before the socket of a server of ours')
  const url = await postgres.database()
  const proxy = new ToxicProxy(postgres.socket)
  closing.push(() => proxy.close())
  const replicas = await Replicas.open(proxy.url(url), count)
  closing.push(() => replicas.close())
  return { proxy, replicas, url, plane: replicas.planes[0] as Plane }
}

/** The permit of a reply, or why there is none. */
const permitOf = (reply: Promise<AuthorizeReply>): Promise<string> => reply.then((r) => (r.decision === 'permit' ? r.sealed.entry : told(r)), (error: { code?: string; message?: string }) => error.code ?? error.message ?? 'unknown')

describe('a connection that ends in the middle of a commit (ATK-082, I2, I3)', () => {
  it(`${ROUNDS} times, before the statement is sent or before its answer arrives: the challenge settles it, and one request has one permit`, async () => {
    const { proxy, replicas, url, plane } = await through(1)
    const gate = await TestGate.ofAll(replicas.planes)
    const permits = new Set<string>()
    for (let round = 0; round < ROUNDS; round++) {
      const request = gate.request()
      const when = round % 2 === 0 ? 'before it is sent' : 'before its answer'
      proxy.toxic = { kind: 'cut', text: APPEND, when }
      const first = await permitOf(ask(plane, gate, request))
      expect(proxy.landed).toBe(round + 1)
      const again = await permitOf(ask(plane, gate, request))
      expect(parseEntry(again).kind).toBe('permit')
      // Its commit was done, though nobody said so: the answer is the one in the log, at once and ever after.
      expect(first).toBe(when === 'before its answer' ? again : 'evidence_unavailable')
      permits.add(again)
    }
    const logged = (await replicas.entries(url)).filter(({ kind }) => kind === 'permit')
    expect(permits.size).toBe(ROUNDS)
    expect(logged).toHaveLength(ROUNDS)
    console.log(`commit cut ${ROUNDS} times: ${logged.length} requests, ${logged.length} permits`)
  })

  it('the same with two planes that are both asked: still one permit', async () => {
    const { proxy, replicas, url } = await through(2)
    const gate = await TestGate.ofAll(replicas.planes)
    for (let round = 0; round < 10; round++) {
      const request: AuthorizeRequest = gate.request()
      proxy.toxic = { kind: 'cut', text: APPEND, when: 'before its answer' }
      const replies = await Promise.all(replicas.planes.map((plane) => permitOf(ask(plane, gate, request))))
      const again = await Promise.all(replicas.planes.map((plane) => permitOf(ask(plane, gate, request))))
      expect(new Set([...replies.filter((reply) => reply !== 'evidence_unavailable'), ...again]).size).toBe(1)
    }
    expect(proxy.landed).toBe(10)
    expect((await replicas.entries(url)).filter(({ kind }) => kind === 'permit')).toHaveLength(10)
  })

  it('under load, at random moments: no effect twice, no receipt lost, the gates go on', async () => {
    const { proxy, replicas, url } = await through(2)
    const load = await Load.start([replicas.gate()], 8)
    for (let round = 0; round < 12; round++) {
      await load.more(10)
      proxy.toxic = { kind: 'cut', text: APPEND, when: round % 2 === 0 ? 'before its answer' : 'before it is sent' }
      if (round % 3 === 2) proxy.reset()
    }
    await load.more(20)
    load.mark()
    await load.end()
    expect(proxy.landed).toBeGreaterThan(6)
    expect(violations(await replicas.leaves(url), load)).toEqual([])
    for (const plane of replicas.planes) expect(plane.notReady).toBeUndefined()
  })
})

describe('a database that asks to try again', () => {
  it.each(['40001', '40P01'])('%s in place of a commit is tried again, and the group is committed once', async (sqlstate) => {
    const { proxy, replicas, url, plane } = await through(1)
    const gate = await TestGate.ofAll(replicas.planes)
    proxy.toxic = { kind: 'refuse', text: APPEND, sqlstate }
    expect(told(await ask(plane, gate))).toBe('permit')
    expect(proxy.landed).toBe(1)
    expect((await replicas.entries(url)).filter(({ kind }) => kind === 'permit')).toHaveLength(1)
  })
  it('an outcome that the database does not know (40003) is looked up, not tried again blindly', async () => {
    const { proxy, replicas, plane } = await through(1)
    const gate = await TestGate.ofAll(replicas.planes)
    proxy.toxic = { kind: 'refuse', text: APPEND, sqlstate: '40003' }
    const request = gate.request()
    expect(await outcome(ask(plane, gate, request))).toBe('evidence_unavailable')
    expect(told(await ask(plane, gate, request))).toBe('permit')
    expect(plane.notReady).toBeUndefined()
  })
  it('real conflicts of planes in SERIALIZABLE transactions are tried again: every request has its one permit', async () => {
    const url = await postgres.database()
    const serializable = new URL(url)
    serializable.searchParams.set('options', '-c default_transaction_isolation=serializable')
    const replicas = await Replicas.open(serializable.toString(), 3)
    closing.push(() => replicas.close())
    const gate = await TestGate.ofAll(replicas.planes)
    const permits = (await Promise.all(replicas.planes.flatMap((plane) => Array.from({ length: 30 }, async (_, i) => {
      await pause(i * 3)
      return permitOf(ask(plane, gate))
    })))).filter((text) => text.startsWith('{'))
    expect(new Set(permits).size).toBe(90)
    expect((await replicas.entries()).filter(({ kind }) => kind === 'permit')).toHaveLength(90)
    await replicas.close() // a connection hands its statistics in at its end
    expect(await rollbacks(url), 'conflicts were real').toBeGreaterThan(0)
  })
})

describe('a connection that is idle, or a database that does not answer (ATK-082)', () => {
  it('idle connections that were reset are replaced at the next use', async () => {
    const { proxy, replicas, plane } = await through(1)
    const gate = await TestGate.ofAll(replicas.planes)
    for (let round = 0; round < 10; round++) {
      proxy.reset()
      await pause(30)
      expect(told(await ask(plane, gate))).toBe('permit')
    }
  })
  it('a database that falls silent: the gate refuses within its deadline, and works again by itself', async () => {
    const { proxy, replicas, url } = await through(1)
    const gate = replicas.gate()
    const load = await Load.start([gate], 1)
    await load.more(3)
    proxy.toxic = { kind: 'silent' }
    const from = performance.now()
    const code = await attempt(gate, load.canary)
    expect(['unavailable', 'evidence_unavailable']).toContain(code)
    expect(performance.now() - from).toBeLessThan(4_000) // two seconds, and a loaded machine
    for (let i = 0; proxy.landed === 0 && i < 5; i++) expect(['unavailable', 'evidence_unavailable']).toContain(await attempt(gate, load.canary)) // on a loaded machine the first may never get there
    expect(proxy.landed).toBeGreaterThan(0)
    proxy.toxic = { kind: 'none' }
    await load.more(3)
    await load.end()
    expect(violations(await replicas.leaves(url), load)).toEqual([])
  })
  it('a statement that takes too long is ended by the database, refused, and not half done', async () => {
    const url = await postgres.database()
    const replicas = await Replicas.open(url, 1)
    closing.push(() => replicas.close())
    const plane = replicas.planes[0] as Plane
    const gate = await TestGate.ofAll(replicas.planes)
    const size = (await replicas.leaves()).length
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query('BEGIN')
    await client.query('LOCK TABLE sealwrit_group IN ACCESS EXCLUSIVE MODE')
    const request = gate.request()
    const refused = outcome(ask(plane, gate, request))
    await pause(5_300)
    await client.query('COMMIT')
    await client.end()
    expect(await refused).toBe('evidence_unavailable')
    expect(await replicas.leaves()).toHaveLength(size)
    expect(told(await ask(plane, gate, request))).toBe('permit')
  })
  it('a server that turns read-only is left, and used again when it takes writes', async () => {
    const url = await postgres.database()
    const name = new URL(url).pathname.slice(1)
    const replicas = await Replicas.open(url, 1)
    closing.push(() => replicas.close())
    const plane = replicas.planes[0] as Plane
    const gate = await TestGate.ofAll(replicas.planes)
    const set = async (value: string): Promise<void> => {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      await client.query('SET default_transaction_read_only = off')
      await client.query(`ALTER DATABASE ${name} SET default_transaction_read_only = ${value}`)
      await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'sealwrit'")
      await client.end()
      await pause(100)
    }
    await set('on')
    expect(await outcome(ask(plane, gate))).toBe('evidence_unavailable')
    await expect(openPostgresStore(url, 'default')).rejects.toThrow(/the server takes no writes/)
    await set('off')
    expect(told(await ask(plane, gate))).toBe('permit')
  })
})

async function rollbacks(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ xact_rollback: string }>('SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()')
  await client.end()
  return Number(rows[0]?.xact_rollback)
}
