import { nodeCryptography } from '@sealwrit/control-plane'
import { BundleVerifier, type Entry, parseEntry } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { checkHold } from '../../cli/src/approval/hold.ts'
import { renderHold } from '../../cli/src/approval/render.ts'
import { parseActivation } from '../src/govern/activation.ts'
import { TestApprover } from './support/approver.ts'
import { openRigs, outcome, policySet, type Rig, type TestGate, told, toolCall } from './support/rig.ts'

const SECRET = 'hunter2-correct-horse'
const rigs = openRigs()
async function opened(): Promise<{ rig: Rig; gate: TestGate; ann: TestApprover }> {
  const rig = await rigs()
  const { files } = policySet('@approval("group:secops") @redact("args.password") permit (principal, action, resource);')
  await rig.plane.activate(parseActivation({ files }))
  return { rig, gate: await rig.gate(), ann: await TestApprover.registered(rig.plane, 'ann') }
}
const action = (password: string): ReturnType<typeof toolCall> => toolCall('write_file', { path: '/srv/a', password })

describe('a hold of what is redacted', () => {
  it('is shown without it, as such; what was approved unseen is permitted, and nothing else', async () => {
    const { rig, gate, ann } = await opened()
    const reply = await gate.authorize(gate.request(action(SECRET)))
    if (reply.decision !== 'hold') throw new Error(told(reply))
    const { hold } = reply
    const shown = await rig.plane.people.hold(hold)
    expect(shown.action.purpose).toBe('redacted')
    const checked = checkHold(shown, hold, rig.key)
    expect(checked).toMatchObject({ isRedacted: true, action: { arguments: { path: '/srv/a', password: '[redacted]' } } })
    expect(renderHold(checked, rig.clock.wallMs()).join('\n')).toContain('UNSEEN')
    await ann.approve(rig.plane, hold)
    expect(told(await gate.authorize(gate.request(action('another'), { hold }))), 'ATK-108: another password is another request').toBe('approval_required')
    const { permit } = await gate.permit(gate.request(action(SECRET), { hold }))
    expect(permit.approvals).toHaveLength(1)
    const texts = await rig.store.entries(0, 1_000)
    const bodies = (await Promise.all(texts.map((_text, seq) => rig.store.bodies(seq)))).flat()
    expect(JSON.stringify([texts, bodies])).not.toContain(SECRET)
    const verifier = new BundleVerifier({ crypto: nodeCryptography, logKey: rig.key, gateKeys: [] })
    verifier.head({ v: 1, origin: rig.plane.log.origin, tenant: 'default', checkpoint: (await rig.plane.log.evidenced()).note })
    for (const text of texts) verifier.leaf(text)
    expect(verifier.end().verdict).toBe('established')
  })

  it('I8: the answers and the state of a retry are kept nowhere where they are redacted, and what was approved is this very retry', async () => {
    const { rig, gate, ann } = await opened()
    await rig.plane.activate(parseActivation({ files: policySet('@approval("group:secops") @redact("input_responses request_state args.password") permit (principal, action, resource);').files }))
    const retry = (secret: string): ReturnType<typeof toolCall> => toolCall('write_file', { path: '/srv/a', input_responses: { a: 'an argument' } }, { input_responses: { password: { action: 'accept', content: { it: secret } }, ['__proto__']: secret }, request_state: secret, task: { ttl: 1 } })
    const reply = await gate.authorize(gate.request(retry(SECRET)))
    if (reply.decision !== 'hold') throw new Error(told(reply))
    const checked = checkHold(await rig.plane.people.hold(reply.hold), reply.hold, rig.key)
    expect(checked.isRedacted).toBe(true)
    expect(checked.action).toEqual({ ...retry('[redacted]'), input_responses: { password: '[redacted]', ['__proto__']: '[redacted]' } })
    await ann.approve(rig.plane, reply.hold)
    expect(told(await gate.authorize(gate.request(retry('another'), { hold: reply.hold })))).toBe('approval_required')
    await gate.permit(gate.request(retry(SECRET), { hold: reply.hold }))
    const texts = await rig.store.entries(0, 1_000)
    expect(JSON.stringify([texts, (await Promise.all(texts.map((_text, seq) => rig.store.bodies(seq)))).flat()])).not.toContain(SECRET)
  })
  it.each(['input_responses.a', 'request_state.a', 'task', 'args'])('@redact does not load with %s', (path) => {
    expect(() => policySet(`@redact("${path}") permit (principal, action, resource);`)).toThrow(/@redact takes arguments/)
  })

  it('is refused by whoever signs where the plane shows other words than the log commits to', async () => {
    const { rig, gate } = await opened()
    const reply = await gate.authorize(gate.request(action(SECRET)))
    if (reply.decision !== 'hold') throw new Error(told(reply))
    const shown = await rig.plane.people.hold(reply.hold)
    const lie = (change: object): string => {
      try {
        checkHold({ ...shown, action: { ...shown.action, ...change } }, reply.hold, rig.key)
        return 'shown'
      } catch (error) {
        return (error as { code: string }).code
      }
    }
    expect(lie({})).toBe('shown')
    expect(lie({ text: shown.action.text.replace('/srv/a', '/srv/b') })).toBe('action_mismatch')
    expect(lie({ purpose: 'action' }), 'what is left is not all of it').toBe('action_mismatch')
    expect(lie({ purpose: 'inputs' })).toBe('action_mismatch')
  })

  it('cannot be approved once what is left of it was erased', async () => {
    const { rig, gate } = await opened()
    const reply = await gate.authorize(gate.request(action(SECRET)))
    if (reply.decision !== 'hold') throw new Error(told(reply))
    const held = (await rig.store.entries(0, 1_000)).map((text) => parseEntry(text)).find((entry): entry is Extract<Entry, { kind: 'hold' }> => entry.kind === 'hold')
    rig.clock.advance(300_000)
    await rig.plane.erase(String(held?.seq), false, rig.plane.sub)
    expect(await outcome(rig.plane.people.hold(reply.hold))).toBe('evidence_unavailable')
  })
})
