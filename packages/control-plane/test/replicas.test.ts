import { nodeCryptography, type Plane } from '@sealwrit/control-plane'
import { parseEntry, verifyBundle, verifyCheckpoint, verifyConsistency } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Postgres, startPostgres } from '../../../test/support/postgres.ts'
import { pause, Replicas } from '../../../test/support/replicas.ts'
import { score, sized } from '../../../test/support/scoreboard.ts'
import { ask, outcome, policySet, sha256, TestGate, told, toolCall } from './support/rig.ts'

/** S13 asks for 20 of each kind; the tests of every change do some. */
const RESTARTS = sized(3, 20)
let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

const open = async (count: number): Promise<Replicas> => Replicas.open(await postgres.database(), count)

describe('several planes on one log', () => {
  it('ATK-069, I5: never fork it: every checkpoint of each extends those of the others, every request has its one permit', async () => {
    const replicas = await open(3)
    const gate = await TestGate.ofAll(replicas.planes)
    const notes: string[] = []
    const permits: string[] = []
    await Promise.all(replicas.planes.map(async (plane) => {
      for (let round = 0; round < 25; round++) {
        const replies = await Promise.all(Array.from({ length: 8 }, () => ask(plane, gate)))
        for (const reply of replies) permits.push(reply.decision === 'permit' ? reply.sealed.entry : told(reply))
        notes.push(plane.log.checkpoint.note)
      }
    }))
    expect(new Set(permits).size).toBe(600)
    const [plane] = replicas.planes as [Plane]
    await plane.log.refresh()
    const heads = notes.map((note) => verifyCheckpoint(note, replicas.key, nodeCryptography)).sort((a, b) => a.size - b.size)
    for (let i = 1; i < heads.length; i++) {
      const [older, newer] = [heads[i - 1], heads[i]] as [(typeof heads)[0], (typeof heads)[0]]
      const proof = newer.size === older.size ? [] : await plane.log.proved(() => plane.log.extends(older.size, { size: newer.size, note: '' }))
      verifyConsistency(older, newer, proof, sha256)
    }
    const entries = await replicas.entries()
    expect(entries.map((e) => e.seq)).toEqual(entries.map((_, i) => i))
    expect(entries.filter((e) => e.kind === 'permit')).toHaveLength(600)
    expect(verifyBundle(await plane.reader.evidence('all'), { crypto: nodeCryptography, logKey: replicas.key, gateKeys: [] }).verdict).toBe('established')
    await replicas.close()
  })

  it('ATK-041, S3: one challenge shown to all at once is answered with one and the same permit: 200 of 200', async () => {
    const replicas = await open(3)
    const gate = await TestGate.ofAll(replicas.planes)
    for (let i = 0; i < 200; i++) {
      const request = gate.request()
      const replies = await Promise.all(replicas.planes.map((plane) => ask(plane, gate, request)))
      const entries = new Set(replies.map((reply) => (reply.decision === 'permit' ? reply.sealed.entry : told(reply))))
      expect(entries.size).toBe(1)
    }
    const permits = (await replicas.entries()).filter((e) => e.kind === 'permit')
    expect(permits).toHaveLength(200)
    await replicas.close()
  })
  it('ATK-045: with another request the same challenge is challenge_mismatch at every replica', async () => {
    const replicas = await open(2)
    const [a, b] = replicas.planes as [Plane, Plane]
    const gate = await TestGate.ofAll(replicas.planes)
    const request = gate.request()
    await ask(a, gate, request)
    expect(await outcome(ask(b, gate, { ...request, action: toolCall('read_file', { path: '/etc/shadow' }) }))).toBe('challenge_mismatch')
    await replicas.close()
  })
  it('a receipt may be logged by another replica than the one that permitted, once', async () => {
    const replicas = await open(2)
    const [a, b] = replicas.planes as [Plane, Plane]
    const gate = await TestGate.ofAll(replicas.planes)
    const { permit, leaf } = await gate.permit()
    const tokens = [gate.receiptFor(permit.jti, leaf), gate.receiptFor(permit.jti, leaf)] as [string, string]
    const results = await Promise.all([outcome(b.receipt({ session: gate.session, receipt: tokens[0] }, gate.id)), outcome(a.receipt({ session: gate.session, receipt: tokens[1] }, gate.id))])
    expect(results.sort()).toEqual(['artifact_spent', 'ok'])
    expect((await replicas.entries()).filter((e) => e.kind === 'receipt')).toHaveLength(1)
    await replicas.close()
  })
  it('ATK-054: a policy set that one activates is that of all, under one epoch', async () => {
    const replicas = await open(1)
    const [a] = replicas.planes as [Plane]
    const gate = await TestGate.ofAll(replicas.planes)
    expect(told(await ask(a, gate))).toBe('permit')
    const b = await replicas.add(policySet('forbid (principal, action, resource);'))
    expect(b.log.state.epoch).toBe(2)
    expect(told(await ask(b, gate))).toBe('policy_denied')
    // The first has not read the new epoch: its permit loses its place, and is refused there; from then on it knows.
    expect(told(await ask(a, gate))).toBe('policy_superseded')
    expect(told(await ask(a, gate))).toBe('policy_denied')
    await replicas.close()
  })
  it('a newcomer with another log key is refused', async () => {
    const replicas = await open(1)
    const stranger = new Replicas(replicas.url)
    await expect(stranger.add()).rejects.toThrow(/not one of this log key/)
    await replicas.close()
  })
})

describe('a database that fails', () => {
  it.each(['immediate', 'kill'] as const)(`S13, ATK-082: ${RESTARTS} times restarted after %s under load: refused while it lasts, nothing acknowledged is lost, recovers by itself`, async (how) => {
    if (!postgres.isOurs) throw new Error('void: the server of DATABASE_URL cannot be stopped')
    const replicas = await open(2)
    const gate = await TestGate.ofAll(replicas.planes)
    const acknowledged = new Set<string>()
    const codes = new Map<string, number>()
    let [running, last, longestDenyMs] = [true, performance.now(), 0]
    const load = Promise.all(replicas.planes.flatMap((plane) => Array.from({ length: 6 }, async () => {
      while (running) {
        try {
          const reply = await ask(plane, gate)
          if (reply.decision === 'permit') {
            acknowledged.add((parseEntry(reply.sealed.entry) as { jti: string }).jti)
            longestDenyMs = Math.max(longestDenyMs, performance.now() - last)
            last = performance.now()
          }
          codes.set(told(reply), (codes.get(told(reply)) ?? 0) + 1)
        } catch (error) {
          const code = (error as { code?: string }).code ?? String(error)
          codes.set(code, (codes.get(code) ?? 0) + 1)
          await pause(10)
        }
      }
    })))
    let landed = 0
    for (let round = 0; round < RESTARTS; round++) {
      await pause(300 + ((round * 37) % 200))
      const refused = codes.get('evidence_unavailable') ?? 0
      await postgres.crash(how)
      await pause(150)
      await postgres.start()
      if ((codes.get('evidence_unavailable') ?? 0) > refused) landed++
    }
    await pause(500)
    const before = acknowledged.size
    await pause(500)
    running = false
    await load
    expect(acknowledged.size, 'works again after the last restart').toBeGreaterThan(before)
    expect([...codes.keys()].filter((code) => !['permit', 'evidence_unavailable', 'overloaded'].includes(code))).toEqual([])
    expect(landed, 'the fault landed').toBe(RESTARTS)
    const logged = (await replicas.entries()).filter((e) => e.kind === 'permit').map((e) => e.jti)
    const known = new Set(logged)
    expect(known.size).toBe(logged.length)
    expect([...acknowledged].filter((jti) => !known.has(jti))).toEqual([])
    for (const plane of replicas.planes) expect(plane.notReady).toBeUndefined()
    score({ id: 'S13', figure: `PostgreSQL restarted under load (${how}): acknowledged permits lost, or issued twice`, n: RESTARTS, violations: 0, faultsLanded: RESTARTS, notes: `${acknowledged.size} permits acknowledged, longest time without one ${Math.round(longestDenyMs)} ms` })
    console.log(`PostgreSQL ${how}, ${RESTARTS} restarts under load: ${acknowledged.size} permits acknowledged, 0 lost, 0 double, longest time without one ${Math.round(longestDenyMs)} ms, requests: ${JSON.stringify(Object.fromEntries(codes))}`)
    await replicas.close()
  }, 600_000)
})
