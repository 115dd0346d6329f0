import {
  type Action, approvalInput, type ApprovalStatement, attachSignature, type Body, type Bundle, canonicalize, canonicalText, commitment, digestOf, type Entry, fitsGrant, formatBundle, type GrantArguments, type JsonObject, type JsonValue, leafDigest, leafHash,
  parseApprovalRefs, parseBundle, parseEntry, parseGrantArguments, present, type Report, signingKey, toBase64Url, utf8, verifyApproval, verifyBundle,
} from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ACTION, CHALLENGE, crypto, GATE_KEY, JTI, keyPair, LOG_KEY, NOW, permitBody, receiptToken, SALT, SESSION, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const HOLD = SESSION
const people = { ann: keyPair('ann'), bob: keyPair('bob'), cyd: keyPair('cyd') }
type Name = keyof typeof people
const kidOf = (name: Name): string => signingKey(people[name].publicKey, sha256).kid
const sign = (name: Name, statement: object, kid = kidOf(name)): string => {
  const input = approvalInput(statement as ApprovalStatement, kid)
  return attachSignature(input, people[name].sign(utf8(input)))
}
const added = (name: Name, change: JsonObject = {}): JsonObject => ({ kind: 'key', purpose: 'approver', event: 'added', person: `person:${name}`, groups: ['secops'], key: toBase64Url(people[name].publicKey), ...change })

/** A log in which a hold is approved and used, with every step changeable. */
class Story {
  readonly log = new TestLog()
  readonly bodies = new Map<number, Body[]>()
  hold = -1
  #jti = 0

  constructor(persons: readonly JsonObject[] = [added('ann'), added('bob'), added('cyd')]) {
    this.log.add({ kind: 'key', purpose: 'log', event: 'created', key: 'x' })
    for (const person of persons) this.log.add(person)
  }
  leaf(seq: number): string {
    return leafDigest(leafHash(utf8(this.log.leaves[seq] as string), sha256))
  }
  held(change: JsonObject = {}): this {
    const { scope, action_commit, sub, act, aud, policy } = permitBody()
    this.hold = this.log.add({ kind: 'hold', hold: HOLD, scope, action_commit, sub, act, aud, policy, approval: { groups: ['secops'], quorum: 2, expires: NOW + 600 }, risk: 'high', ...change })
    return this
  }
  statement(name: Name, change: JsonObject = {}): JsonObject {
    const entry = parseEntry(this.log.leaves[this.hold] as string) as Extract<Entry, { kind: 'hold' }>
    return present<JsonObject>({ tenant: 'default', person: `person:${name}`, hold: HOLD, index: this.hold, leaf_hash: this.leaf(this.hold), action_commit: entry.action_commit, aud: entry.aud, sub: entry.sub, decision: 'approved', iat: NOW, ...change })
  }
  /** @returns the reference to it */
  said(name: Name, change: JsonObject = {}, entry: JsonObject = {}, signature?: string): string {
    const statement = this.statement(name, change)
    const grant = (statement['grant'] as JsonObject | undefined)?.['arguments_commit']
    const seq = this.log.add(present({ kind: 'approval', hold: HOLD, event: statement['decision'], person: `person:${name}`, signature: signature ?? sign(name, statement), grant_commit: grant, ...entry }))
    return `${seq}:${this.leaf(seq)}`
  }
  granted(name: Name, uses: number, bounds: GrantArguments = { path: { prefix: '/srv/' } }, change: JsonObject = {}): string {
    const digest = digestOf(canonicalize(bounds as unknown as JsonValue), sha256)
    const commit = commitment('grant', SALT, digest, sha256)
    const ref = this.said(name, { grant: { uses, until: NOW + 3_600, tool_digest: ACTION.type === 'mcp.tool_call' ? ACTION.tool_digest : '', arguments_commit: commit, ...change } })
    this.bodies.set(Number(ref.split(':')[0]), [{ purpose: 'grant', commit, salt: SALT, digest, body: bounds as unknown as JsonValue }])
    return `grant:${ref}`
  }
  permitted(approvals: readonly string[], change: JsonObject = {}, action?: JsonObject): this {
    const jti = this.#jti++ === 0 ? JTI : toBase64Url(sha256(utf8(`jti ${this.#jti}`)).subarray(0, 16))
    const digest = digestOf(canonicalize(action ?? (ACTION as unknown as JsonObject)), sha256)
    const salt = action === undefined ? SALT : toBase64Url(sha256(utf8(canonicalText(action))).subarray(0, 16))
    const commit = commitment('action', salt, digest, sha256)
    const seq = this.log.add({ ...permitBody({ jti, txn: jti, approvals, action_commit: commit, challenge: CHALLENGE }), ...change })
    this.bodies.set(seq, [{ purpose: 'action', commit, salt, digest, body: action ?? (ACTION as unknown as JsonValue) }])
    return this
  }
  bundle(): Bundle {
    return { v: 1, origin: LOG_KEY.name, tenant: 'default', checkpoint: this.log.note(), checkpoints: [], anchors: [], policies: [], entries: this.log.leaves.map((_, i) => ({ ...this.log.seal(i, ''), bodies: this.bodies.get(i) ?? [] })) }
  }
  verify(bundle: Bundle = this.bundle()): Report {
    return verifyBundle(parseBundle(utf8(formatBundle(bundle))), { crypto, logKey: LOG_KEY, gateKeys: [GATE_KEY] })
  }
  contradictions(): string[] {
    return this.verify().findings.filter(({ verdict }) => verdict === 'contradicted').map(({ claim }) => claim)
  }
}
const approved = (): { story: Story; refs: string[] } => {
  const story = new Story().held()
  return { story, refs: [story.said('ann'), story.said('bob')] }
}

describe('a bundle with approvals', () => {
  it('is established: two persons signed the hold, and one permit rests on them', () => {
    const { story, refs } = approved()
    const report = story.permitted(refs).verify()
    expect(report.findings).toEqual([])
    expect(report.established).toContainEqual({ claim: 'the approver signed exactly this hold, under a key that was registered for them, while it waited', count: 2 })
    expect(report.established).toContainEqual({ claim: 'the permit rests on the approval of distinct persons that its hold demanded, used once', count: 1 })
  })
  it.each<[string, string, (story: Story, refs: string[]) => void]>([
    ['ATK-108: another action than was approved', 'action_mismatch', (s, refs) => s.permitted(refs, { action_commit: `sha256:${'0'.repeat(64)}` })],
    ['ATK-108: another scope', 'action_mismatch', (s, refs) => s.permitted(refs, { scope: { type: 'mcp.tool_call', name: 'write_file', target: 'mcp://fs' } })],
    ['another requester', 'subject_mismatch', (s, refs) => s.permitted(refs, { sub: 'user:2' })],
    ['another agent', 'subject_mismatch', (s, refs) => s.permitted(refs, { act: { sub: 'agent:other', verified: true } })],
    ['another gate', 'subject_mismatch', (s, refs) => s.permitted(refs, { aud: 'x' })],
    ['ATK-111: a second execution', 'artifact_spent', (s, refs) => s.permitted(refs).permitted(refs)],
    ['ATK-109: one person for two', 'quorum_not_met', (s, refs) => s.permitted([refs[0] as string])],
    ['ATK-109: a person who was removed', 'quorum_not_met', (s, refs) => (s.log.add({ kind: 'key', purpose: 'approver', event: 'removed', person: 'person:bob' }), s.permitted(refs))],
    ['ATK-109: a key that was removed', 'quorum_not_met', (s, refs) => (s.log.add(added('bob', { key: toBase64Url(keyPair('new').publicKey) })), s.log.add({ kind: 'key', purpose: 'approver', event: 'removed', person: 'person:bob', key: toBase64Url(people.bob.publicKey) }), s.permitted(refs))],
    ['ATK-109: a role that was lost', 'quorum_not_met', (s, refs) => (s.log.add(added('bob', { groups: ['interns'] })), s.permitted(refs))],
    ['ATK-109: an approver who turns out to be the requester', 'quorum_not_met', (s, refs) => (s.log.add(added('bob', { sub: 'user:1' })), s.permitted(refs))],
    ['ATK-109: an approver who answers for it', 'quorum_not_met', (s, refs) => (s.log.add(added('bob', { sub: 'team:a' })), s.permitted(refs))],
    ['ATK-112: a permit after a rejection', 'approval_rejected', (s, refs) => (s.said('cyd', { decision: 'rejected' }), s.permitted(refs))],
    ['an approval after a rejection', 'approval_rejected', (s) => (s.said('cyd', { decision: 'rejected' }), s.said('cyd'))],
    ['an expiry before its time', 'artifact_not_yet_valid', (s) => s.log.add({ kind: 'approval', hold: HOLD, event: 'expired' })],
    ['a permit after its time', 'approval_expired', (s, refs) => s.permitted(refs, { time: (NOW + 600) * 1_000 })],
    ['an approval after its time', 'approval_expired', (s) => s.said('cyd', {}, { time: (NOW + 600) * 1_000 })],
    ['an approval of what was used', 'artifact_spent', (s, refs) => (s.permitted(refs), s.said('cyd'))],
    ['ATK-108: a signature about another leaf', 'action_mismatch', (s) => s.said('cyd', { leaf_hash: `sha256:${'0'.repeat(64)}` })],
    ['ATK-108: a signature about another commitment', 'action_mismatch', (s) => s.said('cyd', { action_commit: `sha256:${'0'.repeat(64)}` })],
    ['a signature for another gate', 'subject_mismatch', (s) => s.said('cyd', { aud: 'x' })],
    ['a signature of another person', 'subject_mismatch', (s) => s.said('cyd', { person: 'person:ann' })],
    ['a signature in another tenant', 'tenant_mismatch', (s) => s.said('cyd', { tenant: 'other' })],
    ['a rejection that was signed as an approval', 'seal_invalid', (s) => s.said('cyd', {}, { event: 'rejected' })],
    ['a signature by another key', 'key_unknown', (s) => s.said('cyd', {}, {}, sign('ann', s.statement('cyd')))],
    ['a signature that does not verify', 'signature_invalid', (s) => s.said('cyd', {}, {}, sign('ann', s.statement('cyd'), kidOf('cyd')))],
    ['a receipt in place of a signature', 'type_mismatch', (s) => s.said('cyd', {}, {}, receiptToken())],
    ['one key for two persons', 'two approvers hold one key', (s) => s.log.add(added('cyd', { person: 'person:twin' }))],
    ['two holds of one id', 'two holds have one id', (s) => s.held()],
  ])('is contradicted by %s', (_name, code, change) => {
    const { story, refs } = approved()
    change(story, refs)
    expect(story.contradictions().join('\n')).toContain(code)
  })
  it('an approver in none of the groups, or the requester, signs for nothing', () => {
    for (const [change, code] of [[{ groups: ['interns'] }, 'quorum_not_met'], [{ sub: 'user:1' }, 'quorum_not_met']] as const) {
      const story = new Story([added('ann', change as JsonObject)]).held()
      story.said('ann')
      expect(story.contradictions().join()).toContain(code)
    }
  })
  it('what is not in the bundle is not established, and said', () => {
    const { story, refs } = approved()
    const bundle = story.permitted(refs).bundle()
    const without = (seqs: readonly number[]): Report => story.verify({ ...bundle, entries: bundle.entries.filter((_, i) => !seqs.includes(i)) })
    expect(without([5]).findings).toContainEqual(expect.objectContaining({ verdict: 'not established', claim: expect.stringContaining('the permit rests on approvals that are not in this bundle') as string }))
    expect(without([4]).findings.map(({ claim }) => claim)).toContain('the approval belongs to a hold that is not in this bundle')
    expect(without([1]).findings.map(({ claim }) => claim)).toContain('the approver is not registered in this bundle')
    expect(without([3]).notShown.join()).toContain('rejections, other uses of a grant, and changes of approvers that stand outside of this bundle')
    expect(without([]).notShown.join()).not.toContain('outside of this bundle')
  })
  it('after a re-anchoring no earlier approval counts: what used it may be in the lost history', () => {
    const { story, refs } = approved()
    story.log.add({ kind: 'key', purpose: 'log', event: 're_anchored', key: 'x', lost: { size: 99, root: `sha256:${'0'.repeat(64)}` } })
    story.permitted(refs)
    expect(story.verify().findings.map(({ claim }) => claim)).toContain('the permit rests on approvals that are not in this bundle, or do not hold')
  })
  it('ATK-073: any flipped byte of an approval, or of what it signs, is contradicted', () => {
    const { story, refs } = approved()
    const bundle = story.permitted(refs).bundle()
    fc.assert(fc.property(fc.constantFrom(4, 5, 6), fc.nat(), fc.integer({ min: 1, max: 127 }), (i, at, change) => {
      const entry = bundle.entries[i]?.entry as string
      const k = at % entry.length
      const flipped = entry.slice(0, k) + String.fromCharCode(entry.charCodeAt(k) ^ change) + entry.slice(k + 1)
      return story.verify({ ...bundle, entries: bundle.entries.map((e, n) => (n === i ? { ...e, entry: flipped } : e)) }).verdict === 'contradicted'
    }), { numRuns: 200, seed: 20_261_125 })
  })
})

describe('a grant in a bundle', () => {
  const other = { ...(ACTION as unknown as JsonObject), arguments: { path: '/srv/other.txt' } }
  const grants = (uses = 1, change: JsonObject = {}): { story: Story; refs: string[] } => {
    const story = new Story().held()
    return { story, refs: [story.granted('ann', uses, undefined, change), story.granted('bob', uses, undefined, change)] }
  }
  it('is established while uses are left and the arguments fit', () => {
    const { story, refs } = grants(2)
    const { findings, established } = story.permitted(refs, {}, other).permitted(refs, {}, { ...other, arguments: { path: '/srv/b' } }).verify()
    expect(findings).toEqual([])
    expect(established).toContainEqual({ claim: 'the permit is one of the uses that a grant allowed', count: 2 })
    expect(established).toContainEqual({ claim: 'the arguments are those that the grant allows', count: 2 })
  })
  it.each<[string, string, (story: Story, refs: string[]) => void]>([
    ['one use too many', 'no use of the grant is left', (s, refs) => s.permitted(refs, {}, other).permitted(refs, {}, { ...other, arguments: { path: '/srv/b' } })],
    ['other arguments', 'the grant does not cover them', (s, refs) => s.permitted(refs, {}, { ...other, arguments: { path: '/etc/shadow' } })],
    ['another definition of the tool', 'tool_changed', (s, refs) => s.permitted(refs, {}, { ...other, tool_digest: `sha256:${'9'.repeat(64)}` })],
    ['its time', 'the grant was over', (s, refs) => s.permitted(refs, { time: (NOW + 3_600) * 1_000 }, other)],
    ['a rejection', 'approval_rejected', (s, refs) => (s.said('cyd', { decision: 'rejected' }), s.permitted(refs, {}, other))],
    ['another agent', 'subject_mismatch', (s, refs) => s.permitted(refs, { act: { sub: 'agent:x', verified: true } }, other)],
    ['one of two', 'quorum_not_met', (s, refs) => s.permitted([refs[0] as string], {}, other)],
  ])('is contradicted beyond %s', (_name, reason, change) => {
    const { story, refs } = grants()
    change(story, refs)
    expect(story.contradictions().join('\n')).toContain(reason)
  })
  it('an approval without a grant covers no later request', () => {
    const { story, refs } = approved()
    story.permitted(refs.map((ref) => `grant:${ref}`), {}, other)
    expect(story.contradictions().join()).toContain('artifact_spent')
  })
  it('says when it cannot tell whether the arguments fit', () => {
    const { story, refs } = grants()
    story.permitted(refs, {}, other)
    for (const [seq] of story.bodies) if (seq === 5) story.bodies.delete(seq)
    expect(story.verify().notShown.join()).toContain('whether the arguments of the permit at index 7 are those of its grant')
  })
})

describe('the forms of approvals', () => {
  it.each<[string, JsonObject]>([
    ['expired with a person', { event: 'expired', person: 'person:a' }],
    ['expired with a signature', { event: 'expired', signature: 'x' }],
    ['approved without a signature', { event: 'approved', person: 'person:a' }],
    ['approved by nobody', { event: 'approved', signature: 'x' }],
    ['rejected with a grant', { event: 'rejected', person: 'a', signature: 'x', grant_commit: `sha256:${'0'.repeat(64)}` }],
    ['another event', { event: 'revoked' }],
    ['an unknown member', { event: 'expired', more: 1 }],
  ])('an entry that is %s is artifact_malformed', (_name, change) => {
    expect(outcome(() => parseEntry(canonicalText({ v: 1, seq: 0, time: 0, tenant: 'default', kind: 'approval', hold: HOLD, ...change })))).toBe('artifact_malformed')
  })
  it.each<[string, JsonObject]>([
    ['no groups', { groups: [] }],
    ['a group twice', { groups: ['a', 'a'] }],
    ['a group in another spelling', { groups: ['Sec Ops'] }],
    ['no key', { key: undefined as never }],
    ['an unknown event', { event: 'changed' }],
    ['a sub where somebody is removed', { event: 'removed', groups: undefined as never, sub: 'user:1' }],
  ])('an approver with %s is artifact_malformed', (_name, change) => {
    expect(outcome(() => parseEntry(canonicalText(present({ v: 1, seq: 0, time: 0, tenant: 'default', ...added('ann'), ...change }))))).toBe('artifact_malformed')
  })
  it.each([['quorum 0', { quorum: 0 }], ['quorum 17', { quorum: 17 }], ['no groups', { groups: [] }], ['more', { more: 1 }]] as const)('a hold with %s is artifact_malformed', (_name, change) => {
    expect(outcome(() => parseEntry(canonicalText({ v: 1, seq: 0, time: 0, tenant: 'default', kind: 'hold', hold: HOLD, approval: { groups: ['a'], quorum: 1, expires: 1, ...change } } as JsonObject)))).toBe('artifact_malformed')
  })
  const LEAF = `sha256:${'a'.repeat(64)}`
  it.each(['', 'x', `1:${LEAF} `, `01:${LEAF}`, `-1:${LEAF}`, `1.0:${LEAF}`, `1:sha256:${'A'.repeat(64)}`, `Grant:1:${LEAF}`, `grant:grant:1:${LEAF}`, `1${LEAF}`])('a permit that rests on `%s` is artifact_malformed', (ref) => {
    expect(outcome(() => parseApprovalRefs([ref]))).toBe('artifact_malformed')
  })
  it('one approval twice, or grants among approvals, are artifact_malformed', () => {
    expect(outcome(() => parseApprovalRefs([`1:${LEAF}`, `1:${LEAF}`]))).toBe('artifact_malformed')
    expect(outcome(() => parseApprovalRefs([`1:${LEAF}`, `grant:2:${LEAF}`]))).toBe('artifact_malformed')
  })
  it('a statement with a member more or less, or a grant beyond its limits, is refused', () => {
    const story = new Story().held()
    const keys = [signingKey(people.ann.publicKey, sha256)]
    const refused = (change: JsonObject): string => outcome(() => verifyApproval(sign('ann', story.statement('ann', change)), keys, crypto))
    const grant = { uses: 1, until: NOW + 1, arguments_commit: LEAF }
    expect(refused({})).toBe('ok')
    expect(refused({ grant })).toBe('ok')
    expect(refused({ more: 1 })).toBe('artifact_malformed')
    for (const name of ['tenant', 'person', 'hold', 'index', 'leaf_hash', 'action_commit', 'aud', 'sub', 'decision', 'iat']) expect(refused({ [name]: undefined as never }), name).toBe('artifact_malformed')
    expect(refused({ grant: { ...grant, uses: 0 } })).toBe('artifact_malformed')
    expect(refused({ grant: { ...grant, uses: 1_001 } })).toBe('artifact_malformed')
    expect(refused({ grant: { ...grant, until: NOW } })).toBe('lifetime_exceeded')
    expect(refused({ grant: { ...grant, until: NOW + 2_592_001 } })).toBe('lifetime_exceeded')
    expect(refused({ grant, decision: 'rejected' })).toBe('artifact_malformed')
    expect(outcome(() => verifyApproval(sign('ann', story.statement('ann')), [], crypto))).toBe('key_unknown')
  })
})

describe('what the arguments of a grant may be', () => {
  const call = (args: JsonObject, change: JsonObject = {}): Action => ({ type: 'mcp.tool_call', target: 'mcp://fs', name: 'write_file', arguments: args, tool_digest: `sha256:${'a'.repeat(64)}`, ...change }) as Action
  it.each<[GrantArguments, JsonObject, boolean]>([
    [{ a: { equals: { x: [1, 'y'] } } }, { a: { x: [1, 'y'] } }, true],
    [{ a: { equals: 1 } }, { a: '1' }, false],
    [{ a: { one_of: ['x', 2, null] } }, { a: null }, true],
    [{ a: { one_of: ['x', 2] } }, { a: 'X' }, false],
    [{ a: { range: { min: -1, max: 5 } } }, { a: 5 }, true],
    [{ a: { range: { min: -1, max: 5 } } }, { a: 6 }, false],
    [{ a: { range: { min: 1, max: 5 } } }, { a: 2.5 }, false],
    [{ a: { range: { min: 1, max: 5 } } }, { a: '3' }, false],
    [{ a: { prefix: '/srv/' } }, { a: '/srv/x/y.txt' }, true],
    [{ a: { prefix: '/srv/' } }, { a: '/srv/' }, false],
    [{ a: { prefix: '/srv/' } }, { a: '/srv' }, false],
    [{ a: { prefix: '/srv/' } }, { a: '/srvx/y' }, false],
    ...['/srv/..', '/srv/../x', '/srv/a/../../x', '/srv/./x', '/srv//x', '/srv/%2e%2e/x', '/srv/..\\x', '/srv/a\u0000b', '/srv/a\nb'].map((a): [GrantArguments, JsonObject, boolean] => [{ a: { prefix: '/srv/' } }, { a }, false]),
    [{ a: { prefix: 'file:///srv/' } }, { a: 'file:///srv/x' }, true],
    [{}, {}, true],
    [{}, { a: 1 }, false],
    [{ a: { equals: 1 } }, {}, false],
    [{ a: { equals: 1 } }, { a: 1, b: 2 }, false],
    [{ a: { equals: 1 } }, { ['__proto__']: 1 } as JsonObject, false],
  ])('%j fits %j: %s', (bounds, args, fits) => {
    expect(fitsGrant(parseGrantArguments(bounds as unknown as JsonValue), call(args))).toBe(fits)
  })
  it.each([['input_responses', { go: { action: 'accept' } }], ['input_responses', {}], ['request_state', ''], ['task', { ttl: 1 }]])('covers no request with %s %j: no bound speaks of it', (member, value) => {
    expect(fitsGrant({ a: { equals: 1 } }, call({ a: 1 }))).toBe(true)
    expect(fitsGrant({ a: { equals: 1 } }, call({ a: 1 }, { [member]: value }))).toBe(false)
  })
  it.each<[JsonValue]>([[[]], [{ a: {} }], [{ a: { equals: 1, prefix: '/x/' } }], [{ a: { one_of: [] } }], [{ a: { prefix: '/srv' } }], [{ a: { prefix: '/a/../' } }], [{ a: { range: { min: 2, max: 1 } } }], [{ a: { range: { min: 1.5, max: 2 } } }], [{ a: { range: { min: 1 } } }], [{ a: { any: true } }], [{ a: 1 }]])('%j is request_malformed', (bounds) => {
    expect(outcome(() => parseGrantArguments(bounds))).toBe('request_malformed')
  })
  it('a path below a prefix stays below it for whoever resolves it', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom('a', '.', '..', '', 'b c', '%2e', '...'), { maxLength: 6 }), (parts) => {
      const path = `/srv/${parts.join('/')}`
      if (!fitsGrant({ p: { prefix: '/srv/' } }, call({ p: path }))) return
      expect(new URL(`file://${path}`).pathname.startsWith('/srv/')).toBe(true)
      expect(parts.includes('..')).toBe(false)
    }))
  })
})
