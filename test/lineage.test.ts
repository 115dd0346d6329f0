import { enforce, type Gate, type GateRequest } from '@sealwrit/gate'
import { type Action, type Delegation, Denied, formatBundle, parseBundle, type ParentRef, utf8, verifyBundle, type VerifiedArtifact } from '@sealwrit/protocol'
import { nodeCryptography, SCHEMA_FILE } from '@sealwrit/control-plane'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { policyFiles, World } from './support/world.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
/** No lease ends within a test: what stops was told to. */
const POLICY = { 'test.cedar': '@id("all") @lease("60s") @max_runtime("120s") permit (principal, action, resource);', [SCHEMA_FILE]: policyFiles()[SCHEMA_FILE] as string }

let world: World
beforeEach(() => {
  world = new World()
})
afterEach(() => world.remove())

const action = (name = 'work'): Action => ({ type: 'mcp.tool_call', target: 'mcp://fs', name, arguments: {}, tool_digest: DIGEST })
const delegation = (depth: number): Delegation => ({ until: Math.floor(Date.now() / 1_000) + 600, uses: 2_000, depth, scopes: [{ type: 'mcp.tool_call', target: 'mcp://fs', name: 'work' }] })
async function ready(gate: Gate): Promise<Gate> {
  await gate.connect()
  await gate.recordTools('mcp://fs', ['work', 'plan'].map((name) => ({ name, digest: DIGEST })))
  return gate
}
interface Work {
  readonly code: Promise<string>
  readonly ref: Promise<ParentRef>
  readonly finish: () => void
}
/** An effect that runs until it is finished or aborted. */
function work(gate: Gate, request: Partial<GateRequest> = {}): Work {
  let finish = (): void => undefined
  let began = (_artifact: VerifiedArtifact): void => undefined
  const running = new Promise<VerifiedArtifact>((resolve) => (began = resolve))
  const code = enforce(gate, { action: action(), agent: { name: 'helper', verified: true }, facts: () => ({ paths: 'none' }), ...request }, async (artifact, _action, signal) => {
    began(artifact)
    await new Promise<void>((resolve) => {
      finish = resolve
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    return { outcome: 'completed', resultBytes: utf8('done'), value: undefined }
  }).then(() => 'ran', (error: unknown) => (error instanceof Denied ? error.code : `threw ${String(error)}`))
  // What is refused before it runs has no permit to go below: that says so, and does not wait for ever.
  const begun = Promise.race([running, code.then((one): never => { throw new Error(`it did not run: ${one}`) })])
  const ref = begun.then(({ permit, leafHash }) => ({ jti: permit.jti, leaf_hash: leafHash }))
  ref.catch(() => undefined) // where nobody asks for it
  return { code, ref, finish: () => finish() }
}

// A gate that gets no answer within 2 s runs nothing, also where only the machine was busy: asked again, it must.
describe('ATK-052: running descendants', { retry: 2 }, () => {
  it.each<[string, (root: ParentRef) => string]>([
    ['its artifact is revoked', ({ jti }) => `artifact:${jti}`],
    ['the agent that it was issued to is killed', () => 'agent:planner'],
    ['the tool that it runs is killed', () => 'tool:mcp://fs/plan'],
  ])('of a root stop at once, at its gate and at another, when %s; what has another root goes on', async (_title, selectorOf) => {
    const plane = await world.start(POLICY)
    const [first, second] = [await ready(world.gate()), await ready(world.gate())]
    const root = work(first, { action: action('plan'), agent: { name: 'planner', verified: true }, delegates: delegation(3) })
    const child = work(first, { parent: await root.ref, delegates: delegation(2) })
    const far = work(second, { parent: await child.ref, delegates: delegation(1) })
    const deepest = work(second, { parent: await far.ref })
    const other = work(first, { delegates: delegation(1) })
    const others = work(second, { parent: await other.ref })
    await Promise.all([deepest.ref, others.ref])
    const selector = selectorOf(await root.ref)
    const from = performance.now()
    const effect = await (selector.startsWith('artifact') ? plane.stops.revoke(selector, plane.sub) : plane.stops.kill(selector, plane.sub))
    const codes = await Promise.all([root, child, far, deepest].map(({ code }) => code))
    expect(performance.now() - from).toBeLessThan(2_000)
    expect(codes).toEqual([selector.startsWith('artifact') ? 'revoked' : 'killed', 'ancestor_revoked', 'ancestor_revoked', 'ancestor_revoked'])
    expect(await work(second, { parent: await far.ref }).code).toBe('ancestor_revoked')
    for (let i = 0; i < 100 && plane.events.effect(effect.seq)?.waiting !== 0; i++) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(plane.events.effect(effect.seq)?.waiting).toBe(0) // and both gates have said that they stopped it
    other.finish()
    others.finish()
    expect(await Promise.all([other.code, others.code])).toEqual(['ran', 'ran'])
    const report = verifyBundle(parseBundle(utf8(formatBundle(await plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: world.logKey, gateKeys: [] })
    expect(report.verdict).toBe('established')
    expect(report.established.find(({ claim }) => claim.startsWith('the permit descends'))?.count).toBe(4)
    expect(report.established.find(({ claim }) => claim.startsWith('what was asked for'))?.count).toBe(4)
  })
})
