import { attachSignature, type Body, type Bundle, type BundleEntry, commitment, digestOf, type Finding, formatBundle, canonicalize, consistencyProof, type JsonObject, leafDigest, leafHash, noteKey, type NoteKey, Numbering, parseBundle, parseEntry, type Report, signingInput, signingKey, toBase64, toBase64Url, utf8, verifyBundle } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crypto, GATE, GATE_KEY, keyPair, LOG_KEY, permitBody, receiptClaims, SESSION, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

/** A valid bundle whose every secret, id and body depends on `name`. */
function bundle(name: string, change: { receipts?: (leaf: string, jti: string) => JsonObject[]; enrol?: JsonObject; extra?: (log: TestLog, jti: string, leaf: string) => void } = {}): Bundle {
  const token = (purpose: string): string => toBase64Url(sha256(utf8(`${name} ${purpose}`)).subarray(0, 16))
  const log = new TestLog()
  log.add({ kind: 'key', purpose: 'log', event: 'created', key: 'x' })
  log.add({ kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey), ...change.enrol })
  const body = (purpose: Body['purpose'], value: JsonObject): Body => {
    const digest = digestOf(canonicalize(value), sha256)
    return { purpose, salt: token(purpose), digest, commit: commitment(purpose, token(purpose), digest, sha256), body: value }
  }
  const files = { 'a.cedar': `permit (principal, action, resource); // ${name}` }
  const policyDigest = digestOf(canonicalize(files), sha256)
  const action = body('action', { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { path: `/${name}` }, tool_digest: `sha256:${'a'.repeat(64)}` })
  const inputs = body('inputs', { seen: name })
  const result = body('result', { content: name })
  const environment = body('environment', { host: name })
  const jti = token('jti')
  log.add({ kind: 'gate', gate: GATE_KEY.kid, event: 'session', session: SESSION, env: { commit: environment.commit, level: 'software' } })
  const permit = log.add(permitBody({ jti, txn: jti, challenge: token('challenge'), action_commit: action.commit, env: { commit: environment.commit, level: 'software' }, policy: { digest: policyDigest, epoch: 3, determining: ['a/0'], inputs_commit: inputs.commit } }))
  const leaf = leafDigest(leafHash(utf8(log.leaves[permit] as string), sha256))
  const claims = change.receipts?.(leaf, jti) ?? [{ jti, leaf_hash: leaf, result_commit: result.commit }]
  for (const claim of claims) log.add({ kind: 'receipt', jti, receipt: signed({ ...receiptClaims(), ...claim }) })
  change.extra?.(log, jti, leaf)
  return {
    v: 1, origin: LOG_KEY.name, tenant: 'default', checkpoint: log.note(),
    entries: log.leaves.map((text, i) => ({ ...log.seal(i, ''), bodies: i === 2 ? [environment] : i === permit ? [action, inputs] : text.includes('"kind":"receipt"') && claims[0]?.['result_commit'] !== undefined ? [result] : [] })),
    checkpoints: [],
    anchors: [],
    policies: [{ digest: policyDigest, files }],
  }
}

function signed(claims: JsonObject, key = GATE, kid = GATE_KEY.kid): string {
  const input = signingInput('execution-receipt+jwt', kid, claims)
  return attachSignature(input, key.sign(utf8(input)))
}

const verify = (given: Bundle, logKey: NoteKey = LOG_KEY, gateKeys = [GATE_KEY]): Report => verifyBundle(parseBundle(utf8(formatBundle(given))), { crypto, logKey, gateKeys })
const contradictions = (report: Report): string[] => report.findings.filter((f: Finding) => f.verdict === 'contradicted').map((f) => f.claim)

describe('an evidence bundle', () => {
  const A = bundle('a')
  const B = bundle('b')

  it('is established as it was exported, with nothing but the log key', () => {
    const report = verify(A)
    expect(report).toMatchObject({ verdict: 'established', entries: 5, permits: 1, receipts: 1 })
    expect(contradictions(report)).toEqual([])
    expect(report.notShown).toEqual(['no witness cosigned: that this is the only history is the word of the log key', '1 calls of tools were permitted before anybody pinned one in this log: that somebody looked at them is not shown', 'the environments of 1 permits rest on software-only evidence: what their gates said of their own hosts'])
    expect(report.established.map(({ claim }) => claim)).toContain('these are all entries that the log key signed, and no others')
  })
  it('says that a gate key is only as the plane enrolled it, unless it is given', () => {
    expect(verify(A, LOG_KEY, []).notShown.join()).toContain('only as enrolled by the plane')
  })
  it('is contradicted under another log key', () => {
    expect(verify(A, noteKey(LOG_KEY.name, keyPair('other').publicKey, sha256)).verdict).toBe('contradicted')
    expect(verify(A, noteKey('other.test/default', LOG_KEY.publicKey, sha256)).verdict).toBe('contradicted')
  })

  // ATK-073: every part × the same part of another valid bundle.
  const parts: [string, (b: Bundle) => Bundle][] = [
    ['checkpoint', (b) => ({ ...b, checkpoint: B.checkpoint })],
    ['policy texts', (b) => ({ ...b, policies: [{ digest: b.policies[0]?.digest as string, files: B.policies[0]?.files as JsonObject }] })],
  ]
  A.entries.forEach((_, i) => {
    for (const member of ['entry', 'proof'] as const) {
      parts.push([`${member} ${i}`, (b) => ({ ...b, entries: b.entries.map((e, k) => (k === i ? { ...e, [member]: B.entries[i]?.[member] as string } : e)) })])
    }
  })
  A.entries.forEach(({ bodies }, i) => bodies.forEach(({ purpose }, j) => {
    const other = (B.entries[i] as BundleEntry).bodies[j] as Body
    const put = (b: Bundle, body: (own: Body) => Body): Bundle => ({ ...b, entries: b.entries.map((e, k) => (k === i ? { ...e, bodies: e.bodies.map((own, n) => (n === j ? body(own) : own)) } : e)) })
    for (const member of ['commit', 'salt', 'digest', 'body'] as const) parts.push([`${member} of the ${purpose} body`, (b) => put(b, (own) => ({ ...own, [member]: other[member] as never }))])
    parts.push([`whole ${purpose} body`, (b) => put(b, () => other)])
  }))
  parts.push(['bodies of two of its own entries', (b) => ({ ...b, entries: b.entries.map((e, k) => ({ ...e, bodies: b.entries[k === 2 ? 3 : k === 3 ? 2 : k]?.bodies as readonly Body[] })) })])
  parts.push(['action and inputs body', (b) => ({ ...b, entries: b.entries.map((e) => ({ ...e, bodies: e.bodies.map((own) => ({ ...own, purpose: own.purpose === 'action' ? 'inputs' as const : own.purpose === 'inputs' ? 'action' as const : own.purpose })) })) })])
  it.each(parts)('ATK-073: with the %s of another valid bundle is contradicted', (_name, swap) => {
    const swapped = swap(A)
    const same = formatBundle(swapped) === formatBundle(A)
    if (same) expect(_name).toMatch(/^entry [01]$/) // the two bundles share their first entries; nothing was swapped
    else expect(verify(swapped).verdict).toBe('contradicted')
  })
  it('ATK-073: with a receipt of another permit inside its own valid entry is contradicted', () => {
    const other = parseEntry(B.entries[4]?.entry as string) as { receipt: string }
    const log = new TestLog()
    for (const { entry } of A.entries.slice(0, 4)) log.addText(entry)
    log.add({ kind: 'receipt', jti: (parseEntry(A.entries[3]?.entry as string) as { jti: string }).jti, receipt: other.receipt })
    const forged = { ...A, checkpoint: log.note(), entries: log.leaves.map((_, i) => ({ ...log.seal(i, ''), bodies: [] })) }
    expect(contradictions(verify(forged))[0]).toContain('the receipt is about another permit')
  })

  it('ATK-070: is contradicted when an entry is edited, doubled or moved', () => {
    const edit = (change: (entries: BundleEntry[]) => void): string => {
      const entries = A.entries.map((e) => ({ ...e }))
      change(entries)
      return verify({ ...A, entries }).verdict
    }
    expect(edit((e) => (e[3] = { ...(e[3] as BundleEntry), entry: (e[3] as BundleEntry).entry.replace('"risk":"low"', '"risk":"high"') }))).toBe('contradicted')
    expect(edit((e) => e.push(e[3] as BundleEntry))).toBe('contradicted')
    expect(edit((e) => ([e[0], e[1]] = [{ ...(e[0] as BundleEntry), proof: (e[1] as BundleEntry).proof }, { ...(e[1] as BundleEntry), proof: (e[0] as BundleEntry).proof }]))).toBe('contradicted')
    expect(edit((e) => e.reverse())).toBe('contradicted')
  })

  it('ATK-072: names the permit without an ending, and the gaps in a session', () => {
    expect(verify(bundle('open', { receipts: () => [] })).notShown.join()).toContain('is open')
    expect(verify(bundle('gap', { receipts: (leaf_hash, jti) => [{ jti, leaf_hash, sequence: 7 }] })).notShown.join()).toContain('7 receipts of gate')
  })
  it('is contradicted by two endings, and by one sequence number used twice', () => {
    const twice = verify(bundle('twice', { receipts: (leaf_hash, jti) => [{ jti, leaf_hash }, { jti, leaf_hash, outcome: 'failed' }] }))
    expect(contradictions(twice)).toEqual([expect.stringContaining('used a sequence number twice'), 'the permit has more than one effective ending'])
  })
  it('ATK-074: a late receipt replaces `indeterminate`, and only that', () => {
    const late = (outcome: 'indeterminate' | 'expired', resolves: number): Report =>
      verify(bundle('late', {
        receipts: () => [],
        extra: (log, jti, leaf) => {
          log.add({ kind: 'expiry', jti, leaf_hash: leaf, outcome })
          log.add({ kind: 'receipt', jti, receipt: signed({ ...receiptClaims(), jti, leaf_hash: leaf }), resolves })
        },
      }))
    expect(late('indeterminate', 4).verdict).toBe('established')
    expect(late('expired', 4).verdict).toBe('contradicted')
    expect(late('indeterminate', 3).verdict).toBe('contradicted')
  })

  it('a plane that enrols its own key under the name of an honest gate is contradicted', () => {
    const evil = keyPair('evil')
    const forged = bundle('forged', { enrol: { key: toBase64Url(evil.publicKey) }, receipts: () => [], extra: (log, jti, leaf) => log.add({ kind: 'receipt', jti, receipt: signed({ ...receiptClaims(), jti, leaf_hash: leaf }, evil, signingKey(evil.publicKey, sha256).kid) }) })
    expect(contradictions(verify(forged)).join()).toContain('the gate is not the thumbprint of its key')
    expect(verify(bundle('short', { enrol: { key: 'AAAA' } })).verdict).toBe('contradicted')
  })

  it('is refused when it has another form, and never accepted in part', () => {
    const text = formatBundle(A)
    const parse = (changed: string): string => outcome(() => parseBundle(utf8(changed)))
    expect(parse(text)).toBe('ok')
    expect(JSON.parse(text)).toMatchObject({ v: 1, tenant: 'default' }) // to everybody else it is one JSON document
    const lines = text.split('\n')
    for (let cut = 1; cut < lines.length; cut++) expect(parse(lines.slice(0, -1 - cut).join('\n')), `the last ${cut} lines cut`).toBe('artifact_malformed')
    for (let i = 0; i < lines.length - 1; i++) {
      if (/^\{"(entry|digest)"/.test(lines[i] as string)) continue // an item: for the verifier to miss
      expect(parse(lines.filter((_, k) => k !== i).join('\n')), `line ${i} left out`).toBe('artifact_malformed')
      expect(parse([...lines.slice(0, i), lines[i], ...lines.slice(i)].join('\n')), `line ${i} twice`).toBe('artifact_malformed')
    }
    expect(parse(text.slice(0, -1))).toBe('artifact_malformed')
    expect(parse(text.replace('{"v":1', '{"v":1,"v":1'))).toBe('artifact_malformed')
    expect(parse(text.replace('{"v":1', '{"v":2'))).toBe('artifact_malformed')
    expect(parse(text.replace('{"v":1', '{"v":1,"extra":true'))).toBe('artifact_malformed')
    expect(parse(text.replace('"bodies":[', '"bodies":[],"bodies":['))).toBe('artifact_malformed')
    expect(parse(`${text}{}\n`)).toBe('artifact_malformed')
    expect(parse(JSON.stringify(JSON.parse(text)))).toBe('artifact_malformed') // one layout
    expect(outcome(() => parseBundle(Buffer.from([0xff, 0x0a])))).toBe('artifact_malformed')
  })
  it('an entry line that is left out or doubled is told by the verifier', () => {
    for (let i = 0; i < A.entries.length; i++) {
      const less = verify({ ...A, entries: A.entries.filter((_, k) => k !== i) })
      expect(less.established.some(({ claim }) => claim.startsWith('these are all entries'))).toBe(false)
      expect(verify({ ...A, entries: A.entries.flatMap((e, k) => (k === i ? [e, e] : [e])) }).verdict).toBe('contradicted')
    }
  })
})

describe('checkpoints that the verifier holds', () => {
  const whole = bundle('held')
  const log = new TestLog()
  for (const { entry } of whole.entries) log.addText(entry)
  const other = new TestLog()
  other.add({ kind: 'key', purpose: 'log', event: 'created', key: 'y' })
  for (const { entry } of whole.entries.slice(1)) other.addText(entry)
  const link = (size: number, to = log): Bundle => ({ ...whole, entries: whole.entries.slice(3), checkpoints: [{ checkpoint: to.note(size), consistency: consistencyProof(size, 5, log.subtree, sha256).map(toBase64) }] })
  const held = (given: Bundle, note: string): Report => verifyBundle(given, { crypto, logKey: LOG_KEY, gateKeys: [GATE_KEY], checkpoints: [note] })

  it.each([1, 2, 3, 4, 5])('I5: the one of size %i is found in the whole log, and another history at it is contradicted', (size) => {
    expect(held(whole, log.note(size)).verdict).toBe('established')
    expect(held(whole, log.note(size)).established.map(({ claim }) => claim)).toContain('the history is that of a checkpoint that was given')
    expect(contradictions(held(whole, other.note(size)))).toEqual([`the log has another history than the given checkpoint of size ${size}`])
  })
  it.each([1, 2, 3, 4])('one that the bundle links by a proof is placed at size %i, and a link that does not hold is contradicted', (size) => {
    expect(held(link(size), log.note(size)).established.map(({ claim }) => claim)).toContain('the history is that of a checkpoint that was given')
    expect(held(link(size), other.note(size)).verdict).toBe('contradicted')
    expect(held(link(size, other), other.note(size)).verdict).toBe('contradicted')
  })
  it('one that nothing links is not established, nor one that is newer, nor one of another log', () => {
    expect(held({ ...whole, entries: whole.entries.slice(3) }, log.note(2)).findings.map(({ claim }) => claim)).toEqual([expect.stringContaining('nothing in the bundle links')])
    log.add({ kind: 'deny', code: 'policy_denied', aud: GATE_KEY.kid })
    expect(held(whole, log.note(6)).findings).toEqual([{ verdict: 'not established', claim: expect.stringContaining('is newer than this bundle') }])
    expect(held(whole, new TestLog(noteKey('x.test/y', keyPair('x').publicKey, sha256), keyPair('x').sign).note(0)).verdict).toBe('contradicted')
  })
})

describe('what a second verifier, written from the specification, found', () => {
  const log = (...more: object[]): TestLog => {
    const made = new TestLog()
    for (const one of more) made.add(one)
    return made
  }
  const sealed = (made: TestLog, change: Partial<Bundle> = {}): Bundle => ({ v: 1, origin: LOG_KEY.name, tenant: 'default', checkpoint: made.note(), checkpoints: [], anchors: [], policies: [], entries: made.leaves.map((_text, i) => ({ ...made.seal(i, ''), bodies: [] })), ...change })
  const leafOf = (made: TestLog, index: number): string => leafDigest(leafHash(utf8(made.leaves[index] as string), sha256))
  const enrolled = { kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey) }
  const receipt = (made: TestLog, permit: number, more: object = {}, key = GATE): object => ({ kind: 'receipt', jti: permitBody().jti, receipt: signed({ ...receiptClaims(), leaf_hash: leafOf(made, permit) }, key), ...more })

  it('a receipt is held to the gate key that the verifier holds, wherever that gate was enrolled', () => {
    const good = log(permitBody())
    good.add(receipt(good, 0))
    expect(verify(sealed(good)).findings).toEqual([])
    expect(verify(sealed(good), LOG_KEY, []).findings).toEqual([{ verdict: 'not established', claim: expect.stringContaining('not enrolled'), seq: 1, jti: permitBody().jti }])
    const forged = log(permitBody())
    forged.add(receipt(forged, 0, {}, keyPair('evil')))
    expect(contradictions(verify(sealed(forged))).join()).toContain('signature_invalid')
  })
  it('a denial of another tenant, and a permit of another issuer, are contradicted', () => {
    const claims = { gate: GATE_KEY.kid, tenant: 'other', session: SESSION, sequence: 0, time: 1, code: 'unavailable' }
    const input = signingInput('execution-denial+jwt', GATE_KEY.kid, claims)
    expect(contradictions(verify(sealed(log(enrolled, { kind: 'deny', code: 'unavailable', aud: GATE_KEY.kid, denial: attachSignature(input, GATE.sign(utf8(input))) })))).join()).toContain('tenant_mismatch')
    expect(contradictions(verify(sealed(log(permitBody({ iss: 'other.test/default' })))))).toEqual(['the permit was issued by another plane'])
  })
  it('ATK-073: a policy set that no entry names, a salt in a proof, and a tenant that is not the log’s, are bound to nothing and refused', () => {
    const set = { digest: digestOf(canonicalize({ 'a.cedar': '' }), sha256), files: { 'a.cedar': '' } }
    const named = log({ kind: 'policy', digest: set.digest, policies: [], epoch: 1 })
    expect(verify(sealed(named, { policies: [set] })).verdict).toBe('established')
    expect(contradictions(verify(sealed(log(enrolled), { policies: [set] })))).toEqual([`no entry names the policy set ${set.digest}`])
    expect(contradictions(verify(sealed(named, { entries: [{ ...named.seal(0), bodies: [] }] }))).join()).toContain('a salt stands with its body alone')
    expect(contradictions(verify(sealed(log(), { tenant: 'other' }))).join()).toContain('tenant_mismatch')
  })
  it('a receipt that resolves an ending that is not there is contradicted where all entries up to it are', () => {
    const made = log(permitBody(), enrolled)
    made.add(receipt(made, 0, { resolves: 1 }))
    expect(contradictions(verify(sealed(made)))).toEqual(['the receipt resolves an ending that is not there'])
    const whole = sealed(made)
    expect(verify({ ...whole, entries: [whole.entries[0] as BundleEntry, whole.entries[2] as BundleEntry] }).findings.map(({ verdict }) => verdict)).toEqual(['not established'])
  })
  it.each([
    { kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled' }, { ...enrolled, count: 1 }, { kind: 'gate', gate: GATE_KEY.kid, event: 'session', session: SESSION }, { kind: 'gate', gate: GATE_KEY.kid, event: 'denials_lost' },
    { kind: 'erasure', ranges: [{ from: 0, to: 1 }], cause: 'request' }, { kind: 'erasure', ranges: [{ from: 0, to: 1 }], cause: 'retention', by: 'user:1' },
    permitBody({ policy: { digest: `sha256:${'b'.repeat(64)}`, epoch: 3, determining: [] } }),
  ])('an entry without the members of its event, or with those of another, is refused: %j', (entry) => {
    expect(contradictions(verify(sealed(log(entry)))).join()).toContain('artifact_malformed')
  })
  it('a signature line whose name holds a space or a plus is not a note', () => {
    for (const name of ['a+b', 'a\u00a0b']) expect(verify(sealed(log(), { checkpoint: `${log().note()}\u2014 ${name} ${toBase64(new Uint8Array(68))}\n` })).verdict).toBe('contradicted')
  })
})

describe('carried permits', () => {
  const carried = (build: (log: TestLog, jti: string, leaf: string, redeem: (change?: JsonObject) => void, receipt: (sequence?: number) => void) => void, isPart = false): Report => {
    const log = new TestLog()
    if (isPart) log.add({ kind: 'tool', target: 'mcp://fs', name: 'x', digest: `sha256:${'a'.repeat(64)}` })
    log.add({ kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey) })
    const { challenge: _, ...body } = permitBody({ use: 'redeem' })
    const leaf = leafDigest(leafHash(utf8(log.leaves[log.add(body)] as string), sha256))
    const { jti, aud, exp } = body
    build(log, jti, leaf, (change = {}) => void log.add({ kind: 'redemption', jti, leaf_hash: leaf, aud, challenge: SESSION, exp, ...change }), (sequence = 0) => void log.add({ kind: 'receipt', jti, receipt: signed({ ...receiptClaims(), jti, leaf_hash: leaf, sequence }) }))
    return verify({ v: 1, origin: LOG_KEY.name, tenant: 'default', checkpoint: log.note(), checkpoints: [], anchors: [], policies: [], entries: log.leaves.map((_text, i) => ({ ...log.seal(i, ''), bodies: [] })).slice(isPart ? 1 : 0) })
  }
  it('I2: one redemption by its gate in its time, and then its receipt, are established', () => {
    const report = carried((_log, _jti, _leaf, redeem, receipt) => (redeem(), receipt()))
    expect(report.verdict).toBe('established')
    expect(report.findings).toEqual([])
    expect(report.established.map(({ claim }) => claim)).toEqual(expect.arrayContaining(['the redemption spends its permit, once and in its time', 'the life cycle of the execution is complete and in order']))
  })
  it.each([
    ['spent twice', 'artifact_spent'], ['by another gate', 'audience_mismatch'], ['of another leaf', 'seal_invalid'], ['with another end', 'seal_invalid'],
    ['at its end', 'artifact_expired'], ['after its ending', 'artifact_spent'], ['expired after it was spent', 'a permit is called expired'],
  ])('I2: %s is contradicted (%s)', (what, reason) => {
    const report = carried((log, jti, leaf, redeem) => {
      if (what === 'spent twice') (redeem(), redeem())
      if (what === 'by another gate') redeem({ aud: 'x' })
      if (what === 'of another leaf') redeem({ leaf_hash: `sha256:${'0'.repeat(64)}` })
      if (what === 'with another end') redeem({ exp: 1 })
      if (what === 'at its end') redeem({ time: (permitBody().exp as number) * 1_000 })
      if (what === 'after its ending') (log.add({ kind: 'expiry', jti, leaf_hash: leaf, outcome: 'expired' }), redeem())
      if (what === 'expired after it was spent') (redeem(), log.add({ kind: 'expiry', jti, leaf_hash: leaf, outcome: 'expired' }))
    })
    expect(contradictions(report).join()).toContain(reason)
  })
  it('a pull permit cannot be redeemed, nor one that is not there; an ending that may have run without a redemption is contradicted, and not established where entries are missing', () => {
    expect(contradictions(verify(bundle('pull', { receipts: () => [], extra: (log, jti, leaf) => log.add({ kind: 'redemption', jti, leaf_hash: leaf, aud: GATE_KEY.kid, challenge: SESSION, exp: permitBody().exp }) }))).join()).toContain('type_mismatch')
    for (const end of ['receipt', 'lost']) {
      const report = (isPart: boolean): Report => carried((log, jti, leaf, _redeem, receipt) => (end === 'receipt' ? receipt() : void log.add({ kind: 'expiry', jti, leaf_hash: leaf, outcome: 'indeterminate' })), isPart)
      expect(contradictions(report(false))).toEqual(['the ending is of a carried permit that nobody redeemed'])
      expect(report(true).findings.map(({ verdict, claim }) => `${verdict}: ${claim}`)).toEqual(['not established: the ending is of a carried permit whose redemption is not in this bundle'])
    }
    expect(carried((_log, _jti, _leaf, redeem) => redeem({ jti: SESSION })).findings.map(({ verdict }) => verdict)).toEqual(['not established'])
  })
})

describe('erasure', () => {
  it('ATK-079: a body that is gone is told as erased where an entry of the log says so, and every proof still holds', () => {
    const full = bundle('erased', { extra: (log) => log.add({ kind: 'erasure', ranges: [{ from: 3, to: 4 }], cause: 'request', by: 'user:1' }) })
    const report = verify({ ...full, entries: full.entries.map((e, i) => (i === 3 ? { ...e, bodies: [] } : e)) })
    expect(report.verdict).toBe('established')
    expect(report.notShown.join()).toContain('2 bodies were erased (request, logged at index 5)')
    const unexplained = verify({ ...full, entries: full.entries.map((e, i) => (i === 4 ? { ...e, bodies: [] } : e)) })
    expect(unexplained.notShown.join()).toContain('1 bodies are not in this bundle')
  })
})

describe('the numbering of receipts', () => {
  it('finds exactly the numbers that are missing and those that came twice, in any order', () => {
    fc.assert(fc.property(fc.array(fc.nat(60), { maxLength: 80 }), (numbers) => {
      const numbering = new Numbering()
      const seen = new Set<number>()
      for (const n of numbers) {
        expect(numbering.use('s', n)).toBe(!seen.has(n))
        seen.add(n)
      }
      const missing = Array.from({ length: Math.max(-1, ...seen) + 1 }, (_, n) => n).filter((n) => !seen.has(n))
      expect([...numbering.gaps()]).toEqual(missing.length === 0 ? [] : [{ session: 's', missing: missing.length, first: missing[0] }])
    }), { seed: 20_261_125 })
  })
  it('stays in bounded memory when a gate leaps', () => {
    const numbering = new Numbering()
    numbering.use('s', Number.MAX_SAFE_INTEGER - 1)
    expect([...numbering.gaps()][0]?.missing).toBe(Number.MAX_SAFE_INTEGER - 1)
  })
})
