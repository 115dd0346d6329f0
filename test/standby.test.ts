import type { Plane } from '@sealwrit/control-plane'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { type Pair, startPair } from './support/postgres.ts'
import { attempt, Load, pause, Replicas, violations } from './support/replicas.ts'

/** Denials that an honest gate may meet while the database is away: by the plane's word, or because it gave up waiting. */
const WHILE_AWAY = ['evidence_unavailable', 'overloaded', 'unavailable']

const opened: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.stop()
})

async function pairOf(kind: 'synchronous' | 'asynchronous', planes: number): Promise<{ pair: Pair; replicas: Replicas }> {
  const pair = await startPair(kind)
  opened.push(pair)
  const replicas = await Replicas.open(await pair.database(), planes)
  opened.push({ stop: () => replicas.close() })
  return { pair, replicas }
}

/** The same database by one of its servers alone. */
function at(url: string, socket: string): string {
  const { pathname } = new URL(url)
  return `postgres://postgres@localhost${pathname}?host=${encodeURIComponent(socket)}`
}

/** Lets every plane notice where its log stands; what it refuses with does not matter. */
async function look(replicas: Replicas): Promise<void> {
  for (const plane of replicas.planes) await plane.log.refresh().catch(() => undefined)
}

describe('a synchronous standby takes over', () => {
  it('S13, ATK-082, I2, I3, I5: the primary is killed under load and the standby promoted: nothing acknowledged is lost, doubled or forked, and no hand touches the planes', async () => {
    const { pair, replicas } = await pairOf('synchronous', 2)
    const gates = [replicas.gate(), replicas.gate(new MemoryFloor(), [...replicas.socketPaths].reverse())]
    const load = await Load.start(gates, 6)
    await load.more(200)
    load.mark()
    const before = load.ran
    await pair.primary.crash('kill')
    await pause(400)
    expect(load.codes.get('evidence_unavailable') ?? 0, 'the fault landed').toBeGreaterThan(0)
    await pair.standby.promote()
    await load.more(200)
    load.mark()
    await load.end()
    expect(violations(await replicas.leaves(), load)).toEqual([])
    expect(load.marks.length).toBe(4)
    expect([...load.codes.keys()].filter((code) => !WHILE_AWAY.includes(code))).toEqual([])
    for (const plane of replicas.planes) expect(plane.notReady).toBeUndefined()
    console.log(`standby promoted under load: ${before} effects before, ${load.ran - before} after, longest time without one ${Math.round(load.longestDenyMs)} ms; refused meanwhile: ${JSON.stringify(Object.fromEntries(load.codes))}`)
  })

  it('I3: a commit that the standby never had is not acknowledged after a restart of the primary, although the primary shows it', async () => {
    const { pair, replicas } = await pairOf('synchronous', 1)
    const gate = replicas.gate()
    const load = await Load.start([gate], 1)
    await load.more(5)
    await load.end()
    const [plane] = replicas.planes
    const size = plane?.log.size as number
    await pair.standby.crash('kill') // from here on every commit waits for it
    const answer = plane?.log.submit(() => ({ body: { kind: 'tool', target: 'mcp://fs', name: 'late', digest: `sha256:${'b'.repeat(64)}` }, bodies: [] })).then(() => 'acknowledged', (error: { code: string }) => error.code)
    await pause(500)
    await pair.primary.crash('kill')
    await pair.primary.start()
    const only = at(replicas.url, pair.primary.socket)
    await pause(200)
    expect(await replicas.leaves(only).catch(() => []), 'the primary shows it').toHaveLength(size + 1)
    expect(await answer).toBe('evidence_unavailable')
    await pair.primary.crash('kill')
    await pair.standby.start()
    await pair.standby.promote()
    expect(await replicas.leaves()).toHaveLength(size)
  })

  it('a commit whose wait for the standby is cut short by hand is no acknowledgement', async () => {
    const { pair, replicas } = await pairOf('synchronous', 1)
    const [plane] = replicas.planes
    await pair.standby.crash('kill')
    const answer = plane?.log.cover().then(() => plane.log.submit(() => ({ body: { kind: 'tool', target: 'mcp://fs', name: 'late', digest: `sha256:${'b'.repeat(64)}` }, bodies: [] }))).then(() => 'acknowledged', (error: { code: string }) => error.code)
    let cancelled = 0
    for (let i = 0; i < 100 && cancelled === 0; i++) {
      await pause(50)
      cancelled = (await pair.primary.ask("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).length
    }
    expect(cancelled, 'the fault landed').toBeGreaterThan(0)
    expect(await answer).toBe('evidence_unavailable')
  })

  it('a standby is never read: a plane that reaches nothing else waits, and starts nowhere', async () => {
    const { pair, replicas } = await pairOf('synchronous', 1)
    const gate = replicas.gate()
    const load = await Load.start([gate], 1)
    await load.more(3)
    await load.end()
    await pair.primary.crash('kill')
    await look(replicas)
    expect(replicas.planes[0]?.notReady, 'not stopped for good').toBeUndefined()
    await expect(openPostgresStore(replicas.url, 'default')).rejects.toThrow(/the store cannot be reached: database: (?:the server takes no writes|connect)/)
    await expect(openPostgresStore(at(replicas.url, pair.standby.socket), 'default')).rejects.toThrow(/the server takes no writes/)
  })
})

describe('an old primary that comes back without a fence (ATK-043, ATK-069, ATK-071, I5)', () => {
  it('shows a shorter log: the planes stop, a gate is refused, and nothing is written there', async () => {
    const { pair, replicas } = await pairOf('synchronous', 2)
    const floor = new MemoryFloor()
    const load = await Load.start([replicas.gate(floor)], 4)
    await load.more(20)
    await pair.primary.crash('kill')
    await pair.standby.promote()
    await load.more(50)
    await load.end()
    await look(replicas)
    const [old, now] = [at(replicas.url, pair.primary.socket), at(replicas.url, pair.standby.socket)]
    await pair.primary.start(['synchronous_standby_names='])
    const left = (await replicas.leaves(old)).length
    await pair.standby.crash('kill') // the planes lose their server, and find the old one
    await look(replicas)
    await look(replicas)
    for (const plane of replicas.planes) expect(plane.notReady?.message).toMatch(/shorter than it was|older signed checkpoint/)
    const gate = replicas.gate(floor)
    expect(await attempt(gate)).toBe('evidence_unavailable')
    gate.close()
    expect((await replicas.leaves(old)).length).toBe(left)
    // A plane that starts there knows nothing better; the gate does, by its floor.
    await replicas.add(undefined, old)
    const misled = replicas.gate(floor, [replicas.socketPaths[2] as string])
    const canary: string[] = []
    expect(await attempt(misled, canary)).toBe('store_rollback')
    expect(canary).toEqual([])
    misled.close()
    await pair.primary.crash('kill')
    await pair.standby.start()
    expect(violations(await replicas.leaves(now), load)).toEqual([])
  })

  it('was written to meanwhile and is longer: the planes stop at the first look, before anything of it is acknowledged', async () => {
    const { pair, replicas } = await pairOf('synchronous', 1)
    const floor = new MemoryFloor()
    const load = await Load.start([replicas.gate(floor)], 2)
    await load.more(10)
    await pair.primary.crash('kill')
    await pair.standby.promote()
    await load.more(10)
    await load.end()
    await pair.primary.start(['synchronous_standby_names='])
    await replicas.add(undefined, at(replicas.url, pair.primary.socket))
    const stray = await Load.start([replicas.gate(new MemoryFloor(), [replicas.socketPaths[1] as string])], 2)
    const [plane, other] = replicas.planes as [Plane, Plane]
    for (let i = 0; i < 50 && other.log.size <= plane.log.size; i++) await stray.more(50)
    await stray.end()
    expect(other.log.size).toBeGreaterThan(plane.log.size)
    await pair.standby.crash('kill')
    await look(replicas)
    await look(replicas)
    expect(plane.notReady?.message).toMatch(/not those that the log key signed|not the one that it was|not that of the stored entries|older signed checkpoint/)
    const gate = replicas.gate(floor, [replicas.socketPaths[1] as string])
    expect(await attempt(gate), 'the longer history is not an extension of what the gate knows').toBe('store_rollback')
    gate.close()
  })
})

describe('an asynchronous standby that lagged', () => {
  it('ATK-043, I5: is promoted and lacks what was acknowledged: planes stop, a restarted one is refused by the gate’s floor, no effect', async () => {
    const { pair, replicas } = await pairOf('asynchronous', 2)
    const floor = new MemoryFloor()
    const load = await Load.start([replicas.gate(floor)], 4)
    await load.more(20)
    await pair.standby.crash('kill')
    await load.more(50)
    await load.end()
    await look(replicas)
    const acknowledged = (await replicas.leaves()).length
    await pair.primary.crash('kill')
    await pair.standby.start()
    await pair.standby.promote()
    expect((await replicas.leaves()).length, 'the loss is real').toBeLessThan(acknowledged)
    await look(replicas)
    for (const plane of replicas.planes) expect(plane.notReady?.message).toMatch(/shorter than it was|older signed checkpoint/)
    await replicas.add()
    const gate = replicas.gate(floor, [replicas.socketPaths[2] as string])
    const canary: string[] = []
    for (let i = 0; i < 3; i++) expect(await attempt(gate, canary)).toBe('store_rollback')
    expect(canary).toEqual([])
    gate.close()
  })
})
