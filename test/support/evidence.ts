import { aboveOf, type Artifact, type Anchor, attachSignature, keyMembers, keyText, noteKey, type NoteKey, type Body, type Bundle, canonicalize, canonicalText, commitment, consistencyProof, cosignedMessage, type CosignerKey, cosignerKey, digestOf, foreignPerson, type ForeignRef, foreignSubject, formatBundle, formatCosignature, formatProof, inclusionProof, type JsonObject, type JsonValue, leafDigest, leafHash, parseNote, rootDigest, signingInput, signingKey, toBase64, toBase64Url, formatSignature, utf8 } from '@sealwrit/protocol'
import { GATE, GATE_KEY, keyPair, LOG, LOG_KEY, NOW, permitBody, receiptClaims, SALT, sha256, TestLog } from '../../packages/protocol/test/support/fixture.ts'
import { AWAY_KEY, awayLog, awayPermit, CNF, shown, voucher } from '../../packages/protocol/test/support/foreign.ts'

/** An entry and the bodies behind it, before it has a place in a signed tree. */
export interface Draft {
  readonly text: string
  readonly bodies: readonly Body[]
}

export const WITNESSES: readonly { key: CosignerKey; sign: (message: Uint8Array) => Uint8Array }[] = ['a', 'b', 'c'].map((name) => {
  const { publicKey, sign } = keyPair(`witness ${name}`)
  return { key: cosignerKey(`${name}.test/w`, publicKey, sha256), sign }
})
/** A note with a cosignature of each witness. */
export function cosigned(note: string, witnesses = WITNESSES, time: number = NOW): string {
  const { text } = parseNote(note)
  return note + witnesses.map(({ key, sign }) => formatCosignature(key, time, sign(cosignedMessage(text, time)))).join('')
}

export function account(claims: JsonObject, typ: 'execution-receipt+jwt' | 'execution-denial+jwt' = 'execution-receipt+jwt', keys = GATE, kid = GATE_KEY.kid): string {
  const input = signingInput(typ, kid, claims)
  return attachSignature(input, keys.sign(utf8(input)))
}
/** A token of any payload bytes, under the gate's key and the header given. */
export function accountOf(payload: string, header: string = canonicalText({ alg: 'Ed25519', kid: GATE_KEY.kid, typ: 'execution-receipt+jwt' })): string {
  const input = `${toBase64Url(utf8(header))}.${toBase64Url(utf8(payload))}`
  return `${input}.${toBase64Url(GATE.sign(utf8(input)))}`
}

export const APPROVER = keyPair('approver')
export const APPROVER_KEY = signingKey(APPROVER.publicKey, sha256)
/** A person's signature, as claims. */
export function approved(claims: JsonObject, keys = APPROVER, kid = APPROVER_KEY.kid): string {
  const input = signingInput('approval+jwt', kid, claims)
  return attachSignature(input, keys.sign(utf8(input)))
}

/** The tree of any texts, signed by the log key: so that nothing but the rule itself can refuse them. */
export function sealBundle(drafts: readonly Draft[], change: Partial<Bundle> = {}, cosign: (note: string) => string = (note) => note): Bundle {
  const log = new TestLog()
  for (const { text } of drafts) log.addText(text)
  const hashes = drafts.map(({ text }) => leafHash(utf8(text), sha256))
  const checkpoint = cosign(log.note())
  const entries = drafts.map(({ text, bodies }, index) => ({ entry: text, proof: formatProof({ index, hashes: inclusionProof(index, hashes.length, log.subtree, sha256), checkpoint }), bodies }))
  const statements = entries.filter(({ entry }) => /"kind":"key",.*"purpose":"(log|gate)"/.test(entry)).map(({ entry, proof }) => ({ entry, proof }))
  const keys = statements.some(({ entry }) => !/"event":"(created|re_anchored)"/.test(entry)) ? { keys: statements } : {}
  return { v: 1, origin: LOG_KEY.name, tenant: 'default', checkpoint, ...keys, checkpoints: [], anchors: [], policies: [], entries, ...change }
}
export const bytesOf = (bundle: Bundle): Uint8Array => utf8(formatBundle(bundle))

/** As much as the bundle spends of it, and no more. */
export const BUDGETS = [{ policy: 'a/0', count: 4, seconds: 60, per: 'agent' }] as const

export interface Rich {
  readonly drafts: readonly Draft[]
  readonly bundle: Bundle
  readonly at: Readonly<Record<string, number>>
}

/** A bundle with every kind of entry, whose every secret, id and body depends on `name`. */
export function richBundle(name: string, cosign?: (note: string) => string): Rich {
  const token = (purpose: string): string => toBase64Url(sha256(utf8(`${name} ${purpose}`)).subarray(0, 16))
  const body = (purpose: Body['purpose'], value: JsonValue, id: string = purpose): Body => {
    const digest = digestOf(canonicalize(value), sha256)
    return { purpose, salt: token(id), digest, commit: commitment(purpose, token(id), digest, sha256), body: value }
  }
  const drafts: Draft[] = []
  const at: Record<string, number> = {}
  const add = (label: string, entry: object, ...bodies: Body[]): string => {
    at[label] = drafts.length
    const text = canonicalText({ v: 1, seq: drafts.length, time: NOW * 1_000 + drafts.length, tenant: 'default', ...entry } as JsonObject)
    drafts.push({ text, bodies })
    return leafDigest(leafHash(utf8(text), sha256))
  }
  const files = { 'a.cedar': `permit (principal, action, resource); // ${name} é 🂡` }
  const policyDigest = digestOf(canonicalize(files), sha256)
  const session = token('session')
  let sequence = 0
  /** The newest entry of another plane's log, as it was shown and taken. */
  const taken = ({ log, index }: { log: TestLog; index: number }, id: string): { leaf: string; body: Body; ref: ForeignRef } => {
    const kept = body('foreign', shown(log, index, { salt: id === 'parent' ? SALT : '' })['sealed'] as JsonObject, id)
    const head = log.head()
    return { leaf: leafDigest(leafHash(utf8(log.leaves[index] as string), sha256)), body: kept, ref: { iss: AWAY_KEY.name, size: head.size, root: rootDigest(head), commit: kept.commit } }
  }
  const environment = body('environment', { host: name })
  add('key', { kind: 'key', purpose: 'log', event: 'created', key: `${LOG_KEY.name}+${LOG_KEY.id}+${toBase64(new Uint8Array([1, ...LOG_KEY.publicKey]))}` })
  add('policy', { kind: 'policy', digest: policyDigest, policies: ['a/0'], epoch: 3 })
  add('enrolled', { kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey) })
  add('session', { kind: 'gate', gate: GATE_KEY.kid, event: 'session', session, env: { commit: environment.commit, level: 'software' } }, environment)
  add('tool', { kind: 'tool', target: 'mcp://fs', name: 'read_file', digest: `sha256:${'a'.repeat(64)}` })
  add('pinned', { kind: 'tool', event: 'pinned', target: 'mcp://fs', name: 'read_file', digest: `sha256:${'a'.repeat(64)}`, by: 'user:1' })
  const decision = (id: string): { action: Body; inputs: Body; members: { action_commit: string; policy: { digest: string; epoch: number; determining: string[]; inputs_commit: string }; scope: { type: 'mcp.tool_call'; name: string; target: string } } } => {
    const action = body('action', { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { path: `/${name}/${id}/ü\u2028\u{1f600}`, n: [1e30, 0.1, -7, 1e-7, 'ﬃ'] }, tool_digest: `sha256:${'a'.repeat(64)}` }, `${id} action`)
    const inputs = body('inputs', { seen: `${name} ${id}`, '\ue000': 1, '\u{10000}': 2 }, `${id} inputs`)
    return { action, inputs, members: { action_commit: action.commit, policy: { digest: policyDigest, epoch: 3, determining: ['a/0'], inputs_commit: inputs.commit }, scope: { type: 'mcp.tool_call', name: 'read_file', target: 'mcp://fs' } } }
  }
  const env = { commit: environment.commit, level: 'software' as const }
  const permit = (label: string, use: 'challenge' | 'redeem'): { jti: string; leaf: string } => {
    const { action, inputs, members } = decision(label)
    const { challenge: _, ...rest } = permitBody({ jti: token(label), txn: token(label), env, ...members, use, constraints: { lease_seconds: 300, max_runtime_seconds: 300, obligations: [], budgets: BUDGETS } })
    return { jti: token(label), leaf: add(label, { ...rest, ...(use === 'challenge' ? { challenge: token(`${label} challenge`) } : {}) }, action, inputs) }
  }
  const receipt = (label: string, { jti, leaf }: { jti: string; leaf: string }, change: JsonObject = {}, more: object = {}, ...bodies: Body[]): void =>
    void add(label, { kind: 'receipt', jti, receipt: account({ ...receiptClaims(), jti, leaf_hash: leaf, session, sequence: sequence++, ...change }), ...more }, ...bodies)

  const pull = permit('pull', 'challenge')
  add('renewed', { kind: 'lease', gate: GATE_KEY.kid, session, nonce: token('nonce'), jtis: [pull.jti] })
  const result = body('result', { content: name })
  receipt('receipt', pull, { result_commit: result.commit }, {}, result)
  const denied = decision('deny')
  add('deny', { kind: 'deny', code: 'policy_denied', sub: 'user:1', act: { sub: 'agent:tester', verified: true }, aud: GATE_KEY.kid, challenge: token('deny challenge'), ...denied.members }, denied.action, { ...denied.inputs })
  const denial = account({ gate: GATE_KEY.kid, tenant: 'default', session, sequence: 0, time: NOW * 1_000, code: 'challenge_mismatch' }, 'execution-denial+jwt')
  add('denial', { kind: 'deny', code: 'challenge_mismatch', aud: GATE_KEY.kid, denial })
  const carried = permit('carried', 'redeem')
  add('redemption', { kind: 'redemption', jti: carried.jti, leaf_hash: carried.leaf, aud: GATE_KEY.kid, challenge: token('spent'), exp: NOW + 60 })
  const lost = drafts.length
  add('indeterminate', { kind: 'expiry', jti: carried.jti, leaf_hash: carried.leaf, outcome: 'indeterminate' })
  receipt('late', carried, { outcome: 'failed', cause: 'tool_error' }, { resolves: lost })
  const unspent = permit('unspent', 'redeem')
  add('expired', { kind: 'expiry', jti: unspent.jti, leaf_hash: unspent.leaf, outcome: 'expired' })
  const refused = permit('refused', 'challenge')
  const { started: _started, ...notStarted } = receiptClaims()
  add('not_started', { kind: 'receipt', jti: refused.jti, receipt: account({ ...notStarted, jti: refused.jti, leaf_hash: refused.leaf, session, sequence: sequence++, outcome: 'not_started', cause: 'action_mismatch' }) })
  const held = decision('hold')
  add('hold', { kind: 'hold', hold: token('hold'), sub: 'user:1', act: { sub: 'agent:tester', verified: true }, aud: GATE_KEY.kid, challenge: token('hold challenge'), ...held.members }, held.action, held.inputs)
  add('assessment', { kind: 'assessment', model: 'maturity/1', size: 1, root: `sha256:${'a'.repeat(64)}`, at: NOW * 1_000, level: 0, dimensions: { one: 0, other: 3 }, measures: { entries: 1_000_000 }, by: 'user:1' })
  add('erasure', { kind: 'erasure', ranges: [{ from: at['hold'], to: (at['hold'] as number) + 1 }], cause: 'request', by: 'user:1' })
  for (const more of [{}, { event: 'activated', previous: policyDigest, base: `sha256:${'a'.repeat(64)}`, urgent: true }, { mode: 'shadow' }, { event: 'staged', from: NOW * 1_000 }, { event: 'rolled_back', previous: policyDigest, mode: 'enforce' }, { event: 'withdrawn', mode: 'shadow', by: 'user:1' }]) add(`policy ${JSON.stringify(more)}`, { kind: 'policy', digest: policyDigest, policies: ['a/0'], epoch: 3, ...more })
  const watched = decision('watched')
  const beside = { shadow: body('shadow', { mode: 'shadow', decision: 'deny' }, 'watched shadow'), redacted: body('redacted', { type: 'mcp.tool_call' }, 'watched redacted'), purpose: body('purpose', 'because \u{1f600}', 'watched purpose') }
  add('watched', { kind: 'deny', code: 'policy_denied', sub: 'user:1', act: { sub: 'agent:tester', verified: true }, aud: GATE_KEY.kid, challenge: token('watched challenge'), ...watched.members, policy: { ...watched.members.policy, shadow_commit: beside.shadow.commit, redacted_commit: beside.redacted.commit }, intent: 'review', purpose_commit: beside.purpose.commit }, watched.action, watched.inputs, beside.shadow, beside.redacted, beside.purpose)
  const agentKey = toBase64Url(sha256(utf8(`${name} agent`)))
  for (const [event, members] of [['added', { key: agentKey, owner: 'team:a', expires: NOW + 60 }], ['key_added', { key: toBase64Url(sha256(utf8(`${name} second`))) }], ['key_removed', { key: agentKey }], ['removed', {}]] as const) add(`agent ${event}`, { kind: 'agent', agent: 'coder', event, by: 'user:1', ...members })
  add('renewal', { kind: 'gate', gate: GATE_KEY.kid, event: 'session', session, env: { commit: environment.commit, level: 'software' }, expires: NOW + 900 }, environment)
  const [image, statement] = [body('environment', { kind: 'test', name: `${name} signed` }, 'signed environment'), body('attestation', { trust: 'ci', bundle: { name } })]
  add('attested', { kind: 'gate', gate: GATE_KEY.kid, event: 'session', session, env: { commit: image.commit, level: 'signed' }, attestation_commit: statement.commit, expires: NOW + 900 }, image, statement)
  const person = `person:${name}`
  const directory = body('directory', { name: `${name} Å.` })
  add('approver', { kind: 'key', purpose: 'approver', event: 'added', person, groups: ['ops', 'secops'], key: toBase64Url(APPROVER.publicKey), sub: 'user:2', name_commit: directory.commit }, directory)
  add('vouched', voucher({ person, groups: ['ops', 'secops'], key: toBase64Url(APPROVER.publicKey), sub: 'user:2', aud: AWAY_KEY.name }))
  const demand = { groups: ['secops'], quorum: 1, expires: NOW + 600 }
  const waits = decision('waits')
  const asks = { kind: 'hold', sub: 'user:1', act: { sub: 'agent:tester', verified: true }, aud: GATE_KEY.kid, approval: demand, risk: 'high', intent: 'review' }
  const heldLeaf = add('waits', { ...asks, hold: token('waits'), challenge: token('waits challenge'), ...waits.members }, waits.action, waits.inputs)
  const bounds = body('grant', { path: { prefix: '/srv/' }, n: { range: { min: 1, max: 9 } }, mode: { one_of: ['r', 'rb'] }, x: { equals: [1, 'é'] } })
  const grant = { uses: 1, until: NOW + 3_600, tool_digest: `sha256:${'a'.repeat(64)}`, arguments_commit: bounds.commit }
  const approval = (label: string, claims: JsonObject, more: object, ...bodies: Body[]): string =>
    add(label, { kind: 'approval', person, signature: approved({ tenant: 'default', person, aud: GATE_KEY.kid, sub: 'user:1', iat: NOW, ...claims }), ...more }, ...bodies)
  const about = { hold: token('waits'), index: at['waits'] as number, leaf_hash: heldLeaf, action_commit: waits.action.commit }
  const approvedLeaf = approval('approved', { ...about, decision: 'approved', grant }, { hold: token('waits'), event: 'approved', grant_commit: bounds.commit }, bounds)
  const { challenge: _c, ...released } = permitBody({ jti: token('released'), txn: token('released'), env, ...waits.members, use: 'challenge', sub: 'user:1', act: { sub: 'agent:tester', verified: true }, intent: 'review', approvals: [`${at['approved']}:${approvedLeaf}`] })
  add('released', { ...released, challenge: token('released challenge') }, waits.action, waits.inputs)
  const grantedAction = body('action', { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { path: '/srv/a', n: 9, mode: 'rb', x: [1, 'é'] }, tool_digest: `sha256:${'a'.repeat(64)}` }, 'granted action')
  add('granted', { ...released, jti: token('granted'), txn: token('granted'), challenge: token('granted challenge'), action_commit: grantedAction.commit, approvals: [`grant:${at['approved']}:${approvedLeaf}`] }, grantedAction, waits.inputs)
  const other = decision('other')
  const otherLeaf = add('other', { ...asks, hold: token('other'), challenge: token('other challenge'), ...other.members }, other.action, other.inputs)
  const reason = body('reason', 'no')
  approval('rejected', { hold: token('other'), index: at['other'] as number, leaf_hash: otherLeaf, action_commit: other.action.commit, decision: 'rejected', reason_commit: reason.commit }, { hold: token('other'), event: 'rejected', reason_commit: reason.commit }, reason)
  add('removed', { kind: 'key', purpose: 'approver', event: 'removed', person, key: toBase64Url(APPROVER.publicKey), by: 'user:1' })
  const who = `person:${name} boss`
  add('admin', { kind: 'key', purpose: 'person', event: 'added', person: who, role: 'admin', login: 'local', by: 'user:1' })
  add('viewer', { kind: 'key', purpose: 'person', event: 'added', person: 'person:v', role: 'viewer', login: 'oidc', by: 'issuer:1' })
  add('operator', { kind: 'key', purpose: 'person', event: 'role', person: 'person:v', role: 'operator', by: who })
  add('killed by', { kind: 'kill', selector: 'agent:x', event: 'killed', by: 'person:v' })
  add('credential', { kind: 'key', purpose: 'person', event: 'credential', person: who, by: who })
  add('person removed', { kind: 'key', purpose: 'person', event: 'removed', person: 'person:v', by: who })
  const [first, second] = ['first', 'second'].map((text) => body('definition', { name: 'write_file', description: `${name} ${text} \u202e` }, `${text} definition`)) as [Body, Body]
  for (const one of [first, second]) {
    add(`seen ${one.digest}`, { kind: 'tool', target: 'mcp://fs', name: 'write_file', digest: one.digest, definition_commit: one.commit }, one)
    add(`pinned ${one.digest}`, { kind: 'tool', event: 'pinned', target: 'mcp://fs', name: 'write_file', digest: one.digest, by: who, ...(one === second ? { previous: first.digest } : {}) })
  }
  add('unpinned', { kind: 'tool', event: 'unpinned', target: 'mcp://fs', name: 'write_file', digest: second.digest, by: who })
  for (const more of [{}, { event: 'pinned', by: 'user:1' }]) add(`plan ${JSON.stringify(more)}`, { kind: 'tool', target: 'mcp://flow', name: 'plan', digest: `sha256:${'a'.repeat(64)}`, ...more })
  // A lineage: each below the one before, each with less.
  const scopes = (...names: string[]): JsonValue => names.map((one) => ({ type: 'mcp.tool_call', target: 'mcp://fs', name: one }))
  const terms = { root: body('delegation', { scopes: scopes('*'), agents: ['tester', 'helper'], audiences: [GATE_KEY.kid, 'x'] }, 'root terms'), child: body('delegation', { scopes: [{ ...(scopes('read_file') as JsonObject[])[0], arguments: { path: { prefix: '/srv/' }, n: { range: { min: 1, max: 9 } } } }], agents: ['helper'], audiences: [GATE_KEY.kid], environment: 'software' }, 'child terms') }
  const members = (label: string): object => ({ jti: token(label), challenge: token(`${label} challenge`), env, policy: waits.members.policy })
  const rootAction = body('action', { type: 'mcp.tool_call', target: 'mcp://flow', name: 'plan', arguments: {}, tool_digest: `sha256:${'a'.repeat(64)}` }, 'root action')
  const rootEntry = { ...permitBody(), ...members('root'), txn: token('root'), action_commit: rootAction.commit, scope: { type: 'mcp.tool_call' as const, name: 'plan', target: 'mcp://flow' }, delegates: { until: NOW + 360, uses: 3, depth: 2, terms_commit: terms.root.commit } }
  const rootLeaf = add('root', rootEntry, rootAction, waits.inputs, terms.root)
  const below = (label: string, parent: object, leaf: string, more: object, action: Body, ...others: Body[]): { entry: object; leaf: string } => {
    const own = { ...permitBody(), ...members(label), action_commit: action.commit, txn: token('root'), depth: ((parent as { depth: number }).depth) + 1, par: { jti: (parent as { jti: string }).jti, leaf_hash: leaf }, ...more }
    const entry = { ...own, above: aboveOf({ ...own, tenant: 'default' }, { ...(parent as Artifact), tenant: 'default' }) }
    return { entry, leaf: add(label, entry, action, waits.inputs, ...others) }
  }
  const childAction = decision('child').action
  const child = below('child', rootEntry, rootLeaf, { delegates: { until: NOW + 300, uses: 2, depth: 1, terms_commit: terms.child.commit }, constraints: { lease_seconds: 10, max_runtime_seconds: 200, obligations: [] } }, childAction, terms.child)
  const deepAction = body('action', { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { path: '/srv/a', n: 9 }, tool_digest: `sha256:${'a'.repeat(64)}` }, 'deep action')
  const grandchild = below('grandchild', child.entry, child.leaf, { act: { sub: 'agent:helper', verified: true }, constraints: { lease_seconds: 10, max_runtime_seconds: 200, obligations: [] } }, deepAction)
  const wide = decision('refused below')
  add('refused below', { kind: 'deny', code: 'delegation_widens', jti: token('refused below'), par: { jti: token('grandchild'), leaf_hash: grandchild.leaf }, delegates: { until: NOW + 300, uses: 1, depth: 1, terms_commit: terms.child.commit }, sub: 'user:1', act: { sub: 'agent:helper', verified: true }, aud: GATE_KEY.kid, challenge: token('refused below challenge'), ...wide.members }, wide.action, wide.inputs, terms.child)
  // What was taken from another plane: a permit as a parent, and an approver that it vouches for.
  const lent = decision('lent')
  const away = awayLog(awayPermit({ jti: token('away'), txn: token('away'), action_commit: commitment('action', SALT, lent.action.digest, sha256) }))
  const parent = taken(away, 'parent')
  const { challenge: _lent, ...borrowed } = permitBody({ jti: token('lent'), txn: token('away'), above: [`artifact:${token('away')}`], env, ...lent.members, use: 'challenge', sub: foreignSubject(AWAY_KEY.name, 'user:1', LOG_KEY.name, sha256), depth: 1, par: { jti: token('away'), leaf_hash: parent.leaf, foreign: parent.ref } })
  add('lent', { ...borrowed, cnf: CNF, challenge: token('lent challenge') }, lent.action, lent.inputs, parent.body)
  const asked = decision('asked')
  const askedLeaf = add('asked', { ...asks, hold: token('asked'), challenge: token('asked challenge'), ...asked.members }, asked.action, asked.inputs)
  const word = voucher()
  away.index = away.log.add(word)
  const vouching = taken(away, 'vouching')
  const stranger = foreignPerson(word.person, AWAY_KEY.name)
  const strange = approved({ tenant: 'default', person: stranger, aud: GATE_KEY.kid, sub: 'user:1', iat: NOW, hold: token('asked'), index: at['asked'] as number, leaf_hash: askedLeaf, action_commit: asked.action.commit, decision: 'approved' }, keyPair('away approver'), signingKey(keyPair('away approver').publicKey, sha256).kid)
  const strangeLeaf = add('strange', { kind: 'approval', hold: token('asked'), event: 'approved', person: stranger, signature: strange, voucher: { leaf_hash: vouching.leaf, key: word.key, groups: ['secops'], exp: word.exp, foreign: vouching.ref } }, vouching.body)
  add('answered', { ...released, jti: token('answered'), txn: token('answered'), challenge: token('answered challenge'), ...asked.members, approvals: [`${at['strange']}:${strangeLeaf}`] }, asked.action, asked.inputs)
  add('revoked', { kind: 'revocation', selector: 'agent:ü\u{1f600}', by: 'user:1' })
  for (const event of ['killed', 'lift_asked', 'lifted']) add(event, { kind: 'kill', selector: 'tool:mcp://fs/read_file', event, by: 'user:1' })
  // What policy denies, and ran all the same while the plane observed.
  add('observing', { kind: 'policy', digest: policyDigest, policies: [], epoch: 3, event: 'observing' })
  const unruled = decision('observed')
  const seen = { jti: token('observed'), leaf: add('observed', { ...permitBody({ jti: token('observed'), txn: token('observed'), env, ...unruled.members, challenge: token('observed challenge'), assurance: 'A1', act: { sub: 'agent:watched', verified: true } }), observed: 'policy_denied' }, unruled.action, unruled.inputs) }
  add('observed on', { kind: 'lease', gate: GATE_KEY.kid, session, nonce: token('observed nonce'), jtis: [seen.jti] })
  receipt('observed receipt', seen, { assurance: 'A1' })
  add('enforcing', { kind: 'policy', digest: policyDigest, policies: [], epoch: 3, event: 'enforcing' })
  add('rotated', rotation())
  add('gate revoked', { kind: 'key', purpose: 'gate', event: 'revoked', gate: toBase64Url(sha256(utf8(`${name} gate`))), from: 3, by: 'user:1' })
  add('lost', { kind: 'gate', gate: GATE_KEY.kid, event: 'denials_lost', count: 2 })

  const log = new TestLog()
  for (const { text } of drafts) log.addText(text)
  const old = log.note(8)
  const anchors: Anchor[] = [
    { type: 'file', checkpoint: old, where: '/mnt/worm/anchors.jsonl', time: NOW * 1_000 },
    { type: 'http', checkpoint: log.note(), where: 'https://archive.example/anchors', answer: 'stored', time: NOW * 1_000 },
  ] as never
  const bundle = sealBundle(drafts, {
    checkpoints: [{ checkpoint: old, consistency: consistencyProof(8, drafts.length, log.subtree, sha256).map(toBase64) }],
    anchors, policies: [{ digest: policyDigest, files }],
  }, cosign)
  return { drafts, bundle, at }
}

/** The key that takes over from {@link LOG_KEY}, and one after it. */
export const [NEXT, THIRD] = ['next log', 'third log'].map(keyPair) as [ReturnType<typeof keyPair>, ReturnType<typeof keyPair>]
export const [NEXT_KEY, THIRD_KEY] = [NEXT, THIRD].map(({ publicKey }) => noteKey(LOG_KEY.name, publicKey, sha256)) as [NoteKey, NoteKey]
/** That a key takes over, signed by whom it names. */
export function rotation(key = NEXT_KEY, epoch = 2, signers: readonly (readonly [typeof LOG, NoteKey])[] = [[LOG, LOG_KEY], [NEXT, NEXT_KEY]]): JsonObject {
  const text = keyText(key, epoch)
  return { kind: 'key', purpose: 'log', event: 'rotated', ...keyMembers(key), epoch, until: NOW * 1_000, note: `${text}\n${signers.map(([keys, by]) => formatSignature(by, keys.sign(utf8(text)))).join('')}` } as JsonObject
}

/** A signed note over any text. */
export function signNote(text: string, keys = LOG, key = LOG_KEY): string {
  return `${text}\n${formatSignature(key, keys.sign(utf8(text)))}`
}
