import { expireHolds } from '@sealwrit/control-plane'
import { BundleVerifier, type Entry, isLegal, type JsonObject, lifecycleOf, OUTCOMES, type Standing, Standings } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nodeCryptography } from '@sealwrit/control-plane'
import { endOverdue } from '../src/prove/endings.ts'
import { TestApprover } from './support/approver.ts'
import { openRigs, outcome, policySet, type Rig, type TestGate, toolCall } from './support/rig.ts'
import { askIssue, carriedOf, type CarriedArtifact, issueRequest, redeem } from './support/push.ts'

/** Histories; SEALWRIT_SOAK=1 runs twenty times as many. */
const HISTORIES = process.env['SEALWRIT_SOAK'] === '1' ? 800 : 40
const SEED = 20_261_125

const ENDINGS = OUTCOMES

/** Where every execution and hold stands, by the life cycle of the specification. */
class Chart {
  readonly standings = new Standings()
  #read = 0

  async follow(rig: Rig): Promise<void> {
    const run = await rig.plane.log.readRun(this.#read, rig.plane.log.size - this.#read)
    for (const { entry } of run) for (const { id, from, to, seq } of this.standings.take(entry)) throw new Error(`${id} went from ${from} to ${to} at index ${seq}`)
    this.#read += run.length
  }
}

/** A plane, a gate and people who try anything at any time, legal or not. */
class World {
  readonly rig: Rig
  readonly gate: TestGate
  readonly approver: TestApprover
  readonly chart = new Chart()
  readonly executions: { readonly jti: string; readonly leaf: string; readonly carried?: CarriedArtifact }[] = []
  readonly holds: string[] = []
  /** Illegal steps that were tried. */
  illegal = 0

  constructor(rig: Rig, gate: TestGate, approver: TestApprover) {
    this.rig = rig
    this.gate = gate
    this.approver = approver
  }

  /** Tries a step of `id` to one of `to`; where none of them is legal it must be refused. */
  async attempt(id: string, to: readonly Standing[], step: () => Promise<unknown>): Promise<void> {
    const from = this.chart.standings.of(id)
    const code = await outcome(step())
    await this.chart.follow(this.rig)
    if (to.some((one) => isLegal(from, one))) return // time, kills and a fault may still refuse it
    this.illegal++
    if (code === 'ok' && this.chart.standings.of(id) !== from) throw new Error(`${id} went from ${from} to ${this.chart.standings.of(id)}`)
    if (code === 'ok') throw new Error(`${id} is ${from}, and a step to ${to.join(' or ')} was taken`)
  }
}

type Step = (world: World, pick: <T>(list: readonly T[]) => T | undefined) => Promise<unknown>
const STEPS: Readonly<Record<string, Step>> = {
  pull: async ({ gate, executions }) => {
    const reply = await gate.authorize()
    if (reply.decision === 'permit') executions.push(executionOf(carriedOf(reply.sealed)))
  },
  carry: async ({ rig, gate, executions }) => {
    const reply = await askIssue(rig.plane, issueRequest(gate))
    if (reply.decision !== 'permit') return
    const carried = carriedOf(reply.sealed)
    executions.push({ ...executionOf(carried), carried })
  },
  hold: async ({ gate, holds }) => {
    const reply = await gate.authorize(gate.request(toolCall('write_file')))
    if (reply.decision === 'hold') holds.push(reply.hold)
  },
  use: async (world, pick) => {
    const hold = pick(world.holds)
    if (hold === undefined) return
    const reply = await world.gate.authorize(world.gate.request(toolCall('write_file'), { hold }))
    if (reply.decision === 'permit') world.executions.push(executionOf(carriedOf(reply.sealed)))
  },
  approve: async (world, pick) => {
    const hold = pick(world.holds)
    if (hold !== undefined && world.chart.standings.of(hold) === 'held') await outcome(world.approver.approve(world.rig.plane, hold))
  },
  reject: async (world, pick) => {
    const hold = pick(world.holds)
    if (hold !== undefined) await world.attempt(hold, ['denied'], () => world.approver.reject(world.rig.plane, hold))
  },
  redeem: async (world, pick) => {
    const one = pick(world.executions)
    if (one?.carried === undefined) return
    const { carried } = one
    await world.attempt(one.jti, ['admitted'], () => redeem(world.rig.plane, world.gate, carried, world.rig.token()))
  },
  ...Object.fromEntries(ENDINGS.map((ending): [string, Step] => [ending, async (world, pick) => {
    const one = pick(world.executions)
    if (one === undefined) return
    const cause: JsonObject = ending === 'completed' || ending === 'indeterminate' ? {} : { cause: ending === 'terminated' ? 'killed' : ending === 'failed' ? 'tool_error' : 'action_mismatch' }
    const receipt = world.gate.receiptFor(one.jti, one.leaf, { outcome: ending, ...cause, ...(ending === 'not_started' ? { started: undefined as never } : {}) })
    await world.attempt(one.jti, [ending], () => world.gate.report(receipt))
  }])),
  'wait a little': ({ rig }) => pass(rig, 5_000),
  'wait long': ({ rig }) => pass(rig, 120_000),
  kill: ({ rig }) => rig.plane.stops.kill('all', rig.plane.sub),
  lift: ({ rig }) => outcome(rig.plane.stops.lift('all', rig.plane.sub)),
  'start again': async ({ rig, gate }) => {
    await rig.restart()
    await gate.enrol()
  },
  'fail a write': async ({ rig, gate }) => {
    rig.fault = { persisted: false, recoverable: true }
    await gate.authorize().catch(() => undefined)
    rig.fault = undefined
  },
}
const executionOf = ({ permit, leaf }: CarriedArtifact): World['executions'][number] => ({ jti: permit.jti, leaf })

async function pass(rig: Rig, ms: number): Promise<void> {
  rig.clock.advance(ms)
  await endOverdue(rig.plane.log, rig.clock.wallMs())
  await expireHolds(rig.plane.log, rig.clock.wallMs())
}

/** What the others need to have something to be tried on. */
const OFTEN = ['pull', 'pull', 'carry', 'carry', 'redeem', 'redeem', 'hold', 'approve', 'use', 'lift', 'lift']
const rigs = openRigs()

describe('the life cycle', () => {
  it(`I2, I3: whatever is tried in ${HISTORIES} histories of any steps, no execution and no hold takes a step that is not legal, and each comes to its one ending`, { timeout: 600_000 }, async () => {
    let [steps, illegal, executions] = [0, 0, 0]
    const ended = new Set<string>()
    const shown = new Set<string>()
    const history = fc.array(fc.tuple(fc.constantFrom(...Object.keys(STEPS), ...OFTEN), fc.nat()), { minLength: 20, maxLength: 60 })
    await fc.assert(fc.asyncProperty(history, async (played) => {
      const rig = await rigs('life cycle')
      rig.policies = policySet('permit (principal, action, resource) unless { resource.name == "write_file" }; @approval("group:secops quorum:1 timeout:1m") permit (principal, action, resource) when { resource.name == "write_file" };')
      await rig.plane.activate({ files: rig.policies.files, tests: [], how: { mode: 'enforce', fromMs: undefined, urgent: false, confirm: false, rebase: false } })
      const gate = await rig.gate()
      const world = new World(rig, gate, await TestApprover.registered(rig.plane, 'ann'))
      for (const [name, n] of played) {
        await (STEPS[name] as Step)(world, (list) => list[n % Math.max(1, list.length)])
        await world.chart.follow(rig)
        steps++
      }
      await pass(rig, 400_000)
      await world.chart.follow(rig)
      for (const [id, stage] of world.chart.standings.all) expect(['issued', 'carried', 'admitted', 'held'], `${id} has no ending`).not.toContain(stage)
      for (const { jti } of world.executions) {
        const { entries } = await rig.plane.reader.show(jti)
        expect(lifecycleOf(entries), jti).toMatchObject({ contradicted: [], isEnded: true, standing: world.chart.standings.of(jti), id: jti })
        shown.add(entries.map(({ kind }) => kind).join(' '))
      }
      const verifier = new BundleVerifier({ crypto: nodeCryptography, logKey: rig.key, gateKeys: [] })
      verifier.head({ v: 1, origin: rig.plane.log.origin, tenant: 'default', checkpoint: (await rig.plane.log.evidenced()).note })
      for (const { text } of await rig.plane.log.readRun(0, rig.plane.log.size)) verifier.leaf(text)
      expect(verifier.end().findings.filter(({ verdict }) => verdict === 'contradicted')).toEqual([])
      illegal += world.illegal
      executions += world.executions.length
      for (const stage of world.chart.standings.all.values()) ended.add(stage)
      await rig.remove()
    }), { numRuns: HISTORIES, seed: SEED })
    console.log(`life cycle: ${HISTORIES} histories, ${steps} steps, ${executions} executions, ${illegal} illegal steps tried, 0 taken (seed ${SEED})`)
    expect([...ended].sort()).toEqual(['completed', 'denied', 'expired', 'failed', 'indeterminate', 'lost', 'not_started', 'released', 'terminated'])
    expect(illegal).toBeGreaterThan(HISTORIES)
    expect([...shown]).toEqual(expect.arrayContaining(['permit receipt', 'permit expiry receipt', 'permit redemption receipt', 'hold approval permit receipt']))
  })

  it('the chart itself refuses what is not legal', async () => {
    const rig = await rigs('chart')
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    const chart = new Chart()
    await gate.report(gate.receiptFor(permit.jti, leaf))
    await chart.follow(rig)
    const [receipt] = await rig.plane.log.readRun(rig.plane.log.size - 1, 1)
    expect(chart.standings.take(receipt?.entry as Entry)).toMatchObject([{ id: permit.jti, from: 'completed', to: 'completed' }])
  })
})
