import { aboveOf, canonicalize, CHECKS, commitment, digestOf, type Bundle, type BundleEntry, canonicalText, consistencyProof, type JsonObject, type JsonValue, leafDigest, leafHash, noteKey, type Selectable, selectorsOf, toBase64, toBase64Url, treeRoot, utf8 } from '@sealwrit/protocol'
import { GATE, GATE_KEY, keyPair, LOG_KEY, NOW, receiptClaims, sha256, TestLog } from '../../packages/protocol/test/support/fixture.ts'
import { account, approved, APPROVER, APPROVER_KEY, BUDGETS, bytesOf, cosigned, type Draft, type Rich, sealBundle, signNote, WITNESSES } from './evidence.ts'
import type { Tampered } from './tamper.ts'

const OTHER = keyPair('somebody else')
/** y of small order or not canonical: keys and nonces under which lax verifiers take what nobody signed. */
const WEAK_POINTS = ['00', '01', 'ec', 'ed', 'ee'].map((first, i) => first + (i < 2 ? '00'.repeat(31) : `${'ff'.repeat(30)}7f`)).concat(['c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', `01${'00'.repeat(30)}80`])

/** What is wrong with the life of an execution, or with what stands beside it, in a tree that is signed as it should be. */
export function* brokenRules(rich: Rich): Generator<Tampered<Uint8Array>> {
  const { drafts, at, bundle } = rich
  const index = (label: string): number => at[label] as number
  const entry = (label: string): JsonObject => JSON.parse(drafts[index(label)]?.text as string) as JsonObject
  const leafOf = (label: string): string => leafDigest(leafHash(utf8(drafts[index(label)]?.text as string), sha256))
  /** The entries up to `upto`, and then others, numbered anew. */
  const built = (upto: string, ...more: readonly object[]): Uint8Array => {
    const kept = drafts.slice(0, index(upto) + 1)
    // An entry that is taken from elsewhere gets the time of its new place, so that nothing but the rule itself is broken.
    const isTaken = ({ time }: { time?: number }): boolean => time !== undefined && time >= NOW * 1_000 && time < NOW * 1_000 + drafts.length
    const added: Draft[] = more.map((one, i) => ({ text: canonicalText({ v: 1, tenant: 'default', ...one, time: isTaken(one) || !('time' in one) ? NOW * 1_000 + 100 + i : one.time, seq: kept.length + i } as JsonObject), bodies: [] }))
    return bytesOf(sealBundle([...kept, ...added]))
  }
  const token = (label: string): string => toBase64Url(sha256(utf8(`broken ${label}`)).subarray(0, 16))
  const receipt = (label: string, change: JsonObject = {}, more: object = {}, keys = GATE, kid = GATE_KEY.kid): object => {
    const jti = entry(label)['jti'] as string
    return { kind: 'receipt', jti, receipt: account({ ...receiptClaims(), jti, leaf_hash: leafOf(label), session: token('session'), ...change }, 'execution-receipt+jwt', keys, kid), ...more }
  }
  const expiry = (label: string, outcome: string, change: object = {}): object => ({ kind: 'expiry', jti: entry(label)['jti'], leaf_hash: leafOf(label), outcome, ...change })
  const redemption = (label: string, change: object = {}): object => ({ kind: 'redemption', jti: entry(label)['jti'], leaf_hash: leafOf(label), aud: GATE_KEY.kid, challenge: token('c'), exp: entry(label)['exp'], ...change })
  const stranger = noteKey('x/default', OTHER.publicKey, sha256) // only to have its bytes
  const otherGate = { kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(stranger.publicKey) }

  const session = entry('session') as { env: JsonObject }
  yield { title: 'a session of signed evidence without a statement', value: built('enrolled', { ...session, env: { ...session.env, level: 'signed' } }) }
  yield { title: 'a session of hardware evidence without a statement', value: built('enrolled', { ...session, env: { ...session.env, level: 'hardware' } }) }
  yield { title: 'a session of software evidence with a statement', value: built('enrolled', { ...session, attestation_commit: `sha256:${'0'.repeat(64)}` }) }
  yield { title: 'a permit of more evidence than its session has', value: built('tool', { ...entry('pull'), env: { ...session.env, level: 'signed' } }) }
  yield { title: 'a pull permit with two receipts', value: built('pull', receipt('pull'), receipt('pull', { sequence: 1 })) }
  yield { title: 'a receipt and an expiry', value: built('pull', receipt('pull'), expiry('pull', 'indeterminate')) }
  yield { title: 'an expiry and a receipt that resolves nothing', value: built('pull', expiry('pull', 'indeterminate'), receipt('pull')) }
  yield { title: 'a receipt that resolves another entry', value: built('pull', expiry('pull', 'indeterminate'), receipt('pull', {}, { resolves: 2 })) }
  yield { title: 'a receipt that resolves itself', value: built('pull', receipt('pull', {}, { resolves: index('pull') + 1 })) }
  yield { title: 'a receipt that resolves its permit', value: built('pull', receipt('pull', {}, { resolves: index('pull') })) }
  yield { title: 'a receipt that resolves an indeterminate receipt', value: built('pull', receipt('pull', { outcome: 'indeterminate' }), receipt('pull', { sequence: 1 }, { resolves: index('pull') + 1 })) }
  yield { title: 'an indeterminate that is resolved twice', value: built('pull', expiry('pull', 'indeterminate'), receipt('pull', {}, { resolves: index('pull') + 1 }), receipt('pull', { sequence: 1 }, { resolves: index('pull') + 1 })) }
  yield { title: 'an expired that is resolved', value: built('carried', expiry('carried', 'expired'), receipt('carried', {}, { resolves: index('carried') + 1 })) }
  yield { title: 'a pull permit that expired', value: built('pull', expiry('pull', 'expired')) }
  yield { title: 'a spent permit that expired', value: built('carried', redemption('carried'), expiry('carried', 'expired')) }
  yield { title: 'a denial with the id of a permit', value: built('pull', { kind: 'deny', code: 'parent_unknown', jti: entry('pull')['jti'] }) }
  yield { title: 'a permit with the id of a denial', value: built('tool', { kind: 'deny', code: 'parent_unknown', jti: token('twice') }, { ...entry('pull'), jti: token('twice'), txn: token('twice') }) }
  for (const [title, ending] of Object.entries({ receipt: receipt('carried'), indeterminate: expiry('carried', 'indeterminate') })) yield { title: `a carried permit that nobody spent, with the ending ${title}`, value: built('carried', ending) }
  for (const check of CHECKS) yield { title: `a receipt of what ran though ${check} had not passed`, value: built('pull', receipt('pull', { checks: { ...(receiptClaims()['checks'] as JsonObject), [check]: 'missing' } })) }
  yield { title: 'an expiry of another leaf', value: built('pull', expiry('pull', 'indeterminate', { leaf_hash: `sha256:${'0'.repeat(64)}` })) }
  const budgeted = (label: string, ...budgets: readonly object[]): object => ({ ...entry('pull'), jti: token(label), txn: token(label), constraints: { ...(entry('pull')['constraints'] as JsonObject), budgets } })
  const [budget] = BUDGETS
  for (const per of ['agent', 'principal', 'tenant']) yield { title: `a permit beyond its budget of a ${per}`, value: built('tool', ...[1, 2, 3].map((n) => budgeted(`spends ${per} ${n}`, { ...budget, count: 2, per }))) }
  for (const [title, given] of Object.entries({ 'no budget': [], 'a budget of nothing': [{ ...budget, count: 0 }], 'a budget of no time': [{ ...budget, seconds: 0 }], 'a count too many': [{ ...budget, count: 10_001 }], 'a second too many': [{ ...budget, seconds: 2_678_401 }], 'a budget of somebody': [{ ...budget, per: 'user' }], 'two budgets of a policy': [budget, { ...budget, seconds: 1 }], 'a budget of another policy': [{ ...budget, policy: 'b/0' }], 'a member more': [{ ...budget, more: 1 }] })) yield { title: `a permit with ${title}`, value: built('tool', budgeted(title, ...given)) }
  yield { title: 'a second permit of one id', value: built('pull', { ...entry('pull') }) }
  for (const [title, change] of Object.entries({ 'another leaf': { leaf_hash: leafOf('pull') }, 'another end': { exp: 1 }, 'another gate': { aud: 'x' }, 'its very end': { time: (NOW + 60) * 1_000 }, 'long before': { time: (NOW - 31) * 1_000 } })) yield { title: `a redemption with ${title}`, value: built('carried', redemption('carried', change)) }
  yield { title: 'a redemption of a pull permit', value: built('pull', redemption('pull')) }
  yield { title: 'a permit spent twice', value: built('carried', redemption('carried'), redemption('carried', { challenge: token('d') })) }
  yield { title: 'a permit spent after its ending', value: built('carried', expiry('carried', 'expired'), redemption('carried')) }
  yield { title: 'a permit spent after its receipt', value: built('carried', receipt('carried'), redemption('carried')) }

  for (const [title, change] of Object.entries({ 'from without staged': { from: 1 }, 'staged without from': { event: 'staged' }, 'rolled back to nothing': { event: 'rolled_back' }, 'an urgent shadow': { mode: 'shadow', urgent: true }, 'a staged shadow': { event: 'staged', from: 1, mode: 'shadow' }, 'an urgent withdrawal': { event: 'withdrawn', urgent: true }, 'urgent false': { urgent: false }, 'another event': { event: 'x' } })) yield { title: `a policy entry that is ${title}`, value: built('tool', { ...entry('policy'), ...change }) }
  const kill = (selector: string, event = 'killed'): object => ({ kind: 'kill', selector, event, by: 'user:1' })
  const lease = (jtis: readonly unknown[], gate: string = GATE_KEY.kid): object => ({ kind: 'lease', gate, session: token('s'), nonce: token('n'), jtis })
  const pull = entry('pull')
  for (const selector of selectorsOf({ ...pull } as unknown as Selectable)) {
    yield { title: `a permit after the kill of ${selector}`, value: built('tool', kill(selector), pull) }
    yield { title: `a permit after the revocation of ${selector}`, value: built('tool', { kind: 'revocation', selector, by: 'user:1' }, pull) }
    yield { title: `a renewal after the kill of ${selector}`, value: built('pull', kill(selector), lease([pull['jti']])) }
  }
  yield { title: 'a permit after a kill that somebody only asked to lift', value: built('tool', kill('all'), kill('all', 'lift_asked'), pull) }
  yield { title: 'a permit after a revocation beside a kill that was lifted', value: built('tool', { kind: 'revocation', selector: 'all', by: 'user:1' }, kill('all'), kill('all', 'lifted'), pull) }
  yield { title: 'a renewal for another gate', value: built('pull', lease([pull['jti']], 'x')) }
  yield { title: 'a renewal of one execution twice', value: built('pull', lease([pull['jti'], pull['jti']])) }
  yield { title: 'a renewal of more than 1,000', value: built('pull', lease(Array.from({ length: 1_001 }, (_, i) => token(`j${i}`)))) }
  yield { title: 'a kill that is asked for', value: built('tool', kill('all', 'asked')) }
  for (const selector of ['', 'all:', 'All', 'agent:', 'agent', 'artifact:x', 'nothing:x', ' all', 'agent:a\u0085', 'agent:a\nb', `agent:${'x'.repeat(3_195)}`]) yield { title: `the selector ${selector.slice(0, 20)}`, value: built('tool', kill(selector)) }

  for (const [title, change] of Object.entries({ 'another leaf': { leaf_hash: leafOf('policy') }, 'another permit': { jti: token('jti') }, 'another gate': { gate: token('jti') + token('jti').slice(1) }, 'another tenant': { tenant: 'other' } })) yield { title: `a receipt that names ${title}`, value: built('pull', receipt('pull', change as JsonObject)) }
  const opened = entry('pull') as unknown as { nbf: number; exp: number }
  for (const [title, started] of Object.entries({ 'when its permit was over': (opened.exp + 30) * 1_000, 'before its permit': (opened.nbf - 30) * 1_000 - 1 })) yield { title: `a receipt of what began ${title}`, value: built('pull', receipt('pull', { started, finished: started + 5 })) }
  yield { title: 'a receipt under another entry id', value: built('pull', { ...receipt('pull'), jti: token('jti') }) }
  yield { title: 'a receipt signed by somebody else', value: built('pull', receipt('pull', {}, {}, OTHER)) }
  yield { title: 'a receipt by somebody else', value: built('pull', receipt('pull', { gate: 'x' }, {}, OTHER, 'x')) }
  yield { title: 'a sequence number used twice', value: built('redemption', receipt('carried', { session: token('s') }), receipt('pull', { session: token('s') })) }
  yield { title: 'a gate enrolled with the key of another', value: built('tool', otherGate) }
  for (const point of WEAK_POINTS) yield { title: `a gate whose key is the point ${point.slice(0, 8)}…`, value: built('tool', { ...otherGate, key: Buffer.from(point, 'hex').toString('base64url') }) }
  const denial = (change: JsonObject): string => account({ gate: GATE_KEY.kid, tenant: 'default', session: token('s'), sequence: 0, time: NOW * 1_000, code: 'challenge_mismatch', ...change }, 'execution-denial+jwt')
  for (const [title, change] of Object.entries({ code: { code: 'unavailable' }, tenant: { tenant: 'other' }, gate: { gate: 'x' } })) yield { title: `a denial with another ${title}`, value: built('tool', { kind: 'deny', code: 'challenge_mismatch', aud: GATE_KEY.kid, denial: denial(change) }) }
  yield { title: 'a receipt in the place of a denial', value: built('tool', { kind: 'deny', code: 'challenge_mismatch', aud: GATE_KEY.kid, denial: entry('receipt')['receipt'] }) }
  yield { title: 'a denial in the place of a receipt', value: built('pull', { kind: 'receipt', jti: entry('pull')['jti'], receipt: entry('denial')['denial'] }) }
  yield { title: 'a time that goes back', value: built('tool', { kind: 'gate', gate: GATE_KEY.kid, event: 'denials_lost', count: 1, time: NOW * 1_000 - 1 }) }
  yield { title: 'a tool entry that says it was re-anchored', value: built('tool', { kind: 'tool', target: 'mcp://fs', name: 'x', digest: `sha256:${'a'.repeat(64)}`, event: 're_anchored', time: NOW * 1_000 - 1 }) }
  yield { title: 'another tenant', value: built('tool', { kind: 'gate', gate: GATE_KEY.kid, event: 'denials_lost', count: 1, tenant: 'other' }) }
  yield { title: 'a permit of another issuer', value: built('tool', { ...entry('pull'), iss: 'other.test/default' }) }
  for (const [event, members] of Object.entries({ enrolled: { key: toBase64Url(GATE.publicKey), count: 1 }, session: { session: token('s'), env: entry('session')['env'], key: 'x' }, denials_lost: { count: 1, session: token('s') } })) yield { title: `a gate entry \`${event}\` with a member of another event`, value: built('tool', { kind: 'gate', gate: GATE_KEY.kid, event, ...members }) }
  yield { title: 'a retention that somebody asked for', value: built('tool', { kind: 'erasure', ranges: [{ from: 0, to: 1 }], cause: 'retention', by: 'user:1' }) }
  for (const ranges of [[], [{ from: 1, to: 1 }], [{ from: 0, to: 1 }, { from: 1, to: 2 }], [{ from: 3, to: 4 }, { from: 0, to: 1 }], Array.from({ length: 257 }, (_, i) => ({ from: 2 * i, to: 2 * i + 1 }))]) yield { title: `erasure of ${ranges.length} ranges`, value: built('tool', { kind: 'erasure', ranges, cause: 'retention' }) }
  const assessment = entry('assessment')
  for (const [title, change] of Object.entries({ 'of entries that are not there yet': { size: 100_000 }, 'of nothing': { size: 0 }, 'that was not made yet': { at: NOW * 1_000 + 3_600_000 }, 'above its least dimension': { level: 1 }, 'without dimensions': { dimensions: {} }, 'with a level beyond the highest': { level: 6, dimensions: { one: 6 } }, 'with a part of a number': { measures: { entries: 0.5 } }, 'with a measure of another name': { measures: { 'Entries!': 1 } }, 'of another root': { root: 'x' } })) yield { title: `an assessment ${title}`, value: built('tool', { ...assessment, ...change }) }
  for (const kind of ['lease', 'state', 'approval', 'revocation', 'kill', 'agent', 'assessment', 'entry', 'nothing', '__proto__']) yield { title: `the kind ${kind}`, value: built('tool', { kind }) }
  yield { title: 'all of another tenant', value: bytesOf(sealBundle(drafts.map(({ text, bodies }) => ({ text: text.replace('"tenant":"default"', '"tenant":"other"'), bodies })).slice(0, 5), { tenant: 'other' })) }

  // What is only observed.
  const again = (label: string, change: object = {}): object => ({ ...entry(label), ...change })
  const observed = (change: object = {}): object => ({ ...entry('observed'), jti: token('o'), txn: token('o'), challenge: token('o c'), ...change })
  const { constraints } = entry('observed') as { constraints: JsonObject }
  for (const [title, value] of Object.entries({
    'an observed permit where the plane never observed': built('tool', observed()),
    'an observed permit after the plane enforces again': built('enforcing', observed()),
    'an observed execution that goes on when the plane enforces': built('observed', again('enforcing'), lease([entry('observed')['jti']])),
    'an observed permit that says governed': built('observing', observed({ assurance: 'A3' })),
    'an observed permit that is approved': built('observing', observed({ approvals: entry('released')['approvals'] })),
    'an observed permit that is counted': built('observing', observed({ constraints: { ...constraints, budgets: BUDGETS } })),
    'an observed permit with an obligation': built('observing', observed({ constraints: { ...constraints, obligations: ['x'] } })),
    'an observed permit that delegates': built('observing', observed({ delegates: entry('root')['delegates'] })),
    'an observed permit of what is not policy': built('observing', observed({ observed: 'killed' })),
    'an observed permit of nothing': built('observing', observed({ observed: '' })),
    'an observed permit of a tool that is pinned as of one that is not': built('observing', observed({ observed: 'tool_not_pinned' })),
    'a receipt that calls an observed execution governed': built('observed', receipt('observed', { assurance: 'A3' })),
    'a receipt that calls an observed execution decided': built('observed', receipt('observed', { assurance: 'A2', outcome: 'failed' })),
    'a mode of another mode': built('observing', again('observing', { mode: 'shadow' })),
    'an urgent mode': built('observing', again('observing', { urgent: true })),
    'a mode that replaces a set': built('observing', again('enforcing', { previous: entry('policy')['digest'] })),
  })) yield { title, value }

  // Holds, approvals and grants.
  const fresh = (label: string, id: string, change: object = {}): object => again(label, { jti: token(id), txn: token(id), challenge: token(`${id} c`), ...change })
  const claimsOf = (label: string): JsonObject => JSON.parse(Buffer.from((entry(label)['signature'] as string).split('.')[1] as string, 'base64url').toString()) as JsonObject
  const signed = (label: string, change: JsonObject, more: object = {}, keys = APPROVER, kid = APPROVER_KEY.kid): object => again(label, { signature: approved({ ...claimsOf(label), ...change }, keys, kid), ...more })
  const { person } = entry('approver')
  const removed = { kind: 'key', purpose: 'approver', event: 'removed', person }
  const { grant_commit: _grant, ...bare } = entry('approved')
  const lateMs = (NOW + 600) * 1_000
  const rejects = { ...bare, event: 'rejected', signature: approved((({ grant: _g, ...rest }) => ({ ...rest, decision: 'rejected' }))(claimsOf('approved')), APPROVER) }
  const holds: Record<string, Uint8Array> = {
    'a permit that rests on an approval used before': built('released', fresh('released', 'twice')),
    'a permit of another action than was approved': built('approved', fresh('released', 'other', { action_commit: entry('other')['action_commit'] ?? token('x') })),
    'a permit for another agent than was approved': built('approved', again('released', { act: { sub: 'agent:other', verified: true } })),
    'a permit for another subject than was approved': built('approved', again('released', { sub: 'user:3' })),
    'a permit whose owner approved': built('approved', again('released', { owner: 'user:2' })),
    'a permit after the approver was removed': built('approved', removed, again('released')),
    'a permit after the key of the approver was removed': built('approved', entry('removed'), again('released')),
    'a permit after the approver left the group': built('approved', again('approver', { groups: ['ops'] }), again('released')),
    'a permit after the hold is over': built('approved', again('released', { time: lateMs })),
    'a permit for another intent than was approved': built('approved', again('released', { intent: 'other' })),
    'a use of a grant for another intent than was approved': built('released', again('granted', { intent: 'other' })),
    'a permit for what is no purpose': built('approved', again('released', { intent: 'Review it' })),
    'a hold for what is no purpose': built('approver', again('waits', { intent: '' })),
    'a deny for a purpose beyond its length': built('watched', again('watched', { intent: 'x'.repeat(65) })),
    'a permit after the hold was rejected': built('approved', rejects, again('released')),
    'a permit that names one approval twice': built('approved', again('released', { approvals: [...(entry('released')['approvals'] as string[]), ...(entry('released')['approvals'] as string[])] })),
    'a permit whose approval stands elsewhere': built('approved', again('released', { approvals: [(entry('released')['approvals'] as string[])[0]?.replace(/^\d+/, '3')] })),
    'a permit with an approval of another spelling': built('approved', again('released', { approvals: ['x'] })),
    'a grant used once too often': built('granted', fresh('granted', 'more')),
    'a grant used after its time': built('released', again('granted', { time: (NOW + 3_600) * 1_000 })),
    'a grant for another tool': built('released', again('granted', { scope: { ...(entry('granted')['scope'] as JsonObject), name: 'write_file' } })),
    'a hold twice': built('waits', again('waits')),
    'a hold of nobody': built('tool', again('waits', { approval: { groups: ['secops'], quorum: 0, expires: NOW + 600 } })),
    'a hold without groups': built('approver', again('waits', { approval: { groups: [], quorum: 1, expires: NOW + 600 } })),
    'a hold with a group twice': built('approver', again('waits', { approval: { groups: ['a', 'a'], quorum: 1, expires: NOW + 600 } })),
    'an expiry of a hold before its time': built('waits', { kind: 'approval', hold: entry('waits')['hold'], event: 'expired' }),
    'an expiry of a hold that was used': built('released', { kind: 'approval', hold: entry('waits')['hold'], event: 'expired', time: lateMs }),
    'an approval after the hold is over': built('waits', again('approved', { time: lateMs })),
    'an approval of a used hold': built('released', again('approved')),
    'an approval of a rejected hold': built('rejected', signed('approved', { hold: entry('other')['hold'] as string, index: index('other'), leaf_hash: leafOf('other'), action_commit: entry('other')['action_commit'] as string }, { hold: entry('other')['hold'] })),
    'an approval after the approver was removed': built('waits', removed, again('approved')),
    'an approval by somebody in another group': built('waits', again('approver', { groups: ['ops'] }), again('approved')),
    'an approval by the one who asks': built('approver', again('approver', { sub: 'user:1' }), again('waits', {}), signed('approved', { index: index('approver') + 2, leaf_hash: 'x' })),
    'an approval under the key of somebody else': built('waits', signed('approved', {}, {}, OTHER)),
    'an approval by a key that the person has not': built('waits', signed('approved', {}, {}, OTHER, 'x')),
    'an approval whose grant is another': built('waits', again('approved', { grant_commit: entry('released')['action_commit'] })),
    'a grant of nothing': built('waits', signed('approved', { grant: { ...(claimsOf('approved')['grant'] as JsonObject), uses: 0 } })),
    'a grant of 31 days': built('waits', signed('approved', { grant: { ...(claimsOf('approved')['grant'] as JsonObject), until: NOW + 2_592_001 } })),
    'a rejection that says approved': built('waits', { ...bare, event: 'rejected' }),
    'an expiry that somebody signed': built('waits', again('approved', { event: 'expired' })),
    'two approvers with one key': built('approver', again('approver', { person: 'person:other' })),
    'an approver who is added without a key': built('tool', { ...removed, event: 'added', groups: ['a'] }),
    'an approver who is removed with a name': built('approver', { ...removed, name_commit: entry('approver')['name_commit'] }),
  }
  for (const [member, value] of Object.entries({ index: 1, leaf_hash: leafOf('policy'), action_commit: leafOf('policy'), aud: 'x', sub: 'user:9', person: 'person:x', tenant: 'other', decision: 'rejected', hold: token('h'), more: 1 })) holds[`an approval that signs another ${member}`] = built('waits', signed('approved', { [member]: value }))
  for (const [title, value] of Object.entries(holds)) yield { title, value }

  // Persons and what they did.
  const who = entry('admin')['person']
  const did = (by: JsonValue | undefined, change: object = {}): object => ({ kind: 'kill', selector: 'agent:y', event: 'killed', by, ...change })
  const personal = (event: string, change: object = {}): object => ({ kind: 'key', purpose: 'person', event, person: 'person:v', by: who, ...change })
  const done: Record<string, Uint8Array> = {
    'a kill by a viewer': built('viewer', did('person:v')),
    'a revocation by an approver': built('viewer', personal('role', { role: 'approver' }), { kind: 'revocation', selector: 'all', by: 'person:v' }),
    'a kill by somebody who was removed': built('person removed', did('person:v')),
    'an erasure by an operator': built('operator', { kind: 'erasure', ranges: [{ from: 0, to: 1 }], cause: 'request', by: 'person:v' }),
    'a policy set by an operator': built('operator', again('policy', { by: 'person:v' })),
    'an agent added by an operator': built('operator', again('agent added', { agent: 'other', key: toBase64Url(OTHER.publicKey), by: 'person:v' })),
    'an approver added by an operator': built('operator', again('approver', { by: 'person:v' })),
    'a role given by an operator': built('operator', personal('role', { role: 'admin', by: 'person:v' })),
    'the password of somebody else, by a viewer': built('viewer', personal('credential', { person: who, by: 'person:v' })),
    'a person who is added twice': built('viewer', again('viewer')),
    'a person who comes back': built('person removed', again('viewer')),
    'a role of nobody': built('viewer', personal('role', { person: 'person:n', role: 'viewer' })),
    'a role of somebody who was removed': built('person removed', personal('role', { role: 'viewer' })),
    'a password for a person of an issuer': built('viewer', personal('credential')),
    'a role that there is not': built('viewer', personal('role', { role: 'root' })),
    'a person without a role': built('tool', personal('added', { login: 'local' })),
    'a person who is removed with a role': built('viewer', personal('removed', { role: 'viewer' })),
    'a person with a name': built('tool', personal('added', { person: 'person:z', role: 'viewer', login: 'local', name: 'Ann' })),
    'a person by nobody': built('tool', { kind: 'key', purpose: 'person', event: 'added', person: 'person:z', role: 'viewer', login: 'local' }),
  }
  for (const [title, value] of Object.entries(done)) yield { title, value }
  // Lineages: who descends from whom, with what.
  const inherits = (own: JsonObject, parent: string): object => ({ ...own, above: aboveOf(own as unknown as Selectable, entry(parent) as unknown as Selectable) })
  const childOf = (parent: string, change: object = {}): object => inherits({ ...entry('child'), jti: token('new'), challenge: token('new c'), ...change } as JsonObject, parent)
  const { par: _par, above: _above, ...orphan } = entry('child')
  const { delegates: _own, ...leaf } = entry('child')
  const { delegates: _delegates, ...plain } = entry('root')
  const ref = (label: string): object => ({ jti: entry(label)['jti'], leaf_hash: leafOf(label) })
  const delegates = entry('child')['delegates'] as JsonObject
  const lineages: Record<string, Uint8Array> = {
    'a child of nobody': built('tool', entry('child')),
    'a child of what stands behind it': built('removed', { ...entry('child') }, entry('root')),
    'a child of another leaf': built('root', childOf('root', { par: { ...ref('root'), leaf_hash: leafOf('pull') } })),
    'a child of a permit that delegates nothing': built('pull', inherits({ ...entry('child'), txn: pull['jti'], par: ref('pull') } as JsonObject, 'pull')),
    'a child of what was denied': built('refused below', { ...entry('child'), jti: token('x'), txn: entry('refused below')['jti'], par: ref('refused below'), above: [`artifact:${entry('refused below')['jti'] as string}`] }),
    'a child with the root of another lineage': built('child', { ...entry('grandchild'), txn: token('t'), above: [...(entry('grandchild')['above'] as string[]), `artifact:${token('t')}`].filter((one) => one !== `artifact:${entry('root')['jti'] as string}`).sort() }),
    'a child of another principal': built('root', childOf('root', { sub: 'user:9' })),
    'a child two levels below its parent': built('child', { ...entry('grandchild'), par: ref('root') }),
    'a child that its parent’s agent does not stop': built('child', { ...entry('grandchild'), above: (entry('grandchild')['above'] as string[]).filter((one) => !one.startsWith('agent:')) }),
    'a child without what stops its parents': built('root', { ...entry('child'), above: [] }),
    'a child whose `above` has no order': built('root', { ...entry('child'), above: [...(entry('child')['above'] as string[])].reverse() }),
    'a child whose `above` names something twice': built('root', { ...entry('child'), above: [...(entry('child')['above'] as string[]), (entry('child')['above'] as string[]).at(-1)] }),
    'a child whose `above` is no selector': built('root', { ...entry('child'), above: [...(entry('child')['above'] as string[]), 'zzz'] }),
    'a child that is its own parent': built('root', { ...entry('child'), par: { jti: entry('child')['jti'], leaf_hash: leafOf('root') }, above: [`artifact:${entry('child')['jti'] as string}`] }),
    'a root with a depth': built('root', { ...plain, jti: token('r'), txn: token('r'), depth: 1 }),
    'a child without a parent': built('root', orphan),
    'a child that outlives its parent': built('root', childOf('root', { constraints: { lease_seconds: 10, max_runtime_seconds: 301, obligations: [] } })),
    'a child after the time of its parent': built('root', childOf('root', { time: (NOW + 360) * 1_000 })),
    'a child that delegates for longer': built('root', childOf('root', { delegates: { ...delegates, until: NOW + 361 } })),
    'a child that delegates more often': built('root', childOf('root', { delegates: { ...delegates, uses: 4 } })),
    'a child that delegates as deep': built('root', childOf('root', { delegates: { ...delegates, depth: 2 } })),
    'more children than uses': built('child', ...[1, 2, 3].map((i) => inherits({ ...leaf, jti: token(`c${i}`), challenge: token(`cc${i}`) } as JsonObject, 'root'))),
    'a grandchild beyond the uses of the root': built('child', ...[1, 2].map((i) => ({ ...childOf('root'), jti: token(`c${i}`), challenge: token(`cc${i}`) })), entry('grandchild')),
    'a child after its parent has its ending': built('root', receipt('root'), childOf('root')),
    'a child after its parent is called indeterminate': built('root', expiry('root', 'indeterminate'), childOf('root')),
    'a grandchild after the root has its ending': built('child', receipt('root'), entry('grandchild')),
    'a child after an urgent policy': built('root', { kind: 'policy', digest: entry('policy')['digest'], policies: ['a/0'], epoch: 4, urgent: true }, childOf('root')),
    'a child after the revocation of its parent': built('child', { kind: 'revocation', selector: `artifact:${entry('root')['jti'] as string}`, by: 'user:1' }, entry('grandchild')),
    'a child after the kill of the agent of its parent': built('child', kill('agent:tester'), entry('grandchild')),
    'a child after the kill of what its root ran': built('child', kill('tool:mcp://flow/plan'), entry('grandchild')),
    'a renewal after the kill of what the root ran': built('child', kill('tool:mcp://flow/plan'), lease([entry('child')['jti']])),
    'a delegation of no uses': built('tool', { ...entry('root'), delegates: { ...delegates, uses: 0 } }),
    'a delegation of nine levels': built('tool', { ...entry('root'), delegates: { ...delegates, depth: 9 } }),
    'a delegation with its scopes in clear': built('tool', { ...entry('root'), delegates: { ...delegates, scopes: [] } }),
    'a denied request without an id': built('tool', { ...entry('refused below'), jti: 'x' }),
    'a permit below another one than was approved': built('approved', again('released', { delegates })),
  }
  for (const [title, value] of Object.entries(lineages)) yield { title, value }
  // The same, as the bodies say it: what was asked for, and what is delegated further.
  const salted = (purpose: 'action' | 'delegation', value: JsonValue, salt: string): BundleEntry['bodies'][number] => {
    const digest = digestOf(canonicalize(value), sha256)
    return { purpose, salt: token(salt), digest, commit: commitment(purpose, token(salt), digest, sha256), body: value }
  }
  const rootAt = index('root')
  const bodiesOf = (label: string): Draft['bodies'] => (drafts[index(label)] as Draft).bodies
  const called = (args: JsonObject, name = 'read_file'): JsonObject => ({ type: 'mcp.tool_call', target: 'mcp://fs', name, arguments: args, tool_digest: `sha256:${'a'.repeat(64)}` })
  const descended = (outer: JsonValue, action: JsonObject, inner?: JsonValue): Uint8Array => {
    const [terms, asked, own] = [salted('delegation', outer, 'outer'), salted('action', action, 'asked'), inner === undefined ? undefined : salted('delegation', inner, 'inner')]
    const parent = { ...entry('root'), delegates: { ...(entry('root')['delegates'] as JsonObject), terms_commit: terms.commit } }
    const text = canonicalText(parent as JsonObject)
    const scope = { type: action['type'] as string, name: action['name'] as string, target: action['target'] as string }
    const { delegates: _d, ...rest } = { ...entry('child'), scope, action_commit: asked.commit, par: { jti: entry('root')['jti'] as string, leaf_hash: leafDigest(leafHash(utf8(text), sha256)) } } as unknown as JsonObject
    const child = inherits({ ...rest, ...(own === undefined ? {} : { delegates: { ...delegates, terms_commit: own.commit } }) } as JsonObject, 'root')
    const inputs = bodiesOf('root').filter(({ purpose }) => purpose === 'inputs')
    return bytesOf(sealBundle([...drafts.slice(0, rootAt), { text, bodies: [salted('action', called({}), 'none'), ...inputs, terms].filter((one) => one.purpose !== 'action') }, { text: canonicalText({ ...child, seq: rootAt + 1 } as JsonObject), bodies: [asked, ...inputs, ...(own === undefined ? [] : [own])] }]))
  }
  const scope = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file' }
  const bounded = (path: JsonObject): JsonObject => ({ scopes: [{ ...scope, arguments: { path } }] })
  const pairs: Record<string, [JsonValue, JsonObject, JsonValue?]> = {
    'another tool': [{ scopes: [scope] }, called({}, 'write_file')],
    'another target': [{ scopes: [{ ...scope, target: 'mcp://other' }] }, called({})],
    'another agent': [{ scopes: [scope], agents: ['helper'] }, called({})],
    'another gate': [{ scopes: [scope], audiences: ['x'] }, called({})],
    'a weaker environment': [{ scopes: [scope], environment: 'signed' }, called({})],
    'a path outside': [bounded({ prefix: '/srv/' }), called({ path: '/srv/../etc' })],
    'an argument more': [bounded({ prefix: '/srv/' }), called({ path: '/srv/a', force: true })],
    'a delegation of every tool': [{ scopes: [scope] }, called({}), { scopes: [{ ...scope, name: '*' }] }],
    'a delegation of any argument': [bounded({ prefix: '/srv/' }), called({ path: '/srv/a' }), { scopes: [scope] }],
    'a delegation of a wider folder': [bounded({ prefix: '/srv/a/' }), called({ path: '/srv/a/b' }), bounded({ prefix: '/srv/' })],
    'a delegation to anybody': [{ scopes: [scope], agents: ['tester'] }, called({}), { scopes: [scope] }],
    'a delegation that nobody can read': [{ scopes: [] }, called({})],
    'a delegation with more than is known': [{ scopes: [scope], more: 1 }, called({})],
  }
  for (const [title, [outer, action, inner]] of Object.entries(pairs)) yield { title: `a child with ${title}`, value: descended(outer, action, inner) }
  // What was taken from other planes.
  const { par } = entry('lent') as { par: { jti: string; leaf_hash: string; foreign: JsonObject } }
  const lent = (id: string, change: JsonObject, foreign: JsonObject = {}): object => again('lent', { jti: token(id), challenge: token(`${id} c`), par: { ...par, ...change, foreign: { ...par.foreign, ...foreign } } })
  const strange = entry('strange') as unknown as { person: string; signature: string; voucher: JsonObject & { foreign: JsonObject; exp: number } }
  const vouched = (change: JsonObject, foreign: JsonObject = {}): object => again('strange', { voucher: { ...strange.voucher, ...change, foreign: { ...strange.voucher.foreign, ...foreign } } })
  const { voucher: _voucher, ...nobody } = entry('strange')
  const overMs = strange.voucher.exp * 1_000
  const foreign: Record<string, Uint8Array> = {
    'a permit of another plane that is spent twice': built('lent', lent('again', {})),
    'a permit under an older checkpoint of another plane': built('lent', lent('older', { jti: token('p') }, { size: (par.foreign['size'] as number) - 1 })),
    'a permit under another checkpoint of one size': built('lent', lent('fork', { jti: token('p') }, { root: leafOf('policy') })),
    'an approval under an older checkpoint of another plane': built('asked', vouched({}, { size: 1 })),
    'a permit whose parent of another plane is of this one': built('tool', lent('own', {}, { iss: LOG_KEY.name })),
    'a permit whose parent stands in an empty log': built('tool', lent('empty', {}, { size: 0 })),
    'a permit whose parent is of a plane without a name': built('tool', lent('nameless', {}, { iss: '' })),
    'a permit whose parent is of a plane with too long a name': built('tool', lent('long', {}, { iss: 'x'.repeat(97) })),
    'a permit whose parent says more': built('tool', lent('more', {}, { more: 1 })),
    'an approval after its voucher is over': built('asked', again('strange', { time: overMs })),
    'a permit after the voucher of its approver is over': built('strange', again('answered', { time: overMs })),
    'a permit whose approver here holds the key that is vouched for': built('strange', again('approver', { person: 'person:late', key: strange.voucher['key'] as string }), again('answered')),
    'an approval by a person of another plane that nobody vouches for': built('asked', nobody),
    'an approval by a person of a third plane': built('asked', vouched({}, { iss: 'third.test/default' })),
    'an approval by a person of this plane with a voucher': built('asked', again('strange', { person })),
    'a vouched approval in another group': built('asked', vouched({ groups: ['ops'] })),
    'a vouched approval in no group': built('asked', vouched({ groups: [] })),
    'a vouched approval by the one who asks': built('asked', vouched({ sub: 'user:1' })),
    'a vouched approval under another key': built('asked', vouched({ key: entry('approver')['key'] as string })),
    'a vouched approval with half a key': built('asked', vouched({ key: 'AAAA' })),
    'a vouched rejection': built('asked', again('strange', { event: 'rejected' })),
    'a vouched grant': built('asked', again('strange', { grant_commit: leafOf('policy') })),
    'a voucher for a person of a third plane': built('vouched', again('vouched', { person: 'person:a@third.test' })),
    'a voucher with half a key': built('vouched', again('vouched', { key: 'AAAA' })),
    'a voucher without groups': built('vouched', again('vouched', { groups: [] })),
    'a voucher for a group twice': built('vouched', again('vouched', { groups: ['a', 'a'] })),
    'a voucher that says more': built('vouched', again('vouched', { more: 1 })),
    'a voucher for a key that the person has not': built('approver', again('vouched', { key: strange.voucher['key'] as string })),
    'a voucher for a group that the person is not in': built('approver', again('vouched', { groups: ['ops', 'root', 'secops'] })),
    'a voucher for fewer groups': built('approver', again('vouched', { groups: ['ops'] })),
    'a voucher for another principal': built('approver', again('vouched', { sub: 'user:9' })),
    'a voucher after its key was removed': built('approver', entry('removed'), again('vouched')),
    'a voucher after the person was removed': built('approver', removed, again('vouched')),
    'a voucher for 301 s': built('approver', again('vouched', { exp: NOW + 301 })),
    'a voucher that is over': built('approver', again('vouched', { exp: NOW })),
  }
  for (const [title, value] of Object.entries(foreign)) yield { title, value }

  // Bodies that belong to their commitment and are something else than they should be.
  const decided = (body: JsonValue, scope: object = { type: 'mcp.tool_call', name: 'read_file', target: 'mcp://fs' }): Uint8Array => {
    const digest = `sha256:${Buffer.from(sha256(utf8(canonicalText(body)))).toString('hex')}`
    const commit = `sha256:${Buffer.from(sha256(new Uint8Array(Buffer.concat([Buffer.from('sealwrit/v1/action\n'), Buffer.from(token('salt'), 'base64url'), Buffer.from(digest.slice(7), 'hex')])))).toString('hex')}`
    return bytesOf(sealBundle([...drafts.slice(0, 5), { text: canonicalText({ v: 1, seq: 5, time: NOW * 1_000 + 50, tenant: 'default', kind: 'deny', code: 'policy_denied', action_commit: commit, scope } as JsonObject), bodies: [{ purpose: 'action', commit, salt: token('salt'), digest, body }] }]))
  }
  const action = { type: 'mcp.tool_call', name: 'read_file', target: 'mcp://fs', arguments: {}, tool_digest: `sha256:${'a'.repeat(64)}` }
  for (const [member, value] of Object.entries({ name: 'write_file', target: 'mcp://other', type: 'mcp.prompt_get', arguments: [], tool_digest: 'x', more: 1 })) yield { title: `an action with another ${member}`, value: decided({ ...action, [member]: value }) }
  yield { title: 'an action that is a text', value: decided('read_file') }
  yield { title: 'a resource read of another name', value: decided({ type: 'mcp.resource_read', name: 'x', target: 'mcp://fs', arguments: { uri: 'u' } }, { type: 'mcp.resource_read', name: 'x', target: 'mcp://fs' }) }
  yield { title: 'a resource read with more than a URI', value: decided({ type: 'mcp.resource_read', name: 'resources/read', target: 'mcp://fs', arguments: { uri: 'u', x: 1 } }, { type: 'mcp.resource_read', name: 'resources/read', target: 'mcp://fs' }) }

  // A use of a grant by what its bounds do not speak of.
  const granted = drafts[index('granted')] as Draft
  for (const [member, value] of Object.entries({ input_responses: { go: { action: 'accept' } }, request_state: '', task: {} })) {
    const bodies = granted.bodies.map((one) => {
      if (one.purpose !== 'action') return one
      const body = { ...(one.body as JsonObject), [member]: value }
      const digest = digestOf(canonicalize(body), sha256)
      return { ...one, body, digest, commit: commitment('action', one.salt, digest, sha256) }
    })
    const commit = bodies.find(({ purpose }) => purpose === 'action')?.commit as string
    yield { title: `a grant used with ${member}`, value: bytesOf(sealBundle([...drafts.slice(0, index('granted')), { text: canonicalText({ ...entry('granted'), action_commit: commit }), bodies }])) }
  }

  // The head, its note, and the proofs.
  const log = new TestLog()
  for (const { text } of drafts) log.addText(text)
  const root = toBase64(treeRoot(drafts.length, log.subtree, sha256))
  const [origin, size] = [LOG_KEY.name, drafts.length]
  const under = (checkpoint: string): Uint8Array => bytesOf({ ...bundle, checkpoint, entries: bundle.entries.map((one) => ({ ...one, proof: `${one.proof.slice(0, one.proof.indexOf('\n\n') + 2)}${checkpoint}` })) })
  const good = `${origin}\n${size}\n${root}\n`
  const texts = {
    'an extension line': `${good}more\n`, 'an empty extension': `${good}\n`, 'a leading zero': `${origin}\n0${size}\n${root}\n`, 'a sign': `${origin}\n+${size}\n${root}\n`, 'a size beyond 2^53': `${origin}\n9007199254740992\n${root}\n`, 'a size in other digits': `${origin}\n٢٠\n${root}\n`,
    'another origin': `other.test/default\n${size}\n${root}\n`, 'a short root': `${origin}\n${size}\n${root.slice(4)}\n`, 'a root with loose bits': `${origin}\n${size}\n${root.slice(0, -2)}${root.at(-2) === 'A' ? 'B' : String.fromCharCode((root.at(-2) as string).charCodeAt(0) + 1)}=\n`,
    'a root without padding': `${origin}\n${size}\n${root.slice(0, -1)}\n`, 'a carriage return': `${origin}\r\n${size}\n${root}\n`, 'no root': `${origin}\n${size}\n`, 'a space after the size': `${origin}\n${size} \n${root}\n`, 'another size': `${origin}\n${size - 1}\n${root}\n`,
  }
  for (const [title, text] of Object.entries(texts)) yield { title: `a checkpoint with ${title}`, value: under(signNote(text)) }
  const note = signNote(good)
  const own = note.slice(note.indexOf('\n\n') + 2)
  const blob = Buffer.from(own.split(' ')[2] as string, 'base64')
  const lines = {
    'no signature': `${good}\n`, 'its signature twice': `${note}${own}`, 'a signature by another key': signNote(good, OTHER, noteKey(LOG_KEY.name, OTHER.publicKey, sha256)), 'the signature of another key under its id': signNote(good, OTHER), 'its signature under another name': note.replace(`\u2014 ${origin}`, '\u2014 other.test/default'),
    'a hyphen': note.replace('\u2014', '-'), 'no newline at the end': note.slice(0, -1), 'an empty line after it': `${note}\n`, 'two spaces': note.replace('\u2014 ', '\u2014  '), 'text after the signature': note.replace(/\n$/, ' x\n'), 'a line that is none': `${note}x\n`, 'a name with a plus': `${note}\u2014 a+b ${toBase64(new Uint8Array(68))}\n`, 'a name with a space that is none': `${note}\u2014 a\u00a0b ${toBase64(new Uint8Array(68))}\n`,
    'a signature of no bytes': `${note}\u2014 a.test/w AAAAAA==\n`, 'lax base64': `${note}\u2014 a.test/w AAAAAAB=\n`, '65 lines': note + own.replace(origin, 'z').repeat(64), 'a tab': `${note}\u2014 a\tb ${toBase64(new Uint8Array(68))}\n`, 'a signature that is cut': `${good}\n\u2014 ${origin} ${blob.subarray(0, 67).toString('base64')}\n`, 'a signature and a byte': `${good}\n\u2014 ${origin} ${Buffer.concat([blob, Buffer.alloc(1)]).toString('base64')}\n`,
    'S + L': `${good}\n\u2014 ${origin} ${malleable(blob).toString('base64')}\n`, 'only a cosignature': `${good}\n${cosigned(note).slice(note.length)}`,
  }
  for (const [title, changed] of Object.entries(lines)) yield { title: `a note with ${title}`, value: under(changed) }
  for (const point of WEAK_POINTS) yield { title: `a signature whose R is the point ${point.slice(0, 8)}…`, value: under(`${good}\n\u2014 ${origin} ${Buffer.concat([blob.subarray(0, 4), Buffer.from(point, 'hex'), blob.subarray(36)]).toString('base64')}\n`) }
  const proofs: Record<string, (proof: string) => string> = {
    'an extra line': (p) => p.replace('\nindex', `\nextra ${toBase64(new Uint8Array(16))}\nindex`), 'a leading zero': (p) => p.replace('index ', 'index 0'), 'another version': (p) => p.replace('@v1', '@v2'), 'no index': (p) => p.replace(/index \d+\n/, ''), 'one hash more': (p) => p.replace('\n\n', `\n${root}\n\n`),
    'one hash less': (p) => p.replace(/\n[^\n]+\n\n/, '\n\n'), 'two hashes exchanged': (p) => p.replace(/\n([^\n]{44})\n([^\n]{44})\n/, '\n$2\n$1\n'), 'lax base64': (p) => p.replace(/=\n/, '\n'), 'no empty line': (p) => p.replace('\n\n', '\n'), 'two empty lines': (p) => p.replace('\n\n', '\n\n\n'), 'a newline more': (p) => `${p}\n`, 'a space': (p) => p.replace('index ', 'index  '),
    'another checkpoint': (p) => p.slice(0, p.indexOf('\n\n') + 2) + cosigned(note, WITNESSES.slice(0, 1)),
  }
  for (const [title, change] of Object.entries(proofs)) {
    for (const k of [0, 7, drafts.length - 2]) yield { title: `proof ${k} with ${title}`, value: bytesOf({ ...bundle, entries: bundle.entries.map((one, i): BundleEntry => (i === k ? { ...one, proof: change(one.proof) } : one)) }) }
  }
  const proof = consistencyProof(8, size, log.subtree, sha256)
  const fork = new TestLog()
  for (const { text } of drafts.slice(1)) fork.addText(text)
  const links: Record<string, Bundle['checkpoints'][number]> = {
    'one hash less': { checkpoint: log.note(8), consistency: proof.slice(1).map(toBase64) }, 'one hash more': { checkpoint: log.note(8), consistency: [...proof, proof[0] as Uint8Array].map(toBase64) }, 'hashes in another order': { checkpoint: log.note(8), consistency: [...proof].reverse().map(toBase64) },
    'a fork': { checkpoint: fork.note(8), consistency: proof.map(toBase64) }, 'another size': { checkpoint: log.note(7), consistency: proof.map(toBase64) }, 'the empty tree': { checkpoint: signNote(`${origin}\n0\n${toBase64(sha256(new Uint8Array(0)))}\n`), consistency: [] }, 'itself and a hash': { checkpoint: note, consistency: [root] },
    'a newer tree': { checkpoint: signNote(`${origin}\n${size + 1}\n${root}\n`), consistency: [] }, 'another key': { checkpoint: signNote(log.note(8).split('\n\n')[0] + '\n', OTHER), consistency: proof.map(toBase64) }, 'a short hash': { checkpoint: log.note(8), consistency: ['AAAA', ...proof.slice(1).map(toBase64)] },
  }
  for (const [title, link] of Object.entries(links)) yield { title: `a link with ${title}`, value: bytesOf({ ...bundle, anchors: [], checkpoints: [link] }) }
  for (const checkpoint of [log.note(9), fork.note(8), signNote(good, OTHER), note.slice(0, -1)]) yield { title: 'an anchor of a checkpoint that is not linked, or not signed', value: bytesOf({ ...bundle, anchors: [{ type: 'file', checkpoint, where: '/x', time: 1 }] }) }
  yield { title: 'a token for another checkpoint', value: bytesOf({ ...bundle, anchors: [{ type: 'rfc3161', checkpoint: note, token: toBase64(new Uint8Array(64)) }] }) }
}

/** S + L: the same signature to a verifier that does not look. */
function malleable(blob: Buffer): Buffer {
  const order = Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex')
  const changed = Buffer.from(blob)
  let carry = 0
  for (let i = 0; i < 32; i++) {
    const sum = (changed[36 + i] as number) + (order[i] as number) + carry
    changed[36 + i] = sum & 0xff
    carry = sum >> 8
  }
  return changed
}
