import { FRESH_MS, PlaneDenied, ANSWER_DEADLINE_MS } from '@sealwrit/gate'
import { type JsonObject, fromBase64Url, signingKey, verifyReceipt } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/gate'
import { describe, expect, it } from 'vitest'
import { Rig } from './support/rig.ts'

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('the fail-closed pipeline', () => {
  it('runs a permitted action once and logs permit before receipt (I1, I3)', async () => {
    const rig = new Rig()
    expect(await rig.run()).toMatchObject({ outcome: 'completed', value: 'result' })
    expect(rig.effects).toEqual(['read_file'])
    expect(rig.kinds()).toEqual(['gate', 'permit', 'receipt'])
  })

  it('signs a receipt that binds the permit, with all eight checks passed', async () => {
    const rig = new Rig()
    const { jti } = await rig.run()
    const entry = rig.plane.entries.at(-1)
    if (entry?.kind !== 'receipt') throw new Error('no receipt')
    const { x } = rig.keys.publicKey.export({ format: 'jwk' })
    const receipt = verifyReceipt(entry.receipt, signingKey(fromBase64Url(x as string), nodeCryptography.sha256), nodeCryptography)
    expect(receipt).toMatchObject({ jti, gate: rig.gate.id, session: rig.gate.session, sequence: 0, outcome: 'completed', assurance: 'A3' })
    expect(Object.values(receipt.checks)).toEqual(Array.from({ length: 8 }, () => 'pass'))
  })

  it('numbers the receipts of a session without gaps', async () => {
    const rig = new Rig()
    for (let i = 0; i < 5; i++) await rig.run()
    expect(rig.kinds().filter((kind) => kind === 'receipt')).toHaveLength(5)
  })

  it('executes 200 at once, each under its own challenge', async () => {
    const rig = new Rig()
    await Promise.all(Array.from({ length: 200 }, () => rig.run()))
    expect(rig.effects).toHaveLength(200)
    expect(new Set(rig.plane.entries.flatMap((e) => (e.kind === 'permit' ? [e.challenge] : [])))).toHaveProperty('size', 200)
  })

  it('does not run what the plane denies, and does not report it a second time', async () => {
    const rig = new Rig()
    rig.plane.onTheWire = (method, answer) => (method === 'authorize' ? { ...answer, result: { decision: 'deny', code: 'policy_denied', seq: 1 } } : answer)
    await expect(rig.run()).rejects.toBeInstanceOf(PlaneDenied)
    expect(rig.effects).toEqual([])
    expect(rig.kinds().filter((kind) => kind === 'deny')).toHaveLength(0)
  })

  it('opens its session again where the environment was renewed, and asks with what is there now', async () => {
    const rig = new Rig()
    const [first, second] = [rig.environment(), { ...rig.environment(), salt: 'AAAAAAAAAAAAAAAAAAAAAQ', commit: `sha256:${'2'.repeat(64)}` }]
    let now = first
    const change = { ...first, measure: () => now.commit, renew: () => void Object.assign(change, { commit: now.commit, salt: now.salt }) }
    rig.gate = rig.openGate({ environment: change })
    await rig.run()
    now = second
    await rig.run()
    await rig.run()
    expect(rig.kinds()).toEqual(['gate', 'permit', 'receipt', 'gate', 'permit', 'receipt', 'permit', 'receipt'])
    expect(rig.plane.entries.flatMap((e) => (e.kind === 'permit' ? [e.env.commit] : []))).toEqual([first.commit, second.commit, second.commit])
  })

  it('ATK-047: a machine that slept between the checks and the effect is state_stale, and nothing runs (I4)', async () => {
    const rig = new Rig()
    const honest = rig.environment()
    rig.gate = rig.openGate({
      environment: {
        ...honest,
        measure: () => {
          rig.clock.suspend(3_000) // the last of the checks that ask the machine
          return honest.measure()
        },
      },
    })
    expect(await rig.outcome(rig.run())).toBe('state_stale')
    expect(rig.effects).toEqual([])
    expect(rig.kinds()).toEqual(['gate', 'permit', 'receipt'])
  })

  it.each([
    ['the answer', FRESH_MS - 1, 'ran'], ['the answer', FRESH_MS, 'challenge_mismatch'], ['the answer', 59_999, 'challenge_mismatch'],
    ['what comes after it', FRESH_MS - 1, 'ran'], ['what comes after it', FRESH_MS, 'state_stale'], ['what comes after it', 59_999, 'state_stale'],
  ])('ATK-127: where %s takes %i ms the execution is %s: what was revoked meanwhile nobody told', async (what, ms, expected) => {
    const rig = new Rig()
    const honest = rig.environment()
    let isDelayed = false
    const measure = (): string => {
      if (isDelayed && what !== 'the answer') rig.clock.suspend(ms)
      return honest.measure()
    }
    rig.gate = rig.openGate({ environment: { ...honest, measure } })
    await rig.run()
    rig.effects = []
    rig.plane.onTheWire = (method, answer) => {
      if (method === 'authorize' && what === 'the answer') rig.clock.suspend(ms)
      return answer
    }
    isDelayed = true
    expect(await rig.outcome(rig.run())).toBe(expected)
    expect(rig.effects).toHaveLength(expected === 'ran' ? 1 : 0)
  })

  it('ends a permit that it refused as `not_started`, with the code as its cause', async () => {
    const rig = new Rig()
    rig.plane.onTheWire = (method, answer) => {
      if (method === 'authorize') rig.environmentVersion = 2
      return answer
    }
    expect(await rig.outcome(rig.run())).toBe('environment_mismatch')
    const entry = rig.plane.entries.at(-1)
    expect(entry).toMatchObject({ kind: 'receipt' })
    expect(Buffer.from((entry as { receipt: string }).receipt.split('.')[1] ?? '', 'base64url').toString()).toContain('"outcome":"not_started"')
  })

  it('denies with `environment_mismatch` when a path leads elsewhere at the last look', async () => {
    const rig = new Rig()
    rig.plane.onTheWire = (method, answer) => {
      if (method === 'authorize') rig.paths = 'outside'
      return answer
    }
    expect(await rig.outcome(rig.run())).toBe('environment_mismatch')
    expect(rig.effects).toEqual([])
  })

  it('ATK-040: refuses a replayed artifact 1,000 times, also with a fresh proof', async () => {
    const rig = new Rig()
    await rig.run()
    const old = rig.plane.entries.findIndex(({ kind }) => kind === 'permit')
    rig.plane.onTheWire = (method, answer) => {
      const result = answer['result'] as JsonObject
      return method === 'authorize' ? { ...answer, result: { ...result, sealed: { ...rig.plane.seal(old, 'AAAAAAAAAAAAAAAAAAAAAA') } } } : answer
    }
    for (let i = 0; i < 1_000; i++) expect(await rig.outcome(rig.run())).toBe('challenge_mismatch')
    expect(rig.effects).toHaveLength(1)
  })

  it('ATK-042: after a restart no challenge is outstanding, so no old artifact is accepted', async () => {
    const rig = new Rig()
    await rig.run()
    const old = rig.plane.entries.findIndex(({ kind }) => kind === 'permit')
    const restarted = rig.openGate()
    rig.plane.onTheWire = (method, answer) => {
      const result = answer['result'] as JsonObject
      return method === 'authorize' ? { ...answer, result: { ...result, sealed: { ...rig.plane.seal(old, 'AAAAAAAAAAAAAAAAAAAAAA') } } } : answer
    }
    expect(await rig.outcome(rig.run({ gate: restarted }))).toBe('challenge_mismatch')
  })

  it('ATK-014: refuses an artifact that was issued to another gate', async () => {
    const rig = new Rig()
    const other = new Rig('other')
    await other.run()
    const foreign = rig.openGate({ keys: other.keys })
    expect(await rig.outcome(rig.run({ gate: foreign }))).toBe('ran')
    const permit = rig.plane.entries.findIndex(({ kind }) => kind === 'permit')
    rig.plane.onTheWire = (method, answer) => {
      const result = answer['result'] as JsonObject
      return method === 'authorize' ? { ...answer, result: { ...result, sealed: { ...rig.plane.seal(permit, 'AAAAAAAAAAAAAAAAAAAAAA') } } } : answer
    }
    expect(await rig.outcome(rig.run())).toBe('audience_mismatch')
  })

  it('ends an execution that outlives its permit, tells the effect, and records `terminated`', async () => {
    const rig = new Rig()
    let told = false
    const running = rig.outcome(rig.run({ effect: (signal) => new Promise((resolve) => signal.addEventListener('abort', () => { told = true; resolve() })) }))
    for (let i = 0; i < 20 && rig.effects.length === 0; i++) await tick()
    rig.clock.advance(300_001)
    expect(await running).toBe('lease_expired')
    expect(told).toBe(true)
    const last = rig.plane.entries.at(-1) as { receipt: string }
    expect(Buffer.from(last.receipt.split('.')[1] ?? '', 'base64url').toString()).toContain('"outcome":"terminated"')
  })

  it('does not answer as a success what it could not record, and delivers the receipt later (I3)', async () => {
    const rig = new Rig()
    rig.plane.onTheWire = (method, answer) => (method === 'receipts' ? undefined : answer)
    const running = rig.outcome(rig.run())
    for (let i = 0; i < 20; i++) await tick()
    rig.clock.advance(ANSWER_DEADLINE_MS + 1)
    expect(await running).toBe('evidence_unavailable')
    expect(rig.effects).toHaveLength(1)
    expect(rig.gate.reporter.pending).toBe(1)
    rig.plane.onTheWire = (_method, answer) => answer
    await rig.run()
    for (let i = 0; i < 20; i++) await tick()
    expect(rig.gate.reporter.pending).toBe(0)
  })

  it('may answer before the receipt is durable where that was chosen', async () => {
    const rig = new Rig()
    rig.plane.onTheWire = (method, answer) => (method === 'receipts' ? undefined : answer)
    expect(await rig.run({ order: 'after_reply' })).toMatchObject({ outcome: 'completed' })
  })
})
