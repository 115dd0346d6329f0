import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { fsck, nodeCryptography, nodeRng, Sequencer } from '@sealwrit/control-plane'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { parseEntry, parseSealed, type SealedEntry, verifyBundle } from '@sealwrit/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { pipelineGate } from '../../../test/support/gates.ts'
import { type Postgres, startPostgres } from '../../../test/support/postgres.ts'
import { score, SEED, seeded, sized } from '../../../test/support/scoreboard.ts'
import { issue, redeem } from './support/push.ts'
import { outcome, pinTools, TestGate, toolCall } from './support/rig.ts'
import { postgresPlace, Restorable, sqlitePlace, type Place } from './support/restorable.ts'

const ROUNDS = sized(20, 500)
let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())
const open: Restorable[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.remove()
})
const place = (name: string): Promise<Place> => (name === 'SQLite' ? sqlitePlace() : postgresPlace(postgres)())
async function started(name: string): Promise<Restorable> {
  const at = new Restorable(await place(name))
  open.push(at)
  await at.start()
  return at
}
const token = (): string => randomBytes(16).toString('base64url')
/** A gate of another machine, that asks for artifacts to be carried. */
async function carrier(at: Restorable): Promise<TestGate> {
  const gate = new TestGate({ plane: at.plane, rng: nodeRng, clock: at.clock, token })
  await gate.enrol()
  await pinTools(at.plane, gate, ['read_file'])
  return gate
}

describe.each(['SQLite', 'PostgreSQL'])('S22: %s put back to an older copy', (name) => {
  it(`ATK-043, ATK-071: at ${ROUNDS} random moments: closed before the first new effect, for reading open, closed after a restart too`, async () => {
    const random = seeded(SEED)
    const from = Date.now()
    const violations: string[] = []
    let [byMark, byGate] = [0, 0]
    let at = await started(name)
    for (let round = 0; round < ROUNDS; round++) {
      if (round % 10 === 0 && round > 0) {
        await at.remove()
        open.splice(0)
        at = await started(name) // a log that was rolled back ten times over says less than a fresh one
      }
      const [floor, keys] = [new MemoryFloor(), generateKeyPairSync('ed25519')]
      const gate = at.gate(floor, keys)
      const under = pipelineGate(gate)
      for (let i = random(4); i >= 0; i--) expect(await under.attempt()).toBe('ran')
      // At any moment: between two calls, or while some are under way.
      const busy = random(2) === 0 ? Array.from({ length: 3 }, () => under.attempt()) : []
      if (busy.length > 0) await new Promise((resolve) => setTimeout(resolve, random(4)))
      const restore = await at.place.copy()
      await Promise.all(busy)
      for (let i = random(3); i >= 0; i--) expect(await under.attempt()).toBe('ran')
      if (random(2) === 0) await at.plane.log.cover()
      const before = at.plane.log.size
      await at.stop()
      await restore()
      const effects = under.effects()
      const remembers = random(2) === 0 ? 'mark' : 'gate'
      if (remembers === 'gate') at.highWater = new MemoryFloor()
      await at.start()
      await new Promise((resolve) => setTimeout(resolve, 2)) // the gate notices that its connection is gone
      const told = (what: string): number => violations.push(`round ${round}, ${remembers}: ${what}`)
      if (remembers === 'mark' && at.plane.notReady?.code !== 'store_rollback') told('open after the start')
      if (random(2) === 0) {
        gate.close() // its floor is what it remembers then
        const again = pipelineGate(at.gate(floor, keys))
        const code = await again.attempt()
        if (code !== 'store_rollback' || again.effects() > 0) told(`a gate that was restarted: ${code}`)
      } else {
        const code = await under.attempt()
        if (code !== 'store_rollback' || under.effects() > effects) told(`the gate: ${code}`)
      }
      if (at.plane.notReady?.code !== 'store_rollback') told('open after the gate came')
      else if (remembers === 'mark') byMark++
      else byGate++
      // A gate that knows nothing is not served either.
      const stranger = pipelineGate(at.gate(new MemoryFloor(), generateKeyPairSync('ed25519')))
      if ((await stranger.attempt()) !== 'store_rollback' || stranger.effects() > 0) told('served a stranger')
      if (at.plane.log.size >= before) told('the log grew')
      if (round % 5 === 0) {
        expect((await at.plane.reader.list(1_000, 10, undefined)).entries.length).toBeGreaterThan(0)
        const report = verifyBundle(await at.plane.reader.evidence('all'), { crypto: nodeCryptography, logKey: at.key, gateKeys: [] })
        if (report.verdict !== 'established') told('what is there cannot be read')
        const { problems } = await fsck(at.store, { logKey: at.key, crypto: nodeCryptography, tenant: 'default', highWater: at.highWater.read() })
        if (!problems.join().includes('an older copy is in its place')) told('fsck says nothing')
      }
      await at.stop()
      await at.start()
      if (at.plane.notReady?.code !== 'store_rollback') told('open after another start')
      await at.stop()
      await at.reAnchor()
      await at.start()
      if (at.plane.notReady !== undefined) told('closed after it was re-anchored')
    }
    score({ id: 'S22', figure: `${name} put back to an older copy at random moments: not noticed before the first new effect`, n: ROUNDS, violations: violations.length, seed: SEED, faultsLanded: byMark + byGate, seconds: (Date.now() - from) / 1_000, notes: `${byMark} by the mark, ${byGate} by a gate alone` })
    console.log(`rollback, ${name}: ${ROUNDS} restores, ${byMark} noticed by the mark, ${byGate} by a gate alone (seed ${SEED})`)
    expect(violations).toEqual([])
    expect(byMark + byGate).toBe(ROUNDS)
    expect(Math.min(byMark, byGate)).toBeGreaterThan(ROUNDS / 5)
  }, 7_200_000)

  it('ATK-043, ATK-044: re-anchored under a new key it goes on: logged, older artifacts void, older floors refused, and the verifier says what was lost', async () => {
    const at = await started(name)
    const gate = await carrier(at)
    const [floor, keys] = [new MemoryFloor(), generateKeyPairSync('ed25519')]
    const first = at.gate(floor, keys)
    expect(await pipelineGate(first).attempt()).toBe('ran')
    const unspent = await issue(at.plane, gate)
    const spent = await issue(at.plane, gate)
    const [earlier, earlierKeys] = [new MemoryFloor(), generateKeyPairSync('ed25519')]
    const untouched = at.gate(earlier, earlierKeys)
    expect(await pipelineGate(untouched).attempt()).toBe('ran')
    untouched.close()
    const restore = await at.place.copy()
    await redeem(at.plane, gate, spent, token())
    expect(await pipelineGate(first).attempt()).toBe('ran')
    const lostSize = at.plane.log.checkpoint.size
    await at.stop()
    await restore()
    const old = at.key
    const { seq, lost } = await at.reAnchor()
    expect(lost.size).toBe(lostSize)
    await at.start()
    expect(at.plane.notReady).toBeUndefined()
    expect((await at.plane.log.read(seq)).entry).toMatchObject({ kind: 'key', event: 're_anchored', lost })
    const again = await carrier(at)
    const own = await sameGate(at, gate)
    for (const artifact of [spent, unspent]) {
      expect(await outcome(redeem(at.plane, again, artifact, token()))).toBe('audience_mismatch')
      // Its seal is under the old key; and proved again under the new one, its own place in the log voids it.
      expect(await outcome(redeem(at.plane, own, artifact, token()))).toBe('revoked')
      const entry = await at.plane.log.read(artifact.permit.seq)
      const sealed = await at.plane.log.proved(() => at.plane.log.seal(entry, at.plane.log.checkpoint, saltOf(artifact.sealed)))
      expect(await outcome(redeem(at.plane, own, { sealed }, token()))).toBe('revoked')
    }
    const after = await issue(at.plane, again)
    expect(await outcome(redeem(at.plane, again, after, token()))).toBe('ok')

    first.close()
    // A floor that knows the old key takes no other: only an operator who removes it says that the log begins anew.
    for (const known of [floor, earlier]) expect(() => at.gate(known, keys)).toThrow(/does not lead to the one that it knew/)
    for (const known of [floor, earlier]) known.text = known.text?.replace(/"keys":.*"key_epoch":1,/, '') // as gates of older versions kept it
    const kept = pipelineGate(at.gate(floor, keys))
    expect(['state_diverged', 'store_rollback']).toContain(await kept.attempt())
    expect(kept.effects()).toBe(0)
    expect(at.plane.notReady, 'an old checkpoint under the old key closes nothing').toBeUndefined()
    expect(await pipelineGate(at.gate(new MemoryFloor(), keys)).attempt()).toBe('ran') // its floor was removed
    expect(await pipelineGate(at.gate(earlier, earlierKeys)).attempt(), 'one that saw nothing of what was lost').toBe('ran')

    const bundle = await at.plane.reader.evidence('all')
    expect(verifyBundle(bundle, { crypto: nodeCryptography, logKey: old, gateKeys: [] })).toMatchObject({ verdict: 'contradicted' })
    const report = verifyBundle(bundle, { crypto: nodeCryptography, logKey: at.key, gateKeys: [] })
    expect(report.verdict).toBe('established')
    expect(report.notShown.join()).toContain(`re-anchored at index ${seq}: a history of ${lost.size} entries was lost`)
    const { problems } = await fsck(at.store, { logKey: at.key, crypto: nodeCryptography, tenant: 'default', highWater: at.highWater.read() })
    expect(problems).toEqual([])
  })

  it('ATK-046: times ten years ahead close the plane with clock_rollback, and re-anchoring is the way back', async () => {
    const at = await started(name)
    const gate = await carrier(at)
    await gate.permit()
    await at.stop()
    at.clock.offsetMs = 10 * 365 * 86_400_000
    const store = await at.place.open()
    const future = store.isShared ? Object.assign(store, { clockMs: async () => at.clock.wallMs() }) : store
    const log = await Sequencer.open(at.ports(future), 'default')
    await log.submit(() => ({ body: { kind: 'gate', gate: gate.id, event: 'denials_lost', count: 2 }, bodies: [] }))
    const { entry } = await log.read(log.size - 1)
    log.mark(true)
    await store.close()
    at.clock.offsetMs = 0
    expect(entry.time).toBeGreaterThan(at.clock.wallMs() + 86_400_000)
    await at.start()
    expect(await outcome(at.plane.issue({ action: toolCall(), agent: { name: 't', verified: true }, audience: gate.id, form: 'redeem', seconds: 60 }, { size: 0 }))).toBe('clock_rollback')
    const under = pipelineGate(at.gate(new MemoryFloor(), generateKeyPairSync('ed25519')))
    expect(await under.attempt()).toBe('clock_rollback')
    expect(under.effects()).toBe(0)
    await at.stop()
    const { seq, lost } = await at.reAnchor()
    expect(lost.size).toBe(seq)
    await at.start()
    expect(await pipelineGate(at.gate(new MemoryFloor(), generateKeyPairSync('ed25519'))).attempt()).toBe('ran')
    const bundle = await at.plane.reader.evidence('all')
    expect(verifyBundle(bundle, { crypto: nodeCryptography, logKey: at.key, gateKeys: [] }).verdict).toBe('established')
    expect((await fsck(at.store, { logKey: at.key, crypto: nodeCryptography, tenant: 'default', highWater: at.highWater.read() })).problems).toEqual([])
    expect(parseEntry(bundle.entries[seq]?.entry as string)).toMatchObject({ event: 're_anchored' })
  })
})

function saltOf(sealed: SealedEntry): string {
  return Buffer.from(parseSealed({ ...sealed }).proof.extra as Uint8Array).toString('base64url')
}
/** The gate that an artifact names, in a new session. */
async function sameGate(at: Restorable, gate: TestGate): Promise<TestGate> {
  const own = new TestGate({ plane: at.plane, rng: nodeRng, clock: at.clock, token })
  Object.assign(own, { keys: gate.keys, id: gate.id })
  await own.enrol()
  return own
}
