import { enforce, type Gate } from '@sealwrit/gate'
import { type Action, Denied, formatBundle, type JsonObject, parseBundle, parseEntry, utf8, verifyBundle } from '@sealwrit/protocol'
import { nodeCryptography, SCHEMA_FILE } from '@sealwrit/control-plane'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { policyFiles, World } from './support/world.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const ROUNDS = process.env['SEALWRIT_SOAK'] === '1' ? 10_000 : 500
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const policy = (annotations: string, condition = ''): Record<string, string> => ({ 'test.cedar': `@id("all") ${annotations} permit (principal, action, resource)${condition};`, [SCHEMA_FILE]: policyFiles()[SCHEMA_FILE] as string })

let world: World
beforeEach(() => {
  world = new World()
})
afterEach(() => world.remove())

const action = (name = 'work'): Action => ({ type: 'mcp.tool_call', target: 'mcp://fs', name, arguments: {}, tool_digest: DIGEST })
async function ready(gate: Gate): Promise<Gate> {
  await gate.connect()
  await gate.recordTools('mcp://fs', ['work', 'other'].map((name) => ({ name, digest: DIGEST })))
  return gate
}

interface Work {
  readonly code: Promise<string>
  readonly jti: Promise<string>
  readonly aborted: () => number | undefined
  finish(): void
}
/** An effect that runs until it is finished or aborted. */
function work(gate: Gate, options: { agent?: string; name?: string; ignores?: boolean } = {}): Work {
  let finish = (): void => undefined
  let began = (_jti: string): void => undefined
  let abortedMs: number | undefined
  const jti = new Promise<string>((resolve) => (began = resolve))
  const code = enforce(gate, { action: action(options.name), agent: { name: options.agent ?? 'coder', verified: true }, facts: () => ({ paths: 'none' }) }, async (artifact, _action, signal) => {
    began(artifact.permit.jti)
    signal.addEventListener('abort', () => (abortedMs = performance.now()), { once: true })
    await new Promise<void>((resolve) => {
      finish = resolve
      if (options.ignores !== true) signal.addEventListener('abort', () => resolve(), { once: true })
    })
    return { outcome: 'completed', resultBytes: utf8('done'), value: undefined }
  }).then(() => 'ran', (error: unknown) => (error instanceof Denied ? error.code : `threw ${String(error)}`))
  return { code, jti, aborted: () => abortedMs, finish: () => finish() }
}
const receipts = async (): Promise<Record<string, unknown>[]> => {
  const { entries } = await (world.plane as NonNullable<World['plane']>).reader.list(Number.MAX_SAFE_INTEGER, 1_000, new Set(['receipt']))
  return entries.map((entry) => JSON.parse(Buffer.from(((entry as unknown as { receipt: string }).receipt.split('.')[1] as string), 'base64url').toString()) as Record<string, unknown>)
}

describe('leases', () => {
  it('work goes on for as long as it is renewed, far beyond its first lease, in one renewal for all', async () => {
    const plane = await world.start(policy('@lease("1s") @max_runtime("30s")'))
    const gate = await ready(world.gate())
    const running = Array.from({ length: 5 }, () => work(gate))
    await pause(2_600)
    for (const one of running) one.finish()
    expect(await Promise.all(running.map(({ code }) => code))).toEqual(Array(5).fill('ran'))
    const { entries } = await plane.reader.list(Number.MAX_SAFE_INTEGER, 1_000, new Set(['lease']))
    expect(entries.length).toBeGreaterThan(3)
    expect(entries.length).toBeLessThan(15)
    expect(Math.max(...entries.map((entry) => (entry as unknown as { jtis: string[] }).jtis.length))).toBe(5)
  })
  it('ATK-083, ATK-125: work of a gate that is cut off ends when its lease does, and says so', async () => {
    await world.start(policy('@lease("1s") @max_runtime("30s")'))
    const gate = await ready(world.gate())
    const cut = work(gate)
    await cut.jti
    const from = performance.now()
    await world.stop()
    expect(['lease_expired', 'evidence_unavailable']).toContain(await cut.code)
    expect(performance.now() - from).toBeLessThan(1_000 + 2_000)
    expect(cut.aborted()).toBeDefined()
  })
  it('the longest time is kept, renewed or not', async () => {
    await world.start(policy('@lease("1s") @max_runtime("2s")'))
    const gate = await ready(world.gate())
    const long = work(gate)
    const from = performance.now()
    expect(await long.code).toBe('lease_expired')
    expect(performance.now() - from).toBeGreaterThan(1_500)
    expect((await receipts())[0]).toMatchObject({ outcome: 'terminated', cause: 'lease_expired' })
  })
  it('ATK-047: a result that comes after the lease is none, also where timers slept', async () => {
    await world.start(policy('@lease("1s") @max_runtime("30s")'))
    const gate = await ready(world.gate())
    const sleeper = work(gate, { ignores: true })
    await sleeper.jti
    const until = performance.now() + 1_200
    while (performance.now() < until); // this process stands still: no timer has run when it goes on
    sleeper.finish()
    expect(await sleeper.code).toBe('lease_expired')
  })
  it('ATK-129: a zombie cannot renew: the newer session of the gate fences it', async () => {
    await world.start(policy('@lease("1s") @max_runtime("30s")'))
    const { keys } = world
    const zombie = await ready(world.gate({ keys }))
    const running = work(zombie)
    await running.jti
    await ready(world.gate({ keys })) // the same gate, started anew
    expect(['lease_expired', 'evidence_unavailable', 'identity_invalid']).toContain(await running.code)
    expect(running.aborted()).toBeDefined()
  })
  it('a newer epoch that forbids it ends the work at its next renewal; one that permits it does not', async () => {
    const plane = await world.start(policy('@lease("1s") @max_runtime("30s")'))
    const gate = await ready(world.gate())
    const [coder, other] = [work(gate), work(gate, { agent: 'other' })]
    await Promise.all([coder.jti, other.jti])
    expect(plane.epoch).toBe(1)
    await world.stop()
    await world.start(policy('@lease("1s") @max_runtime("30s")', ' when { principal == Agent::"coder" }'))
    await pause(1_800)
    coder.finish()
    expect(await other.code).toBe('lease_expired')
    expect(await coder.code).toBe('ran')
  })
})

describe('revocation and kill', () => {
  const selectors: [string, (jti: string, gate: Gate) => string][] = [
    ['artifact', (jti) => `artifact:${jti}`], ['lineage', (jti) => `lineage:${jti}`], ['agent', () => 'agent:coder'], ['subject', () => `subject:${world.plane?.sub}`],
    ['tool', () => 'tool:mcp://fs/work'], ['target', () => 'target:mcp://fs'], ['policy', () => 'policy:test/all'], ['key', (_jti, gate) => `key:${gate.id}`], ['tenant', () => 'tenant:default'], ['all', () => 'all'],
  ]
  it.each(selectors)('ATK-128: a kill by %s stops what runs of it at once, and nothing new of it starts until it is lifted', async (_name, selectorOf) => {
    const plane = await world.start(policy('@lease("30s") @max_runtime("60s")'))
    const gate = await ready(world.gate())
    const running = work(gate)
    const selector = selectorOf(await running.jti, gate)
    const from = performance.now()
    const effect = await plane.stops.kill(selector, plane.sub)
    expect(await running.code).toBe('killed')
    expect((running.aborted() as number) - from).toBeLessThan(1_000)
    expect((await receipts())[0]).toMatchObject({ outcome: 'terminated', cause: 'killed' })
    for (let i = 0; plane.events.effect(effect.seq)?.effectiveMs === undefined && i < 100; i++) await pause(20)
    expect(plane.events.effect(effect.seq)).toMatchObject({ waiting: 0, effectiveMs: expect.any(Number) })
    if (!selector.startsWith('artifact:') && !selector.startsWith('lineage:')) {
      expect(await work(gate).code).toBe('killed')
      expect(await plane.stops.lift(selector, plane.sub)).toMatchObject({ lifted: true, asked: 1 })
    }
    const again = work(gate)
    await again.jti
    again.finish()
    expect(await again.code).toBe('ran')
  })
  it('a kill meets nothing else, and a revocation stays', async () => {
    const plane = await world.start(policy('@lease("30s") @max_runtime("60s")'))
    const gate = await ready(world.gate())
    const [coder, other] = [work(gate), work(gate, { agent: 'other', name: 'other' })]
    await Promise.all([coder.jti, other.jti])
    await plane.stops.revoke('agent:coder', plane.sub)
    expect(await coder.code).toBe('revoked')
    other.finish()
    expect(await other.code).toBe('ran')
    expect(await work(gate).code).toBe('revoked')
    await expect(plane.stops.lift('agent:coder', plane.sub)).rejects.toThrow(Denied)
    await world.stop()
    await world.start(policy('@lease("30s") @max_runtime("60s")'))
    expect(await work(await ready(world.gate())).code, 'also after a restart').toBe('revoked')
  })
  it('ATK-126: lifting takes the word of as many people as the plane asks for; killing again starts the count anew', async () => {
    const plane = await world.start(policy(''), undefined, { liftQuorum: 2 })
    await plane.stops.kill('all', plane.sub)
    expect(await plane.stops.lift('all', plane.sub)).toEqual({ lifted: false, asked: 1, quorum: 2 })
    expect(await plane.stops.lift('all', plane.sub), 'one person twice is one person').toEqual({ lifted: false, asked: 1, quorum: 2 })
    const gate = world.gate()
    await gate.connect()
    await plane.tools.record({ session: gate.session, target: 'mcp://fs', tools: [{ name: 'work', digest: DIGEST }] })
    expect(await work(gate).code).toBe('killed')
  })
  it.each(['', 'nonsense', 'agent:', 'artifact:x', 'tenant:other', 'all:x', 'agent:a\u0000b', `agent:${'x'.repeat(4_000)}`])('a selector `%s` is refused, and nothing is recorded', async (selector) => {
    const plane = await world.start(policy(''))
    const { size } = plane.log
    await expect((async () => plane.stops.kill(selector, plane.sub))()).rejects.toThrow(Denied)
    expect(plane.log.size).toBe(size)
  })
  it('ATK-124, S16: of many executions around kills none starts after the kill is effective, and verify finds no permit behind what forbids it', async () => {
    const plane = await world.start(policy('@lease("30s") @max_runtime("60s")'))
    const gate = await ready(world.gate())
    let [after, started, stopped] = [0, 0, 0]
    let state = 20_261_125
    const random = (n: number): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) % n
    for (let round = 0; round < ROUNDS / 10; round++) {
      let effectiveMs = Number.POSITIVE_INFINITY
      const attempts = Array.from({ length: 10 }, async () => {
        if (random(3) === 0) await pause(random(4))
        return enforce(gate, { action: action(), agent: { name: 'coder', verified: true }, facts: () => ({ paths: 'none' }) }, async (_artifact, _action, signal) => {
          started++
          if (performance.now() > effectiveMs) after++
          await Promise.race([pause(random(6)), new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))])
          return { outcome: 'completed', resultBytes: utf8('x'), value: undefined }
        }).catch((error: unknown) => void (error instanceof Denied && error.code === 'killed' && stopped++))
      })
      await pause(random(4))
      const { seq } = await plane.stops.kill('agent:coder', plane.sub)
      for (let i = 0; plane.events.effect(seq)?.effectiveMs === undefined && i < 2_000; i++) await pause(1)
      effectiveMs = performance.now()
      expect(plane.events.effect(seq)?.effectiveMs).toBeDefined()
      await Promise.all(attempts)
      await plane.stops.lift('agent:coder', plane.sub)
    }
    expect(after).toBe(0)
    expect(started).toBeGreaterThan(0)
    expect(stopped).toBeGreaterThan(0)
    const report = verifyBundle(parseBundle(utf8(formatBundle(await plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: world.logKey, gateKeys: [] })
    expect(report.findings).toEqual([])
    expect(report.established.map(({ claim }) => claim)).toContain('the permit does not follow a revocation or kill that is in the bundle')
    console.log(`kills around executions: ${ROUNDS} executions, ${ROUNDS / 10} kills, ${started} started, ${stopped} stopped or refused, 0 started after the kill was effective (seed 20261125)`)
  })
  it('an event that does not prove itself ends the connection, and the work with its lease', async () => {
    const plane = await world.start(policy('@lease("1s") @max_runtime("30s")'))
    const gate = await ready(world.gate())
    const running = work(gate)
    await running.jti
    world.onTheWire = (answer) => {
      if (answer['method'] !== 'event') return answer
      const params = answer['params'] as { sealed: { entry: string } }
      return { ...answer, params: { ...params, sealed: { ...params.sealed, entry: params.sealed.entry.replace('agent:nobody', 'agent:coder\u0020') } } as unknown as JsonObject }
    }
    await plane.stops.kill('agent:nobody', plane.sub)
    await pause(50)
    world.onTheWire = () => undefined // and nothing gets through any more
    expect(['lease_expired', 'evidence_unavailable']).toContain(await running.code)
  })
})

describe('the verifier', () => {
  it('finds a permit that follows the kill that forbids it', async () => {
    const plane = await world.start(policy(''))
    const gate = await ready(world.gate())
    const done = work(gate)
    await done.jti
    done.finish()
    await done.code
    await plane.stops.kill('agent:coder', plane.sub)
    ;(plane.log.state.killed as Map<string, unknown>).clear() // a plane that does not look
    const second = work(gate)
    await second.jti
    second.finish()
    expect(await second.code).toBe('ran')
    const bundle = parseBundle(utf8(formatBundle(await plane.reader.evidence('all'))))
    const kills = bundle.entries.map(({ entry }) => parseEntry(entry)).filter(({ kind }) => kind === 'kill')
    expect(kills).toHaveLength(1)
    const report = verifyBundle(bundle, { crypto: nodeCryptography, logKey: world.logKey, gateKeys: [] })
    expect(report.findings.map(({ claim }) => claim)).toContain('the permit follows what forbids it (killed)')
  })
})
