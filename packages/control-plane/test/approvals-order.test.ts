import { expireHolds, nodeCryptography } from '@sealwrit/control-plane'
import { BundleVerifier, type ApprovalRequest, type Entry, parseApprovalRefs, parseEntry } from '@sealwrit/protocol'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestApprover } from './support/approver.ts'
import { outcome, policySet, Rig, type TestGate, told, toolCall } from './support/rig.ts'

/** Interleavings; SEALWRIT_SOAK=1 runs ten times as many. */
const INTERLEAVINGS = process.env['SEALWRIT_SOAK'] === '1' ? 10_000 : 1_000
const HOLDS_A_ROUND = 50
const SEED = 20_261_125

type Op = 'approve ann' | 'approve bob' | 'approve cyd' | 'reject dee' | 'use' | 'pause'
const OPS: readonly Op[] = ['approve ann', 'approve bob', 'approve cyd', 'reject dee', 'use', 'use', 'pause']

let rig: Rig
let gate: TestGate
const people = new Map<string, TestApprover>()
beforeAll(async () => {
  rig = await Rig.open('order', policySet('@approval("group:secops quorum:2 timeout:5m") permit (principal, action, resource);'))
  gate = await rig.gate()
  for (const name of ['ann', 'bob', 'cyd', 'dee']) people.set(name, await TestApprover.registered(rig.plane, name))
})
afterAll(() => rig.remove())

interface Waiting {
  readonly id: string
  readonly name: string
  readonly ops: readonly Op[]
  readonly words: ReadonlyMap<Op, ApprovalRequest>
}

async function held(name: string, ops: readonly Op[]): Promise<Waiting> {
  const reply = await gate.authorize(gate.request(toolCall(), { agent: { name, verified: true } }))
  if (reply.decision !== 'hold') throw new Error(`not held: ${told(reply)}`)
  const words = new Map<Op, ApprovalRequest>()
  for (const op of new Set(ops)) {
    const [verb, who] = op.split(' ') as [string, string | undefined]
    const person = people.get(who ?? '')
    if (person !== undefined) words.set(op, await person.request(rig.plane, reply.hold, { decision: verb === 'approve' ? 'approved' : 'rejected' }))
  }
  return { id: reply.hold, name, ops, words }
}

/** Sends the operations in their order; only a pause waits for what was sent. */
async function play({ id, name, ops, words }: Waiting): Promise<void> {
  let sent: Promise<unknown>[] = []
  for (const op of ops) {
    if (op === 'pause') {
      await Promise.all(sent)
      sent = []
      continue
    }
    const word = words.get(op)
    sent.push(word === undefined ? gate.authorize(gate.request(toolCall(), { hold: id, agent: { name, verified: true } })) : outcome(rig.plane.people.decideHold(word)))
  }
  await Promise.all(sent)
}

/** What the entries about one hold may be, whatever order brought them about. */
function judge(entries: readonly Entry[], id: string): void {
  const approvers = new Set<string>()
  const seqs: number[] = []
  let end: string | undefined
  for (const entry of entries) {
    if (entry.kind === 'approval' && entry.hold === id) {
      expect(end, `${entry.event} after the hold was ${end}`).toBeUndefined()
      if (entry.event === 'approved') {
        expect(approvers.has(entry.person as string), 'one person counted twice').toBe(false)
        approvers.add(entry.person as string)
        seqs.push(entry.seq)
      } else end = entry.event
    } else if (entry.kind === 'permit' && parseApprovalRefs(entry.approvals).some(({ seq }) => seqs.includes(seq))) {
      expect(end, `a permit after the hold was ${end}`).toBeUndefined()
      const refs = parseApprovalRefs(entry.approvals)
      expect(refs.length).toBe(2)
      expect(refs.every(({ seq }) => seqs.includes(seq))).toBe(true)
      end = 'used'
    }
  }
}

describe('approve, reject, expire and use (ATK-112)', () => {
  it(`keep one order in the log, and the refusing side wins: ${INTERLEAVINGS} interleavings (seed ${SEED})`, async () => {
    const plays = fc.sample(fc.shuffledSubarray([...OPS], { minLength: 3 }), { numRuns: INTERLEAVINGS, seed: SEED })
    let [permits, rejections, expired] = [0, 0, 0]
    for (let from = 0; from < plays.length; from += HOLDS_A_ROUND) {
      rig.clock.advance(61_000) // so that holds of a minute are no limit
      await gate.enrol()
      const start = rig.plane.log.size
      const waiting: Waiting[] = []
      for (const [i, ops] of plays.slice(from, from + HOLDS_A_ROUND).entries()) waiting.push(await held(`agent-${from + i}`, ops))
      // In one round of three, time runs out in between.
      const runsOut = (from / HOLDS_A_ROUND) % 3 === 2
      await Promise.all([
        ...waiting.map(play),
        ...(runsOut ? [new Promise((resolve) => setImmediate(resolve)).then(() => (rig.clock.advance(301_000), expireHolds(rig.plane.log, rig.clock.wallMs())))] : []),
      ])
      const entries = (await rig.store.entries(start, 10_000)).map(parseEntry)
      for (const { id } of waiting) judge(entries, id)
      permits += entries.filter((e) => e.kind === 'permit').length
      rejections += entries.filter((e) => e.kind === 'approval' && e.event === 'rejected').length
      rig.clock.advance(301_000)
      expired += (await expireHolds(rig.plane.log, rig.clock.wallMs())).length
    }
    // The test would show nothing if one side always won.
    expect(Math.min(permits, rejections, expired)).toBeGreaterThan(INTERLEAVINGS / 20)
    // A verifier that shares no code with the plane's state comes to the same end.
    const size = rig.plane.log.size
    const verifier = new BundleVerifier({ crypto: nodeCryptography, logKey: rig.key, gateKeys: [] })
    verifier.head({ v: 1, origin: rig.key.name, tenant: 'default', checkpoint: rig.plane.log.checkpoint.note })
    for (let from = 0; from < size; from += 1_000) for (const text of await rig.store.entries(from, Math.min(1_000, size - from))) verifier.leaf(text)
    const { verdict, established, findings } = verifier.end()
    expect([verdict, findings.filter((f) => f.verdict === 'contradicted')]).toEqual(['established', []])
    expect(established.find(({ claim }) => claim.startsWith('the permit rests on the approval'))?.count).toBe(permits)
  }, 300 * INTERLEAVINGS)

  it('a rejection stands before every approval that came to the log in the same turn, in any order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(['approve ann', 'approve bob', 'approve cyd', 'reject dee'] as const, { minLength: 4 }), fc.nat(), async (ops, n) => {
        rig.clock.advance(61_000)
        await gate.enrol()
        const start = rig.plane.log.size
        const waiting = await held(`tie-${n}-${start}`, ops)
        await play(waiting)
        const words = (await rig.store.entries(start, 100)).map(parseEntry).filter((e) => e.kind === 'approval' && e.hold === waiting.id)
        expect(words.map((e) => (e.kind === 'approval' ? e.event : ''))).toEqual(['rejected'])
      }),
      { numRuns: 50, seed: SEED },
    )
  })

  it('a restart at any point finds the same holds, approvals and grants in the log', async () => {
    const model = fc.array(fc.constantFrom<Op | 'restart'>('approve ann', 'approve bob', 'reject dee', 'use', 'restart'), { minLength: 2, maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(model, async (ops) => {
        rig.clock.advance(61_000)
        await gate.enrol()
        const waiting = await held(`restart-${rig.plane.log.size}`, ops.filter((op) => op !== 'restart'))
        let [given, end] = [new Set<Op>(), undefined as 'used' | 'rejected' | undefined]
        for (const op of ops) {
          if (op === 'restart') {
            await rig.restart()
            continue
          }
          const word = waiting.words.get(op)
          if (word !== undefined) {
            const code = await outcome(rig.plane.people.decideHold(word))
            expect(code).toBe(end === 'rejected' ? 'approval_rejected' : end === 'used' ? 'artifact_spent' : 'ok')
            if (end === undefined && op === 'reject dee') end = 'rejected'
            else if (end === undefined) given.add(op)
          } else {
            const said = told(await gate.authorize(gate.request(toolCall(), { hold: waiting.id, agent: { name: waiting.name, verified: true } })))
            expect(said).toBe(end === 'rejected' ? 'approval_rejected' : end === 'used' ? 'approval_required' : given.size >= 2 ? 'permit' : 'hold')
            if (said === 'permit') end = 'used'
          }
        }
      }),
      { numRuns: 30, seed: SEED },
    )
  }, 120_000)
})
