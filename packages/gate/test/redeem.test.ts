import { ANSWER_DEADLINE_MS, enforce, type Gate, PlaneDenied } from '@sealwrit/gate'
import { type Action, type Agent, type DenialCode, type JsonObject, type JsonValue, type SealedEntry } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { ACTION, Rig } from './support/rig.ts'

const AGENT: Agent = { name: 'tester', verified: false }
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A gate that is connected, and an artifact that names it. */
async function ready(seed?: string): Promise<{ rig: Rig; carried: SealedEntry }> {
  const rig = new Rig(seed)
  await rig.gate.connect()
  return { rig, carried: rig.plane.issue(ACTION, AGENT, rig.gate.id) }
}

/** Presents `carried`; the effect is one line in the canary. */
function present(rig: Rig, carried: unknown, change: { action?: Action; agent?: Agent; gate?: Gate } = {}): Promise<DenialCode | 'ran'> {
  const { action = ACTION, agent = AGENT, gate = rig.gate } = change
  const request = { ...rig.request(action), agent, carried: carried as JsonValue }
  return rig.outcome(enforce(gate, request, async (artifact) => {
    rig.effects.push(artifact.permit.jti)
    return { outcome: 'completed', resultBytes: new Uint8Array(1), value: undefined }
  }))
}

/** Changes the answer to `redeem` on its way. */
function onRedeem(rig: Rig, change: (result: JsonObject) => JsonObject | undefined): void {
  rig.plane.onTheWire = (method, answer) => {
    const result = answer['result'] as JsonObject | undefined
    if (method !== 'redeem' || result === undefined) return answer
    const changed = change(result)
    return changed === undefined ? undefined : { ...answer, result: changed }
  }
}
const claims = (rig: Rig): JsonObject => JSON.parse(Buffer.from((rig.plane.entries.at(-1) as { receipt: string }).receipt.split('.')[1] ?? '', 'base64url').toString()) as JsonObject

describe('a carried artifact at the gate', () => {
  it('is redeemed before it runs, once, and the receipt is about its permit (I1, I2, I3)', async () => {
    const { rig, carried } = await ready()
    expect(await present(rig, carried)).toBe('ran')
    expect(rig.kinds()).toEqual(['gate', 'permit', 'redemption', 'receipt'])
    expect(claims(rig)).toMatchObject({ outcome: 'completed', jti: rig.effects[0] })
    expect(Object.values(claims(rig)['checks'] as object)).toEqual(Array.from({ length: 8 }, () => 'pass'))
  })
  it('is accepted under a newer checkpoint than it was issued with, between pulled ones', async () => {
    const { rig, carried } = await ready()
    const later = rig.plane.issue(ACTION, AGENT, rig.gate.id)
    for (let i = 0; i < 5; i++) await rig.run()
    expect(await present(rig, carried)).toBe('ran')
    await rig.run()
    expect(await present(rig, later)).toBe('ran')
    await rig.run()
    expect(rig.effects).toHaveLength(9)
  })
  it('ATK-040: of 10^4 replays none runs; each is recorded', async () => {
    const { rig, carried } = await ready()
    expect(await present(rig, carried)).toBe('ran')
    for (let i = 0; i < 10_000; i++) {
      const code = await present(rig, carried)
      if (code !== 'artifact_spent') throw new Error(`replay ${i}: ${code}`)
      if (i === 20) rig.plane.append = () => 0 // the record was shown; ten thousand more entries would only cost time
    }
    expect(rig.effects).toHaveLength(1)
    expect(rig.plane.entries.filter((e) => e.kind === 'deny' && e.code === 'artifact_spent').length).toBeGreaterThan(20)
  })
  it('ATK-040: its own old answer shown again is challenge_mismatch', async () => {
    const { rig, carried } = await ready()
    expect(await present(rig, carried)).toBe('ran')
    const [permit, redemption] = ['permit', 'redemption'].map((kind) => rig.plane.entries.findIndex((e) => e.kind === kind)) as [number, number]
    const salt = Buffer.from(/extra (\S+)/.exec(carried.proof)?.[1] ?? '', 'base64').toString('base64url')
    // A dishonest plane seals the old redemption anew, as if it answered this challenge, under the tree that the gate saw a moment ago.
    rig.plane.onTheWire = (method, answer) =>
      method === 'redeem' ? { id: answer['id'] as number, jsonrpc: '2.0', result: { redemption: { ...rig.plane.seal(redemption) }, artifact: { ...rig.plane.seal(permit, salt) }, consistency: [] } } : answer
    for (let i = 0; i < 200; i++) {
      rig.plane.disconnect()
      expect(await present(rig, carried)).toBe('challenge_mismatch')
    }
    expect(rig.effects).toHaveLength(1)
  })
  it('ATK-042: after a restart of the gate it is still spent', async () => {
    const { rig, carried } = await ready()
    expect(await present(rig, carried)).toBe('ran')
    expect(await present(rig, carried, { gate: rig.openGate() })).toBe('artifact_spent')
    expect(rig.effects).toHaveLength(1)
  })
  it('ATK-045: an answer that is lost runs nothing, and the artifact is spent by it', async () => {
    const { rig, carried } = await ready()
    onRedeem(rig, () => undefined)
    const running = present(rig, carried)
    for (let i = 0; i < 20; i++) await tick()
    rig.clock.advance(ANSWER_DEADLINE_MS + 1)
    expect(await running).toBe('unavailable')
    rig.plane.onTheWire = (_method, answer) => answer
    expect(await present(rig, carried)).toBe('artifact_spent')
    expect(rig.effects).toEqual([])
  })
  it('an answer that comes after the deadline of its challenge runs nothing', async () => {
    const { rig, carried } = await ready()
    onRedeem(rig, (result) => {
      rig.clock.suspend(ANSWER_DEADLINE_MS)
      return result
    })
    expect(await present(rig, carried)).toBe('challenge_mismatch')
    expect(rig.effects).toEqual([])
  })
})

describe('ATK-001: an artifact that is presented in no form', () => {
  it.each([
    ['null', null, 'artifact_missing'], ['empty', '', 'artifact_missing'], ['blank', '  ', 'artifact_malformed'], ['a list', [], 'artifact_malformed'], ['an empty object', {}, 'artifact_malformed'],
    ['false', false, 'artifact_malformed'], ['zero', 0, 'artifact_malformed'], ['its entry alone', { entry: '{}' }, 'artifact_malformed'], ['empty parts', { entry: '', proof: '' }, 'artifact_malformed'],
  ])('%s: denied, never asked for instead, and recorded', async (_name, carried, code) => {
    const { rig } = await ready()
    const before = rig.plane.entries.length
    expect(await present(rig, carried)).toBe(code)
    expect(rig.effects).toEqual([])
    expect(rig.plane.entries.slice(before)).toMatchObject([{ kind: 'deny', code }])
  })
})

describe('what cannot run here is not spent', () => {
  const spent = (rig: Rig): boolean => rig.kinds().includes('redemption')
  it('ATK-049: A’s connection with B’s artifact is subject_mismatch, also where B’s name is only said', async () => {
    const rig = new Rig()
    await rig.gate.connect()
    const ofB = rig.plane.issue(ACTION, { name: 'b', verified: true }, rig.gate.id)
    expect(await present(rig, ofB, { agent: { name: 'a', verified: true } })).toBe('subject_mismatch')
    expect(await present(rig, ofB, { agent: { name: 'b', verified: false } })).toBe('subject_mismatch')
    expect(spent(rig)).toBe(false)
    expect(await present(rig, ofB, { agent: { name: 'b', verified: true } })).toBe('ran')
  })
  it('ATK-014: at gates B, C and D it is audience_mismatch', async () => {
    const { rig, carried } = await ready()
    for (const name of ['b', 'c', 'd']) expect(await present(rig, carried, { gate: rig.openGate({ keys: new Rig(name).keys }) })).toBe('audience_mismatch')
    expect(spent(rig)).toBe(false)
    expect(rig.effects).toEqual([])
  })
  it('with other arguments it is action_mismatch', async () => {
    const { rig, carried } = await ready()
    expect(await present(rig, carried, { action: { ...ACTION, arguments: { path: '/etc/shadow' } } as Action })).toBe('action_mismatch')
    expect(spent(rig)).toBe(false)
    expect(await present(rig, carried)).toBe('ran')
  })
  it('ATK-002: in the second it ends it is artifact_expired, one before it runs', async () => {
    for (const [seconds, code] of [[59, 'ran'], [60, 'artifact_expired'], [61, 'artifact_expired']] as const) {
      const { rig, carried } = await ready()
      rig.clock.advance(seconds * 1_000)
      expect(await present(rig, carried)).toBe(code)
    }
  })
  it('ATK-003: more than 30 s before its time it is artifact_not_yet_valid', async () => {
    const { rig } = await ready()
    rig.clock.jump(31_000)
    const early = rig.plane.issue(ACTION, AGENT, rig.gate.id)
    rig.clock.jump(-31_000)
    expect(await present(rig, early)).toBe('artifact_not_yet_valid')
  })
  it('of another log, or with another entry, it is refused by its seal', async () => {
    const { rig, carried } = await ready()
    const other = await ready('other')
    expect(await present(rig, other.carried)).toBe('key_unknown')
    expect(await present(rig, { ...carried, entry: carried.entry.replace('"risk":"low"', '"risk":"high"') })).toBe('seal_invalid')
    expect(spent(rig)).toBe(false)
  })
  it('a pull artifact, a receipt, a redemption shown as one: challenge_mismatch, type_mismatch', async () => {
    const { rig, carried } = await ready()
    let pulled: JsonValue = null
    rig.plane.onTheWire = (method, answer) => {
      if (method === 'authorize') pulled = (answer['result'] as JsonObject)['sealed'] as JsonValue
      return answer
    }
    await rig.run()
    expect(await present(rig, pulled)).toBe('challenge_mismatch')
    expect(await present(rig, carried)).toBe('ran')
    for (const kind of ['redemption', 'receipt', 'gate']) {
      const seq = rig.plane.entries.findIndex((e) => e.kind === kind)
      expect(await present(rig, rig.plane.seal(seq)), kind).toBe('type_mismatch')
    }
  })
  it('a path that leads outside, which no policy has seen, is environment_mismatch', async () => {
    const { rig, carried } = await ready()
    rig.paths = 'outside'
    expect(await present(rig, carried)).toBe('environment_mismatch')
    expect(spent(rig)).toBe(false)
    rig.paths = 'inside'
    expect(await present(rig, carried)).toBe('ran')
  })
  it('without a plane nothing runs: unavailable', async () => {
    const { rig, carried } = await ready()
    rig.plane.disconnect()
    rig.plane.isUp = false
    expect(await present(rig, carried)).toBe('unavailable')
    expect(rig.effects).toEqual([])
  })
})

describe('ATK-010: what a plane may answer', () => {
  const second = async (): Promise<{ rig: Rig; carried: SealedEntry; other: JsonObject }> => {
    const { rig, carried } = await ready()
    let other: JsonObject = {}
    onRedeem(rig, (result) => (other = result))
    expect(await present(rig, rig.plane.issue(ACTION, AGENT, rig.gate.id))).toBe('ran')
    rig.effects.length = 0
    return { rig, carried, other }
  }
  it('nothing that is a redemption: artifact_missing, type_mismatch', async () => {
    const { rig, carried } = await second()
    onRedeem(rig, (result) => ({ ...result, redemption: null }))
    expect(await present(rig, carried)).toBe('artifact_missing')
    const again = rig.plane.issue(ACTION, AGENT, rig.gate.id)
    onRedeem(rig, (result) => ({ ...result, redemption: result['artifact'] as JsonValue }))
    expect(await present(rig, again)).toBe('type_mismatch')
    expect(rig.effects).toEqual([])
  })
  it('the redemption of another artifact: seal_invalid; another checkpoint: seal_invalid; an old answer: state_diverged', async () => {
    const { rig, carried, other } = await second()
    const seqOf = (kind: string): number => rig.plane.entries.findIndex((e) => e.kind === kind)
    onRedeem(rig, (result) => ({ ...result, redemption: { ...rig.plane.seal(seqOf('redemption')) } }))
    expect(await present(rig, carried)).toBe('seal_invalid')
    const next = rig.plane.issue(ACTION, AGENT, rig.gate.id)
    onRedeem(rig, (result) => ({ ...result, artifact: next as unknown as JsonValue }))
    expect(await present(rig, next)).toBe('seal_invalid')
    onRedeem(rig, () => other)
    expect(await present(rig, rig.plane.issue(ACTION, AGENT, rig.gate.id))).toBe('state_diverged')
    expect(rig.effects).toEqual([])
  })
  it('a permit to pull is not an answer to redeem, nor the other way round: request_malformed, challenge_mismatch', async () => {
    const { rig, carried } = await ready()
    rig.plane.onTheWire = (method, answer) => (method === 'redeem' ? { ...answer, result: { decision: 'permit', sealed: { ...carried }, consistency: [] } } : answer)
    expect(await present(rig, carried)).toBe('request_malformed')
    const next = rig.plane.issue(ACTION, AGENT, rig.gate.id)
    rig.plane.onTheWire = (method, answer) => {
      if (method !== 'authorize') return answer
      const seq = rig.plane.entries.findLastIndex((e) => e.kind === 'permit' && e.use === 'redeem')
      return { ...answer, result: { ...(answer['result'] as JsonObject), sealed: { ...rig.plane.seal(seq, Buffer.from(/extra (\S+)/.exec(next.proof)?.[1] ?? '', 'base64').toString('base64url')) } } }
    }
    expect(await rig.outcome(rig.run())).toBe('challenge_mismatch')
    expect(rig.effects).toEqual([])
  })
  it('a permit that is refused after it was redeemed ends as `not_started`', async () => {
    const { rig, carried } = await ready()
    onRedeem(rig, (result) => {
      rig.environmentVersion = 2
      return result
    })
    expect(await present(rig, carried)).toBe('environment_mismatch')
    expect(claims(rig)).toMatchObject({ outcome: 'not_started', cause: 'environment_mismatch' })
    expect(rig.effects).toEqual([])
  })
  it('a denial of the plane is recorded by the gate, since redeeming logs nothing when it is refused (I9)', async () => {
    const { rig, carried } = await ready()
    await present(rig, carried)
    await expect(enforce(rig.gate, { ...rig.request(), carried: carried as unknown as JsonValue }, async () => ({ outcome: 'completed', resultBytes: new Uint8Array(0), value: undefined }))).rejects.not.toBeInstanceOf(PlaneDenied)
    expect(rig.plane.entries.at(-1)).toMatchObject({ kind: 'deny', code: 'artifact_spent', aud: rig.gate.id })
  })
})
