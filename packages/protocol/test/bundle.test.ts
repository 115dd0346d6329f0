import { attachSignature, type Body, type Bundle, commitment, digestOf, type Finding, canonicalize, type JsonObject, leafDigest, leafHash, noteKey, type NoteKey, parseBundle, parseEntry, type Report, signingInput, signingKey, toBase64Url, utf8, verifyBundle } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { crypto, ENV_COMMIT, GATE, GATE_KEY, keyPair, LOG_KEY, NOW, permitBody, receiptClaims, SESSION, sha256, TestLog } from './support/fixture.ts'
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
    entries: log.leaves.map((_, i) => log.seal(i, undefined)),
    bodies: [action, inputs, environment, ...(claims.some((c) => c['result_commit'] !== undefined) ? [result] : [])],
    policies: [{ digest: policyDigest, files }],
  }
}

function signed(claims: JsonObject, key = GATE, kid = GATE_KEY.kid): string {
  const input = signingInput('execution-receipt+jwt', kid, claims)
  return attachSignature(input, key.sign(utf8(input)))
}

const verify = (given: Bundle, logKey: NoteKey = LOG_KEY, gateKeys = [GATE_KEY]): Report => verifyBundle(parseBundle(utf8(JSON.stringify(given))), { crypto, logKey, gateKeys })
const contradictions = (report: Report): string[] => report.findings.filter((f: Finding) => f.verdict === 'contradicted').map((f) => f.claim)

describe('an evidence bundle', () => {
  const A = bundle('a')
  const B = bundle('b')

  it('is established as it was exported, with nothing but the log key', () => {
    const report = verify(A)
    expect(report).toMatchObject({ verdict: 'established', entries: 5, permits: 1, receipts: 1 })
    expect(contradictions(report)).toEqual([])
    expect(report.notShown).toEqual(['no witness cosigned: that this is the only history is the word of the log key'])
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
  A.bodies.forEach(({ purpose }, i) => {
    for (const member of ['commit', 'salt', 'digest', 'body'] as const) {
      parts.push([`${member} of the ${purpose} body`, (b) => ({ ...b, bodies: b.bodies.map((e, k) => (k === i ? { ...e, [member]: B.bodies[i]?.[member] as never } : e)) })])
    }
  })
  it.each(parts)('ATK-073: with the %s of another valid bundle is contradicted', (_name, swap) => {
    const swapped = swap(A)
    const same = JSON.stringify(swapped) === JSON.stringify(A)
    if (same) expect(_name).toMatch(/^entry [01]$/) // the two bundles share their first entries; nothing was swapped
    else expect(verify(swapped).verdict).toBe('contradicted')
  })
  it('ATK-073: with a receipt of another permit inside its own valid entry is contradicted', () => {
    const other = parseEntry(B.entries[4]?.entry as string) as { receipt: string }
    const log = new TestLog()
    for (const { entry } of A.entries.slice(0, 4)) log.addText(entry)
    log.add({ kind: 'receipt', jti: (parseEntry(A.entries[3]?.entry as string) as { jti: string }).jti, receipt: other.receipt })
    const forged = { ...A, checkpoint: log.note(), entries: log.leaves.map((_, i) => log.seal(i, undefined)) }
    expect(contradictions(verify(forged))[0]).toContain('the receipt is about another permit')
  })

  it('ATK-070: is contradicted when an entry is edited, doubled or moved', () => {
    const edit = (change: (entries: { entry: string; proof: string }[]) => void): string => {
      const entries = A.entries.map((e) => ({ ...e }))
      change(entries)
      return verify({ ...A, entries }).verdict
    }
    expect(edit((e) => ((e[3] as { entry: string }).entry = (e[3] as { entry: string }).entry.replace('"risk":"low"', '"risk":"high"')))).toBe('contradicted')
    expect(edit((e) => e.push({ ...(e[3] as { entry: string; proof: string }) }))).toBe('contradicted')
    expect(edit((e) => ([(e[0] as { proof: string }).proof, (e[1] as { proof: string }).proof] = [(e[1] as { proof: string }).proof, (e[0] as { proof: string }).proof]))).toBe('contradicted')
  })

  it('ATK-072: names the permit without an ending, and the gaps in a session', () => {
    expect(verify(bundle('open', { receipts: () => [] })).notShown.join()).toContain('is open')
    expect(verify(bundle('gap', { receipts: (leaf_hash, jti) => [{ jti, leaf_hash, sequence: 7 }] })).notShown.join()).toContain('7 receipts of gate')
  })
  it('is contradicted by two endings, and by one sequence number used twice', () => {
    const twice = verify(bundle('twice', { receipts: (leaf_hash, jti) => [{ jti, leaf_hash }, { jti, leaf_hash, outcome: 'failed' }] }))
    expect(contradictions(twice)).toEqual(['the permit has more than one effective ending', expect.stringContaining('used a sequence number twice')])
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
    const text = JSON.stringify(A)
    const parse = (changed: string): string => outcome(() => parseBundle(utf8(changed)))
    expect(parse(text)).toBe('ok')
    expect(parse(text.slice(0, -1))).toBe('artifact_malformed')
    expect(parse(text.replace('{"v":1', '{"v":1,"v":1'))).toBe('artifact_malformed')
    expect(parse(text.replace('{"v":1', '{"v":2'))).toBe('artifact_malformed')
    expect(parse(text.replace('{"v":1', '{"v":1,"extra":true'))).toBe('artifact_malformed')
    expect(parse(text.replace(ENV_COMMIT, 'x'))).toBe('ok') // the fixture's own commitment does not occur
    expect(NOW).toBe(1_767_225_600)
  })
})
