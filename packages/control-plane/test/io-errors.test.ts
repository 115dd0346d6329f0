import { fsck, nodeCryptography, type Store, StoreFailure } from '@sealwrit/control-plane'
import { Denied, verifyCheckpoint, parseSealed } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { score, SEED, seeded, sized } from '../../../test/support/scoreboard.ts'
import { carriedOf } from './support/push.ts'
import { Rig } from './support/rig.ts'

const OPERATIONS = sized(5_000, 100_000)
const rigs: Rig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})

describe('S12: errors of the disk', () => {
  it(`ATK-075, ATK-081: 1 to 20 % of all reads and writes fail over ${OPERATIONS} operations: nothing acknowledged is absent, and it heals`, async () => {
    const below = seeded(SEED)
    const from = Date.now()
    const rig = await Rig.open()
    rigs.push(rig)
    let percent = 0
    let [failed, restarts] = [0, 0]
    /** Some of the writes that fail reach the disk all the same; one in fifty ends the writer. */
    const faulty = (store: Store): void => {
      for (const name of ['append', 'putCheckpoint', 'entries', 'tile'] as const) {
        const call = (store[name] as (...given: unknown[]) => Promise<unknown>).bind(store)
        Object.assign(store, {
          [name]: async (...given: unknown[]) => {
            if (below(100) >= percent) return call(...given)
            failed++
            if (below(2) === 0) await call(...given)
            throw new StoreFailure('injected', below(50) > 0)
          },
        })
      }
    }
    faulty(rig.store)
    let gate = await rig.gate()
    const acknowledged = new Map<number, string>()
    const receipts = new Map<number, string>()
    const codes = new Map<string, number>()
    const count = (code: string): void => void codes.set(code, (codes.get(code) ?? 0) + 1)
    const violations: string[] = []
    let operations = 0
    let newest = 0
    while (operations < OPERATIONS) {
      percent = 1 + below(20)
      const some = Array.from({ length: 1 + below(12) }, async () => {
        operations++
        try {
          const reply = await gate.authorize()
          if (reply.decision !== 'permit') return count(reply.decision)
          const { proof } = parseSealed({ ...reply.sealed })
          acknowledged.set(proof.index, reply.sealed.entry)
          newest = Math.max(newest, verifyCheckpoint(proof.checkpoint, rig.key, nodeCryptography).size)
          count('permit')
          operations++
          const { permit: { jti }, leaf } = carriedOf(reply.sealed)
          receipts.set(await gate.report(gate.receiptFor(jti, leaf)), jti)
          count('receipt')
        } catch (error) {
          if (!(error instanceof Denied)) throw error
          count(error.code)
        }
      })
      await Promise.all(some)
      if (below(20) === 0) await rig.plane.log.cover().catch(() => undefined)
      if (rig.plane.notReady === undefined) continue
      percent = 0 // a flush that failed ends the writer: an operator starts it again
      restarts++
      await rig.restart()
      faulty(rig.store)
      gate = await rig.gate()
    }
    percent = 0
    if (rig.plane.notReady !== undefined) await rig.restart()
    gate = await rig.gate()
    if ((await gate.authorize()).decision !== 'permit') violations.push('does not heal')
    await rig.plane.log.cover()
    const texts = await rig.store.entries(0, rig.plane.log.size)
    for (const [seq, text] of acknowledged) if (texts[seq] !== text) violations.push(`permit ${seq} was acknowledged and is absent`)
    for (const [seq, jti] of receipts) if (!(texts[seq] ?? '').includes(`"jti":"${jti}"`)) violations.push(`receipt ${seq} was acknowledged and is absent`)
    if (newest > texts.length) violations.push(`a checkpoint of ${newest} was shown`)
    const permits = texts.filter((text) => text.includes('"kind":"permit"')).map((text) => (JSON.parse(text) as { jti: string }).jti)
    if (new Set(permits).size !== permits.length) violations.push('a permit was issued twice')
    const { problems } = await fsck(rig.store, { logKey: rig.key, crypto: nodeCryptography, tenant: 'default', highWater: rig.highWater.text })
    violations.push(...problems.map((problem) => `fsck: ${problem}`))
    score({ id: 'S12', figure: '1-20 % of reads and writes fail: acknowledged but absent entries', n: operations, violations: violations.length, seed: SEED, faultsLanded: failed, seconds: (Date.now() - from) / 1_000, notes: `${acknowledged.size} permits and ${receipts.size} receipts acknowledged, ${failed} calls of the store failed, ${restarts} restarts; at the Store interface` })
    console.log(`faults of the disk: ${operations} operations, ${failed} failed calls, ${restarts} restarts, ${JSON.stringify(Object.fromEntries(codes))} (seed ${SEED})`)
    expect(violations).toEqual([])
    expect(failed).toBeGreaterThan(OPERATIONS / 50)
    expect([...codes.keys()].filter((code) => !['permit', 'receipt', 'evidence_unavailable', 'unavailable'].includes(code))).toEqual([])
  }, 7_200_000)
})
