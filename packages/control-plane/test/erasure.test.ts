import * as fs from 'node:fs'
import { eraseOld, nodeCryptography, StoreFailure } from '@sealwrit/control-plane'
import { type Bundle, commitment, type Entry, formatBundle, parseBundle, parseEntry, type Permit, utf8, verifyBundle } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { outcome, openRigs, type Rig, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const SECRET = 'patient-4711-of-ward-9'
const open = openRigs()
async function executed(gate: TestGate, path: string): Promise<string> {
  const { permit, leaf } = await gate.permit(gate.request(toolCall('read_file', { path })))
  await gate.report(gate.receiptFor(permit.jti, leaf))
  return permit.jti
}
const evidence = async (rig: Rig): Promise<Bundle> => parseBundle(utf8(formatBundle(await rig.plane.reader.evidence('all'))))
const verdict = async (rig: Rig): Promise<ReturnType<typeof verifyBundle>> => verifyBundle(await evidence(rig), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [] })
const onDisk = (rig: Rig): boolean => [rig.file, `${rig.file}-wal`].some((file) => fs.existsSync(file) && fs.readFileSync(file).includes(SECRET))

describe('erasure', () => {
  it('ATK-079: body and salt are gone from the store and the disk, the entry that says so is logged first, and every proof holds', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const jti = await executed(gate, `/${SECRET}`)
    await executed(gate, '/kept')
    rig.clock.advance(121_000)
    expect(onDisk(rig)).toBe(true)
    const before = await evidence(rig)
    const done = await rig.plane.erase(jti, false, rig.plane.sub)
    expect(done).toMatchObject({ entries: 2, bodies: 2, tooYoung: 0 })
    expect((await rig.plane.log.read(done.recorded[0] as number)).entry).toMatchObject({ kind: 'erasure', cause: 'request', by: rig.plane.sub })
    expect(onDisk(rig)).toBe(false)
    const after = await evidence(rig)
    expect(after.entries.slice(0, before.entries.length).map(({ entry }) => entry)).toEqual(before.entries.map(({ entry }) => entry))
    const report = await verdict(rig)
    expect(report.verdict).toBe('established')
    expect(report.notShown.join()).toMatch(/bodies were erased \(request, logged at index \d+\)/)
    expect(JSON.stringify(after)).not.toContain(SECRET)
    expect((await rig.plane.reader.show(jti)).bodies).toEqual([])
  })
  it('ATK-079, ATK-121: with the salt gone, who guesses the argument cannot tell that it was the one', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const jti = await executed(gate, `/${SECRET}`)
    const permit = (await rig.plane.reader.show(jti)).entries[0] as Permit
    const salt = (await rig.store.bodies(permit.seq)).find(({ purpose }) => purpose === 'action')
    expect(commitment('action', salt?.salt as string, salt?.digest as string, sha256)).toBe(permit.action_commit)
    rig.clock.advance(121_000)
    await rig.plane.erase(jti, false, rig.plane.sub)
    const everything = formatBundle(await rig.plane.reader.evidence('all'))
    expect(everything).not.toContain(salt?.salt)
    expect(everything).not.toContain(salt?.digest)
  })
  it('leaves what is younger than a lost reply may be asked for, and says how much', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const jti = await executed(gate, `/${SECRET}`)
    expect(await rig.plane.erase(jti, false, rig.plane.sub)).toMatchObject({ entries: 2, bodies: 0, tooYoung: 2, recorded: [] })
    expect(onDisk(rig)).toBe(true)
  })
  it('by agent, by subject, before a time, in bounded entries; what matches nothing is refused or empty', async () => {
    const rig = await open()
    const gate = await rig.gate()
    // Every other one is another agent's: as many ranges as there are executions.
    for (let i = 0; i < 600; i++) await gate.authorize(gate.request(toolCall(), { agent: { name: i % 2 === 0 ? 'a' : 'b', verified: true } }))
    rig.clock.advance(121_000)
    const done = await rig.plane.erase('agent:a', false, rig.plane.sub)
    expect(done).toMatchObject({ entries: 300, bodies: 600, tooYoung: 0 })
    expect(done.recorded).toHaveLength(2)
    const left = await evidence(rig)
    for (const { entry, bodies } of left.entries) {
      const parsed = parseEntry(entry) as Entry & { act?: { sub: string } }
      if (parsed.act !== undefined) expect(bodies.length, parsed.act.sub).toBe(parsed.act.sub === 'agent:a' ? 0 : 2)
    }
    expect((await rig.plane.erase('before:2000-01-01', false, rig.plane.sub)).entries).toBe(0)
    expect((await rig.plane.erase(`sub:${rig.plane.sub}`, true, rig.plane.sub)).entries).toBe(600)
    for (const bad of ['before:yesterday', 'agent:', 'nonsense', '99999', 'before:2026-13-01']) expect(await outcome(rig.plane.erase(bad, false, rig.plane.sub)), bad).toBe('request_malformed')
    expect((await verdict(rig)).verdict).toBe('established')
  })
  it('a crash between the entry and the deletion is made up for at the next start', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const jti = await executed(gate, `/${SECRET}`)
    rig.clock.advance(121_000)
    rig.store.eraseBodies = () => Promise.reject(new StoreFailure('injected', true))
    await expect(rig.plane.erase(jti, false, rig.plane.sub)).rejects.toThrow('injected')
    expect(onDisk(rig)).toBe(true)
    await rig.restart()
    expect(onDisk(rig)).toBe(false)
    expect((await verdict(rig)).verdict).toBe('established')
  })
  it('the rule of retention erases what is old, once, and the log goes on', async () => {
    const rig = await open()
    const gate = await rig.gate()
    await executed(gate, `/${SECRET}`)
    rig.clock.advance(86_400_000)
    await gate.enrol() // a session that is as young
    await executed(gate, '/young')
    const day = 43_200_000
    expect(await eraseOld(day, rig.plane.log, rig.store, rig.clock)).toBeGreaterThan(0)
    expect(onDisk(rig)).toBe(false)
    expect(await eraseOld(day, rig.plane.log, rig.store, rig.clock)).toBe(0)
    expect((await evidence(rig)).entries.filter(({ bodies }) => bodies.length > 0)).toHaveLength(2)
    await rig.restart()
    expect(rig.plane.log.state.retainedFrom).toBeGreaterThan(0)
    expect(told(await gate.authorize())).toBe('permit')
    expect((await verdict(rig)).notShown.join()).toContain('(retention, logged at index')
  })
})
