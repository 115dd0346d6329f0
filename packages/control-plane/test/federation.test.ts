import { DecisionReplay, endOverdue, nodeCryptography, Plane } from '@sealwrit/control-plane'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { sign } from 'node:crypto'
import { type ApprovalStatement, type AuthorizeReply, consistencyProof, formatProof, fromBase64Url, inclusionProof, parseNote, toBase64, type DenialCode, foreignSubject, formatBundle, type JsonObject, parseEntry, type Permit, utf8, verifyBundle, parseBundle } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { TestApprover } from './support/approver.ts'
import { SALT, TestLog } from '../../protocol/test/support/fixture.ts'
import { awayPermit } from '../../protocol/test/support/foreign.ts'
import { issueRequest } from './support/push.ts'
import { check } from './support/sound-store.ts'
import { HOME, Planes, TestAgent, AWAY } from './support/planes.ts'
import { outcome, policySet, PERMIT_ALL, SCHEMA, sha256, told, TOOL_DIGEST, toolCall } from './support/rig.ts'

const open: Planes[] = []
const planes = async (...given: Parameters<typeof Planes.open>): Promise<Planes> => {
  const made = await Planes.open(...given)
  open.push(made)
  return made
}
afterEach(async () => {
  for (const one of open.splice(0)) await one.remove()
})
const permitOf = (reply: AuthorizeReply): Permit => {
  if (reply.decision !== 'permit') throw new Error(JSON.stringify(reply))
  return parseEntry(reply.sealed.entry) as Permit
}

describe('a permit of another plane', () => {
  it('is the parent of a local one, which is decided here and is no wider', async () => {
    const two = await planes()
    const { permit: parent, shown } = await two.borrow(toolCall(), { seconds: 20 })
    expect(parent).toMatchObject({ aud: HOME, use: 'redeem', env: { level: 'none' }, cnf: two.agent.kid })
    two.advance(5_000)
    const permit = permitOf(await two.ask(shown))
    expect(permit).toMatchObject({
      iss: HOME, txn: parent.txn, depth: 1, exp: parent.exp, cnf: two.agent.kid, aud: two.gate.id, act: { sub: 'agent:coder', verified: true },
      sub: foreignSubject(AWAY, parent.sub, HOME, sha256), par: { jti: parent.jti, foreign: { iss: AWAY } },
    })
    expect(permit.exp - permit.nbf).toBe(15)
    expect(await two.home.plane.reader.lineage(permit.jti, { limit: 10, cursor: undefined })).toMatchObject({ ancestors: [], node: { jti: permit.jti, foreign: { origin: AWAY, jti: parent.jti, size: parent.seq + 1 } }, below: [] })
    expect(JSON.parse((await two.home.plane.registry.nameOf(permit.sub)) as string)).toEqual({ iss: AWAY, name: parent.sub })
  })

  it('is refused by code, logged, and spends nothing', async () => {
    const two = await planes()
    const { shown } = await two.borrow()
    const stranger = new TestAgent('other')
    await two.home.plane.registry.changeAgent({ agent: 'other', event: 'added', key: stranger.publicKey, owner: 'team:a' } as never)
    const cases: [DenialCode | 'permit', () => Promise<AuthorizeReply>][] = [
      ['action_mismatch', () => two.ask(shown, toolCall('read_file', { path: '/srv/q4.txt' }))],
      ['identity_invalid', () => two.ask(shown, toolCall(), {}, stranger)], // holds its bytes, not its key
      ['artifact_malformed', () => two.ask({ sealed: 'x', consistency: [] })],
      ['artifact_missing', () => two.ask({ sealed: '', consistency: [] })],
      ['request_malformed', () => two.ask({})],
      ['permit', () => two.ask(shown)],
      ['artifact_spent', () => two.ask(shown)],
    ]
    for (const [code, run] of cases) expect(told(await run())).toBe(code)
    const denies = (await two.home.plane.reader.list(Number.MAX_SAFE_INTEGER, 100, new Set(['deny']))).entries
    expect(denies.map((entry) => (entry as unknown as { code: string }).code)).toEqual(['artifact_spent', 'request_malformed', 'artifact_missing', 'artifact_malformed', 'proof_of_possession_failed', 'action_mismatch'])
  })

  it('ATK-044, I2: is spent once, at any time and after a restart, and a lost reply is given again', async () => {
    const two = await planes()
    const { shown, permit } = await two.borrow()
    const request = two.request(shown)
    const first = await two.gate.authorize(request)
    expect(await two.gate.authorize(request)).toEqual({ ...first, sealed: expect.anything(), consistency: expect.anything() })
    const again = await Promise.all([two.ask(shown), two.ask(shown), two.ask(await two.show(permit.seq))])
    expect(again.map(told)).toEqual(['artifact_spent', 'artifact_spent', 'artifact_spent'])
    await two.restartHome()
    expect(told(await two.ask(await two.show(permit.seq)))).toBe('artifact_spent')
    expect(await two.home.store.spentAt(`foreign ${AWAY} ${permit.jti}`)).toBe((permitOf(first)).seq)
    expect((await check(two.home.store, two.home)).problems).toEqual([])
  })

  it('in one group: of two that show it at the same moment one is permitted', async () => {
    const two = await planes()
    const { shown } = await two.borrow()
    const replies = await Promise.all(Array.from({ length: 8 }, () => two.ask(shown)))
    expect(replies.map(told).sort()).toEqual([...Array.from({ length: 7 }, () => 'artifact_spent'), 'permit'])
  })

  it('ATK-044, I2: shown at two replicas of this plane at the same moment, it is permitted by one', async () => {
    const two = await planes()
    Object.defineProperty(two.home.store, 'isShared', { value: true })
    const twin = await Plane.open({ ...two.home.ports(), highWater: new MemoryFloor(), federation: { trusted: two.trusted(), audiences: [] } }, two.home.policies, { tenant: 'default', owner: 'team:rig', localUser: 'somebody', isNew: false })
    try {
      for (let round = 0; round < 5; round++) {
        const { shown } = await two.borrow()
        const [here, there] = [two.request(shown), two.request(shown)]
        const replies = await Promise.all([two.home.plane.authorize(here, two.gate.id, { size: 0 }), twin.authorize(there, two.gate.id, { size: 0 })])
        expect(replies.map(told).sort()).toEqual(['artifact_spent', 'permit'])
      }
      expect((await twin.federation.list()).planes[0]?.newest).toEqual({ ...(await two.home.plane.federation.list()).planes[0]?.newest })
    } finally {
      twin.log.mark(true) // its store is the other's, which closes it
      await twin.people.close()
      twin.events.close()
    }
  })

  it('is not taken of a plane that is no longer trusted', async () => {
    const two = await planes()
    const { shown } = await two.borrow()
    await two.restartHome('nobody')
    expect(told(await two.ask(shown))).toBe('key_unknown')
    await two.restartHome({ accepts: ['approvals'] })
    expect(told(await two.ask(shown))).toBe('key_unknown')
  })

  it('needs cosignatures that are fresh: a killed plane is believed for as long as they are', async () => {
    const two = await planes({ maxAgeSeconds: 10 })
    const { shown } = await two.borrow()
    await two.away.stop()
    two.home.clock.advance(11_000)
    expect(told(await two.ask(shown))).toBe('witness_quorum_not_met')
    const other = await planes({ maxAgeSeconds: 10 })
    const late = await other.borrow()
    await other.away.stop()
    other.home.clock.advance(10_000)
    expect(told(await other.ask(late.shown))).toBe('permit')
  })

  it('ATK-062: whoever stole the log key of the other plane gets nothing without its witness', async () => {
    const two = await planes()
    const { permit, shown } = await two.borrow()
    two.witness.isDown = true
    expect(await outcome(two.show(permit.seq + 1))).not.toBe('ok') // the plane itself shows nothing either
    const { proof } = shown['sealed'] as { proof: string }
    const bare = { ...shown, sealed: { ...(shown['sealed'] as JsonObject), proof: proof.split('\n').filter((line) => !line.includes('one.test')).join('\n') } }
    expect(told(await two.ask(bare))).toBe('witness_quorum_not_met')
  })

  it('I5: what is known of the other log survives a restart, and nothing older or forked is taken', async () => {
    const two = await planes()
    const early = await two.borrow()
    const late = await two.borrow()
    expect(told(await two.ask(late.shown))).toBe('permit')
    await two.restartHome()
    expect((await two.home.plane.federation.list()).planes[0]).toMatchObject({ origin: AWAY, newest: { size: late.permit.seq + 1 } })
    expect(told(await two.ask(early.shown))).toBe('state_diverged')
    expect(told(await two.ask(await two.show(early.permit.seq, 0)))).toBe('permit') // the same checkpoint again needs no proof
    const third = await two.borrow()
    expect(told(await two.ask(await two.show(third.permit.seq, 0)))).toBe('state_diverged') // a newer one does
    expect(told(await two.ask(third.shown))).toBe('permit')
  })

  it('ATK-062, I5: a fork that the log key signed and its witness cosigned is taken by nobody who took something before', async () => {
    const two = await planes()
    expect(told(await two.ask((await two.borrow()).shown))).toBe('permit')
    const known = await two.known()
    const now = Math.floor(two.home.clock.wallMs() / 1_000)
    const fork = new TestLog(two.away.key, (message) => sign(null, message, two.away.logKeys.privateKey))
    for (let i = 0; i <= known; i++) fork.add({ kind: 'deny', code: 'policy_denied', aud: `another history ${i}` })
    const index = fork.add(awayPermit({ iss: AWAY, aud: HOME, cnf: two.agent.kid, iat: now, nbf: now, exp: now + 60 }))
    const size = fork.leaves.length
    const note = `${fork.note()}${two.witness.line(parseNote(fork.note()).text, now)}`
    const proof = formatProof({ extra: fromBase64Url(SALT), index, hashes: inclusionProof(index, size, fork.subtree, sha256), checkpoint: note })
    const forked = (from: number): JsonObject => ({ sealed: { entry: fork.leaves[index] as string, proof }, consistency: from === 0 ? [] : consistencyProof(from, size, fork.subtree, sha256).map(toBase64) })
    expect([told(await two.ask(forked(0))), told(await two.ask(forked(known)))]).toEqual(['state_diverged', 'state_diverged'])
    const fresh = await planes({ key: two.away.key, witnesses: two.policy }) // who took nothing before cannot know
    await fresh.home.plane.registry.changeAgent({ agent: 'twin', event: 'added', key: two.agent.publicKey, owner: 'team:a' } as never)
    expect(told(await fresh.ask(forked(0), toolCall(), {}, new TestAgent('twin', two.agent.keys)))).toBe('permit')
  })

  it('overtaken by another while it is decided, is sealed anew and taken', async () => {
    const two = await planes()
    const first = await two.borrow()
    const second = await two.borrow()
    const replies = await Promise.all([two.ask(second.shown), two.ask(first.shown)])
    expect(replies.map(told)).toEqual(['permit', 'state_diverged'])
    expect(told(await two.ask(await two.show(first.permit.seq)))).toBe('permit')
  })

  it('policies here decide, and see where it comes from; a set that knows of no planes permits nothing', async () => {
    const two = await planes()
    const { shown } = await two.borrow()
    expect(told(await two.ask(shown))).toBe('permit')
    two.home.policies = policySet(`${PERMIT_ALL}\nforbid (principal, action, resource) when { context has federation && context.federation.origin == "${AWAY}" && context.federation.direction == "from" };`)
    two.home.policyRules = { activateAtStart: true }
    await two.restartHome()
    expect(told(await two.ask((await two.borrow()).shown))).toBe('policy_denied')
    expect(told(await two.ask(undefined))).toBe('permit')
    two.home.policies = policySet(PERMIT_ALL, SCHEMA.replace('federation?: { direction: String, origin: String }, ', ''))
    await two.restartHome()
    expect(told(await two.ask((await two.borrow()).shown))).toBe('policy_no_match')
    expect(told(await two.ask(undefined))).toBe('permit')
  })

  it('I6: runs no longer than either plane says, and the evidence replays', async () => {
    for (const [there, here, wanted] of [['@max_runtime("20s") @lease("5s")', '', [5, 20]], ['', '@max_runtime("30s") @lease("4s")', [4, 30]], ['@lease("3s")', '@max_runtime("7s")', [3, 7]]] as const) {
      const two = new Planes()
      open.push(two)
      two.away.policies = policySet(`${there} ${PERMIT_ALL}`)
      two.home.policies = policySet(`${here} ${PERMIT_ALL}`)
      await two.setUp()
      const { constraints } = permitOf(await two.ask((await two.borrow()).shown))
      expect([constraints.lease_seconds, constraints.max_runtime_seconds]).toEqual(wanted)
      const report = verifyBundle(await two.home.plane.reader.evidence('all'), { crypto: nodeCryptography, logKey: two.home.key, gateKeys: [], replay: new DecisionReplay(sha256), foreign: [{ key: two.away.key, witnesses: two.policy }] })
      expect(report.findings.filter(({ verdict }) => verdict === 'contradicted')).toEqual([])
    }
  })

  it('stops with its lineage and its key', async () => {
    const two = await planes()
    const { permit, shown } = await two.borrow()
    await two.home.plane.stops.revoke(`lineage:${permit.txn}`, 'user:1')
    expect(told(await two.ask(shown))).toBe('revoked')
  })

  it('an offline verifier sees that it was spent once, and with the other key that it was permitted there', async () => {
    const two = await planes()
    const { shown } = await two.borrow()
    const permit = permitOf(await two.ask(shown))
    const bundle = parseBundle(utf8(formatBundle(await two.home.plane.reader.evidence('all'))))
    const replay = new DecisionReplay(sha256)
    const trust = { crypto: nodeCryptography, logKey: two.home.key, gateKeys: [], replay }
    const without = verifyBundle(bundle, trust)
    expect(without.verdict).toBe('established')
    expect(without.findings.map(({ verdict, claim }) => `${verdict}: ${claim}`)).toContainEqual(expect.stringContaining('not established: whether `away.test/default` said'))
    const withKey = verifyBundle(bundle, { ...trust, foreign: [{ key: two.away.key, witnesses: two.policy }] })
    expect(withKey.findings.filter(({ verdict }) => verdict === 'contradicted')).toEqual([])
    expect(withKey.established.map(({ claim }) => claim)).toContain('the other plane permitted what this permit descends from, and no less')
    const wrong = verifyBundle(bundle, { ...trust, foreign: [{ key: { ...two.away.key, publicKey: two.home.key.publicKey, id: two.home.key.id } }] })
    expect(wrong.verdict).toBe('contradicted')
    two.home.clock.advance(600_000)
    await two.home.plane.erase(permit.jti, false, 'user:1')
    const erased = verifyBundle(parseBundle(utf8(formatBundle(await two.home.plane.reader.evidence('all')))), { ...trust, foreign: [{ key: two.away.key, witnesses: two.policy }] })
    expect([erased.verdict, erased.notShown.some((text) => text.includes('was taken from'))]).toEqual(['established', true])
  })
})

describe('what is made for another plane', () => {
  it('is made for planes that are named, and by their origin alone', async () => {
    const two = await planes()
    await expect(two.borrow(toolCall(), { audience: 'third.test/default' })).rejects.toThrow('identity_unknown') // no gate of that name
    await two.away.stop()
    await two.startAway([])
    await expect(two.borrow()).rejects.toThrow('identity_unknown')
  })

  it('is bound to a key, and policies see for whom it is', async () => {
    const two = await planes()
    await expect(two.borrow(toolCall(), { identity: undefined, agent: { name: 'anyone', verified: false } } as never)).rejects.toThrow('identity_invalid')
    two.away.policies = policySet(`${PERMIT_ALL}\nforbid (principal, action, resource) when { context has federation && context.federation.direction == "to" && context.federation.origin == "${HOME}" };`)
    two.away.policyRules = { activateAtStart: true }
    await two.away.stop()
    await two.startAway()
    await expect(two.borrow()).rejects.toThrow('policy_denied')
  })

  it('can be spent at no gate, ends as expired over there, and is sealed anew for nobody else', async () => {
    const two = await planes()
    const { permit, shown } = await two.borrow()
    const away = await two.away.gate()
    const challenge = two.away.token()
    const artifact = shown['sealed'] as JsonObject
    expect(await outcome(two.away.plane.redeem({ session: away.session, artifact, challenge }, away.id, { size: 0 }))).toBe('audience_mismatch')
    expect(await outcome(two.show(0))).toBe('request_malformed')
    expect(await outcome(two.show(permit.seq, 10_000))).toBe('request_malformed')
    two.advance(100_000)
    expect(await endOverdue(two.away.plane.log, two.away.clock.wallMs())).toBe(1)
  })

  it('is no way round: what came from another plane goes to no further one', async () => {
    const two = await planes()
    const { shown } = await two.borrow()
    await two.home.stop()
    await two.home.start({ federation: { trusted: two.trusted(), audiences: ['third.test/default'] } })
    const nonce = two.home.plane.nonce()
    const reply = await two.home.plane.issue({ ...issueRequest(two.gate), audience: 'third.test/default', agent: { name: 'coder', verified: true }, nonce, identity: two.agent.proof(two.home, 'third.test/default', nonce, toolCall()), foreign: shown }, { size: 0 })
    expect(told(reply)).toBe('delegation_widens')
  })
})

describe('an artifact that is carried here, below a permit of another plane', () => {
  it('is issued, redeemed by its key alone, and stays what it was', async () => {
    const two = await planes()
    const { shown, permit: parent } = await two.borrow()
    const nonce = two.home.plane.nonce()
    const identity = two.agent.proof(two.home, two.gate.id, nonce, toolCall())
    const reply = await two.home.plane.issue({ ...issueRequest(two.gate), agent: { name: 'coder', verified: true }, nonce, identity, foreign: shown }, { size: 0 })
    const permit = permitOf(reply)
    expect(permit).toMatchObject({ use: 'redeem', txn: parent.txn, depth: 1 })
    if (reply.decision !== 'permit') return
    const redeem = (proof: boolean, challenge = two.home.token()): Promise<unknown> =>
      two.home.plane.redeem({ session: two.gate.session, artifact: { ...reply.sealed }, challenge, ...(proof ? { identity: two.agent.proof(two.home, two.gate.id, challenge, toolCall()) } : {}) }, two.gate.id, { size: 0 })
    expect([await outcome(redeem(false)), await outcome(redeem(true)), await outcome(redeem(true))]).toEqual(['proof_of_possession_failed', 'ok', 'artifact_spent'])
  })
})

describe('an approver of another plane', () => {
  const HOLDING = '@approval("group:secops quorum:2 timeout:10m")\npermit (principal, action, resource);'
  const held = async (quorum = 2): Promise<{ two: Planes; hold: string }> => {
    const two = new Planes()
    open.push(two)
    two.home.policies = policySet(HOLDING.replace('quorum:2', `quorum:${quorum}`))
    await two.setUp()
    const reply = await two.gate.authorize(two.gate.request())
    if (reply.decision !== 'hold') throw new Error(JSON.stringify(reply))
    return { two, hold: reply.hold }
  }
  const vouched = async (two: Planes, approver: TestApprover): Promise<JsonObject> => ({ ...(await two.away.plane.federation.vouch(approver.person, undefined, HOME, await two.known())) }) as unknown as JsonObject
  const shownOf = ({ sealed, consistency }: JsonObject): JsonObject => ({ sealed: sealed as JsonObject, consistency: consistency as [] })
  const approve = async (two: Planes, hold: string, approver: TestApprover, voucher?: JsonObject, change: Partial<ApprovalStatement> = {}): Promise<DenialCode | 'ok'> => {
    const statement = await approver.statement(two.home.plane, hold, { person: `${approver.person}@${AWAY}`, ...change })
    return outcome(two.home.plane.people.decideHold({ hold, signature: approver.sign(statement), ...(voucher === undefined ? {} : { voucher: shownOf(voucher) }) }))
  }
  const asked = async (two: Planes, hold: string): Promise<string> => told(await two.gate.authorize(two.gate.request(toolCall(), { hold })))

  it('approves a hold here, beside one of this plane, while that plane vouches for them', async () => {
    const { two, hold } = await held()
    const [ann, bob] = [await TestApprover.registered(two.away.plane, 'ann', ['leads', 'others']), await TestApprover.registered(two.home.plane, 'bob')]
    expect(await approve(two, hold, ann)).toBe('identity_unknown') // nobody vouches
    expect(await approve(two, hold, ann, await vouched(two, ann))).toBe('ok')
    expect(await asked(two, hold)).toBe('hold')
    await bob.approve(two.home.plane, hold)
    const reply = await two.gate.authorize(two.gate.request(toolCall(), { hold }))
    expect(permitOf(reply).approvals).toHaveLength(2)
    const bundle = parseBundle(utf8(formatBundle(await two.home.plane.reader.evidence('all'))))
    const report = verifyBundle(bundle, { crypto: nodeCryptography, logKey: two.home.key, gateKeys: [], foreign: [{ key: two.away.key, witnesses: two.policy }] })
    expect(report.findings.filter(({ verdict }) => verdict === 'contradicted')).toEqual([])
    const theirs = verifyBundle(await two.away.plane.reader.evidence('all'), { crypto: nodeCryptography, logKey: two.away.key, gateKeys: [] })
    expect([theirs.verdict, theirs.established.find(({ claim }) => claim === 'what another plane was told of an approver was so')?.count]).toEqual(['established', 1])
    expect(report.established.map(({ claim }) => claim)).toEqual(expect.arrayContaining(['the other plane vouched for the approver', 'the permit rests on the approval of distinct persons that its hold demanded, used once']))
  })

  it('ATK-109: is one person, whatever they are called, and never the one who asks', async () => {
    const { two, hold } = await held()
    const ann = await TestApprover.registered(two.away.plane, 'ann', ['leads'])
    expect([await approve(two, hold, ann, await vouched(two, ann)), await approve(two, hold, ann, await vouched(two, ann))]).toEqual(['ok', 'ok'])
    expect(await asked(two, hold)).toBe('hold') // counted once
    const twin = new TestApprover('ann here', ann.keys)
    await twin.register(two.home.plane) // the same key, registered here: it is that person's now
    await twin.approve(two.home.plane, hold)
    expect(await asked(two, hold)).toBe('quorum_not_met')
    const other = await held()
    const bob = await TestApprover.registered(other.two.home.plane, 'bob')
    const pretender = new TestApprover('bob there', bob.keys)
    await pretender.register(other.two.away.plane, ['leads'])
    expect(await approve(other.two, other.hold, pretender, await vouched(other.two, pretender))).toBe('subject_mismatch')
  })

  it('who asked over there does not approve it here', async () => {
    const two = new Planes()
    open.push(two)
    two.home.policies = policySet(HOLDING.replace('quorum:2', 'quorum:1'))
    await two.setUp()
    const { shown, permit } = await two.borrow()
    const reply = await two.ask(shown)
    if (reply.decision !== 'hold') throw new Error(JSON.stringify(reply))
    const self = await TestApprover.registered(two.away.plane, 'self', ['leads'], permit.sub)
    expect(await approve(two, reply.hold, self, await vouched(two, self))).toBe('quorum_not_met')
    const other = await TestApprover.registered(two.away.plane, 'other', ['leads'], 'user:other')
    expect(await approve(two, reply.hold, other, await vouched(two, other))).toBe('ok')
    expect(told(await two.ask(await two.show(permit.seq), toolCall(), { hold: reply.hold }))).toBe('permit')
  })

  it('is refused by code: groups that count as nothing, another person, a grant, a rejection, a voucher that is over', async () => {
    const { two, hold } = await held(1)
    const ann = await TestApprover.registered(two.away.plane, 'ann', ['leads'])
    const eve = await TestApprover.registered(two.away.plane, 'eve', ['others'])
    expect(await approve(two, hold, eve, await vouched(two, eve))).toBe('identity_unknown')
    const voucher = await vouched(two, ann)
    expect(await approve(two, hold, eve, voucher, { person: `${ann.person}@${AWAY}` })).toBe('key_unknown')
    expect(await approve(two, hold, ann, voucher, { person: ann.person })).toBe('subject_mismatch')
    expect(await approve(two, hold, ann, voucher, { decision: 'rejected' })).toBe('delegation_widens')
    expect(await approve(two, hold, ann, voucher, { grant: { uses: 1, until: Math.floor(two.home.clock.wallMs() / 1_000) + 60, tool_digest: TOOL_DIGEST, arguments_commit: TOOL_DIGEST } })).toBe('delegation_widens')
    two.advance(300_000)
    expect(await approve(two, hold, ann, await two.show((voucher as unknown as { seq: number }).seq))).toBe('artifact_expired')
    expect(await approve(two, hold, ann, await vouched(two, ann))).toBe('ok')
  })

  it('counts until the voucher is over, and only while their plane is trusted; then they may say it again', async () => {
    const { two, hold } = await held(1)
    const ann = await TestApprover.registered(two.away.plane, 'ann', ['leads'])
    expect(await approve(two, hold, ann, await vouched(two, ann))).toBe('ok')
    two.advance(300_000)
    expect(await asked(two, hold)).toBe('quorum_not_met')
    expect(await approve(two, hold, ann, await vouched(two, ann))).toBe('ok')
    await two.restartHome({ accepts: ['artifacts'] })
    expect(await asked(two, hold)).toBe('quorum_not_met')
    await two.restartHome({ groups: { leads: 'others' } })
    expect(await asked(two, hold)).toBe('quorum_not_met')
    await two.restartHome()
    expect(await asked(two, hold)).toBe('permit')
  })

  it('who was removed over there is vouched for no more', async () => {
    const { two, hold } = await held(1)
    const ann = await TestApprover.registered(two.away.plane, 'ann', ['leads'])
    await two.away.plane.people.removeApprover('ann', undefined, 'user:1')
    expect(await outcome(vouched(two, ann))).toBe('identity_unknown')
    expect(await outcome(two.away.plane.federation.vouch(ann.person, undefined, 'third.test/default', 0))).toBe('audience_mismatch')
    expect(await asked(two, hold)).toBe('hold')
  })
})
