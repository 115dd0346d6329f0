import { Leases } from '../src/leases.ts'
import { FakeClock } from '@sealwrit/gate/testing'
import type { KillEntry, Permit, RevocationEntry } from '@sealwrit/protocol'
import { beforeEach, describe, expect, it } from 'vitest'

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve()
}

let clock: FakeClock
let asked: string[][]
let answer: (jtis: readonly string[]) => readonly string[]
let leases: Leases
beforeEach(() => {
  clock = new FakeClock()
  asked = []
  answer = (jtis) => jtis
  leases = new Leases(clock, async (jtis) => {
    asked.push([...jtis])
    return new Set(answer(jtis))
  })
})

function permit(jti: string, lease: number, most: number, seq = 10): Permit {
  return {
    jti, txn: jti, seq, tenant: 'default', sub: 'local:test', act: { sub: 'agent:coder', verified: true }, aud: 'gate', policy: { determining: ['p'] },
    scope: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'work' }, constraints: { lease_seconds: lease, max_runtime_seconds: most, obligations: [] },
  } as unknown as Permit
}
/** Time passes in small steps, so that answers arrive between timers. */
async function advance(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    clock.advance(50)
    await settle()
  }
}
const kill = (selector: string, seq: number, event: KillEntry['event'] = 'killed'): KillEntry & { seq: number } => ({ kind: 'kill', selector, event, by: 'x', seq })
const revocation = (selector: string, seq: number): RevocationEntry & { seq: number } => ({ kind: 'revocation', selector, by: 'x', seq })

describe('renewals', () => {
  it('a short lease beside a long one is renewed in its own time', async () => {
    const long = leases.hold(permit('long', 100, 1_000), clock.monotonicMs())
    const short = leases.hold(permit('short', 1, 1_000), clock.monotonicMs())
    await advance(10_000)
    expect(short.over()).toBeUndefined()
    expect(long.over()).toBeUndefined()
    expect(asked.every((jtis) => jtis.includes('short') && jtis.includes('long'))).toBe(true)
  })
  it('what has no time left to renew causes no renewals', async () => {
    leases.hold(permit('last', 10, 5), clock.monotonicMs())
    leases.hold(permit('other', 100, 1_000), clock.monotonicMs())
    await advance(30_000)
    expect(asked).toEqual([])
    await advance(10_000)
    expect(asked).toEqual([['other']])
  })
  it('a lease counts from when its renewal was asked for, not from the answer', async () => {
    let respond = (_jtis: ReadonlySet<string>): void => undefined
    leases = new Leases(clock, () => new Promise((resolve) => (respond = resolve)))
    const held = leases.hold(permit('a', 3, 1_000), clock.monotonicMs())
    await advance(2_900) // asked at 1 s, answered at 2.9 s
    respond(new Set(['a']))
    await settle()
    expect(held.over()).toBeUndefined()
    await advance(1_050) // 3.95 s: the renewed lease ends at 4 s
    expect(held.over()).toBeUndefined()
    await advance(100)
    expect(held.over()?.code).toBe('lease_expired')
  })
  it('at most 1,000 at once, and those whose lease ends first', async () => {
    const late = leases.hold(permit('late', 30, 1_000), clock.monotonicMs())
    for (let i = 0; i < 1_000; i++) leases.hold(permit(`j${i}`, 3, 1_000), clock.monotonicMs())
    await advance(1_000)
    expect(asked[0]).toHaveLength(1_000)
    expect(asked[0]).not.toContain('late')
    await advance(40_000)
    expect(late.over(), 'nobody starves').toBeUndefined()
  })
  it('what is not renewed stops, the rest goes on', async () => {
    const [one, two] = ['one', 'two'].map((jti) => leases.hold(permit(jti, 3, 1_000), clock.monotonicMs()))
    answer = (jtis) => jtis.filter((jti) => jti !== 'one')
    await advance(1_100)
    expect(one?.over()?.code).toBe('lease_expired')
    expect(two?.over()).toBeUndefined()
  })
  it('without an answer it is asked again, until the lease ends by itself', async () => {
    leases = new Leases(clock, async (jtis) => {
      asked.push([...jtis])
      throw new Error('no plane')
    })
    const held = leases.hold(permit('a', 3, 1_000), clock.monotonicMs())
    let code: string | undefined
    void held.stopped.then((denied) => (code = denied.code))
    await advance(2_900)
    expect(code).toBeUndefined()
    expect(asked.length).toBeGreaterThan(4)
    await advance(200)
    expect(code).toBe('lease_expired')
    const tries = asked.length
    await advance(5_000)
    expect(asked.length, 'and then no more').toBeLessThanOrEqual(tries + 1)
  })
  it('nothing is asked while nothing runs', async () => {
    leases.hold(permit('a', 3, 1_000), clock.monotonicMs()).release()
    await advance(10_000)
    expect(asked).toEqual([])
    expect(leases.running).toBe(0)
  })
})

describe('what goes on after its execution', () => {
  it('is stopped once by what forbids its permit, and not when its watch has ended', () => {
    const stopped: string[] = []
    const end = leases.watch(permit('ended', 3, 10), () => stopped.push('ended'))
    leases.watch(permit('on', 3, 10), () => stopped.push('on'))
    end()
    expect(leases.prohibit(kill('agent:other', 20))).toBe(0)
    expect(leases.prohibit(kill('all', 21))).toBe(1)
    expect(leases.prohibit(kill('all', 22))).toBe(0)
    expect(stopped).toEqual(['on'])
  })
  it('is stopped at once where it was forbidden already', () => {
    leases.hold(permit('runs', 30, 60), clock.monotonicMs())
    leases.prohibit(kill('all', 20))
    let stopped = 0
    leases.watch(permit('a', 3, 10), () => stopped++)
    expect(stopped).toBe(1)
  })
  it('is stopped at once where there is no room: the 10,001st, and not the 10,000th', () => {
    const stopped: number[] = []
    for (let i = 1; i <= 10_001; i++) leases.watch(permit(`w${i}`, 3, 10), () => stopped.push(i))
    expect(stopped).toEqual([10_001])
  })
})

describe('prohibitions', () => {
  it('stop what is older than they are, and only that', () => {
    const held = leases.hold(permit('a', 30, 60, 10), clock.monotonicMs())
    expect(leases.prohibit(kill('agent:coder', 9))).toBe(0)
    expect(leases.prohibit(kill('agent:other', 11))).toBe(0)
    expect(held.over()).toBeUndefined()
    expect(leases.prohibit(kill('agent:coder', 12))).toBe(1)
    expect(held.over()?.code).toBe('killed')
  })
  it('meet a permit that was issued before them and starts after them; newer ones were issued in their knowledge', () => {
    leases.prohibit(kill('all', 20))
    expect(leases.prohibition(permit('a', 1, 1, 19))).toBe('killed')
    expect(leases.prohibition(permit('a', 1, 1, 21))).toBeUndefined()
    leases.prohibit(kill('all', 22, 'lift_asked'))
    expect(leases.prohibition(permit('a', 1, 1, 19)), 'asked is not lifted').toBe('killed')
    leases.prohibit(kill('all', 23, 'lifted'))
    expect(leases.prohibition(permit('a', 1, 1, 19))).toBeUndefined()
    leases.prohibit(revocation('key:gate', 24))
    expect(leases.prohibition(permit('a', 1, 1, 19))).toBe('revoked')
  })
  it('are bounded: those that are older than all that runs are forgotten first', () => {
    for (let i = 0; i < 100_000; i++) leases.prohibit(kill(`agent:${i}`, i))
    const held = leases.hold(permit('a', 30, 60, 200_000), clock.monotonicMs())
    expect(leases.prohibit(kill('all', 200_001))).toBe(1)
    expect(held.over()?.code).toBe('killed')
  })
  it('hold for 100,000 of them in less than a millisecond for each permit', () => {
    for (let i = 0; i < 99_999; i++) leases.prohibit(kill(`agent:${i}`, i))
    const from = performance.now()
    for (let i = 0; i < 1_000; i++) leases.prohibition(permit('a', 1, 1, 200_000))
    expect(performance.now() - from).toBeLessThan(1_000)
  })
})
