import { generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { attachSignature, type Bundle, bundleLines, checkpointText, type Entry, entryText, formatProof, formatSignature, fromBase64Url, inclusionProof, type JsonObject, leafDigest, leafHash, nodeHash, noteKey, type Report, signingInput, signingKey, toBase64Url, treeRoot, type Trust, utf8 } from '@sealwrit/protocol'
import { afterAll, describe, expect, it } from 'vitest'
import { run } from '../../../test/support/processes.ts'
import { checkBundle } from '../src/evidence/check.ts'
import { parts, Signatures } from '../src/evidence/signatures.ts'
import { Progress } from '../src/progress.ts'

const { sha256 } = nodeCryptography
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-jobs-'))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

function pair(): { publicKey: Uint8Array; sign: (message: Uint8Array) => Uint8Array } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return { publicKey: fromBase64Url(publicKey.export({ format: 'jwk' }).x as string), sign: (message) => sign(null, message, privateKey) }
}
const [log, gate, evil] = [pair(), pair(), pair()]
const logKey = noteKey('plane.test/default', log.publicKey, sha256)
const gateKey = signingKey(gate.publicKey, sha256)
const token = (name: string): string => toBase64Url(sha256(utf8(name)).subarray(0, 16))
const CHECKS = Object.fromEntries(['authorization', 'identity', 'policy', 'environment', 'cryptography', 'state', 'lineage', 'conditions'].map((check) => [check, 'pass']))
const DIGEST = `sha256:${'e'.repeat(64)}`

/** Signs a receipt as gates do; `by` may be somebody who only says so. */
function receipt(claims: JsonObject, by = gate): string {
  const input = signingInput('execution-receipt+jwt', gateKey.kid, claims)
  return attachSignature(input, by.sign(utf8(input)))
}

/** A valid bundle of `count` executions; `forged` of them have a receipt that another key signed. */
function bundleOf(count: number, forged: ReadonlySet<number> = new Set()): Bundle {
  const texts: string[] = []
  const add = (body: object): string => {
    texts.push(entryText({ v: 1, seq: texts.length, time: 1_767_225_600_000, tenant: 'default', ...body } as Entry))
    return leafDigest(leafHash(utf8(texts.at(-1) as string), sha256))
  }
  add({ kind: 'gate', gate: gateKey.kid, event: 'enrolled', key: toBase64Url(gate.publicKey) })
  for (let i = 0; i < count; i++) {
    const jti = token(`jti ${i}`)
    const leaf = add({
      kind: 'permit', scope: { type: 'mcp.tool_call', name: 'read_file', target: 'mcp://fs' }, action_commit: DIGEST, sub: 'user:1', act: { sub: 'agent:tester', verified: true }, env: { commit: DIGEST, level: 'software' },
      policy: { digest: DIGEST, epoch: 3, determining: ['fs/read'], inputs_commit: DIGEST }, iat: 1_767_225_600, nbf: 1_767_225_600, exp: 1_767_225_660, constraints: { lease_seconds: 300, max_runtime_seconds: 300, obligations: [] },
      iss: logKey.name, owner: 'team:a', jti, txn: jti, depth: 0, approvals: [], risk: 'low', assurance: 'A3', aud: gateKey.kid, use: 'challenge', challenge: token(`challenge ${i}`),
    })
    const claims = { jti, leaf_hash: leaf, tenant: 'default', gate: gateKey.kid, session: token('session'), sequence: i, started: 1_767_225_600_001, finished: 1_767_225_600_002, outcome: 'completed', resources: { result_bytes: 3, wall_ms: 5 }, checks: CHECKS, containment: [], assurance: 'A3' } as unknown as JsonObject
    add({ kind: 'receipt', jti, receipt: receipt(claims, forged.has(i) ? evil : gate) })
  }
  const rows = [texts.map((text) => leafHash(utf8(text), sha256))]
  for (let row = rows[0] as Uint8Array[]; row.length > 1; rows.push(row)) row = Array.from({ length: Math.floor(row.length / 2) }, (_, i) => nodeHash(row[2 * i] as Uint8Array, row[2 * i + 1] as Uint8Array, sha256))
  const subtree = (level: number, index: number): Uint8Array => rows[level]?.[index] as Uint8Array
  const text = checkpointText({ origin: logKey.name, size: texts.length, root: treeRoot(texts.length, subtree, sha256) })
  const checkpoint = `${text}\n${formatSignature(logKey, log.sign(utf8(text)))}`
  const entries = texts.map((entry, index) => ({ entry, proof: formatProof({ index, hashes: inclusionProof(index, texts.length, subtree, sha256), checkpoint }), bodies: [] }))
  return { v: 1, origin: logKey.name, tenant: 'default', checkpoint, checkpoints: [], anchors: [], policies: [], entries }
}

let files = 0
function write(bundle: Bundle, change: (text: string) => string = (text) => text): string {
  const file = path.join(folder, `${files++}.json`)
  fs.writeFileSync(file, change([...bundleLines(bundle)].map((line) => `${line}\n`).join('')))
  return file
}
const trust: Trust = { crypto: nodeCryptography, logKey, gateKeys: [gateKey] }
/** The whole report, or why there is none. */
const check = (file: string, jobs: number, given = trust): Promise<Report | string> => checkBundle(file, given, new Progress('verifying', true), jobs).catch((error: unknown) => String(error))

describe('signatures that are checked ahead on other cores', () => {
  const COUNT = 900 // several pieces of a mebibyte each
  it('give the same report as one thread, for a bundle that holds and for one with forged receipts everywhere', async () => {
    const whole = write(bundleOf(COUNT))
    expect(fs.statSync(whole).size).toBeGreaterThan(3 * 1_048_576)
    const alone = (await check(whole, 1)) as Report
    expect(alone).toMatchObject({ verdict: 'established', receipts: COUNT })
    for (const jobs of [2, 4]) expect(await check(whole, jobs)).toEqual(alone)
    const forged = new Set([0, 1, 450, 451, 898, 899])
    const bad = write(bundleOf(COUNT, forged))
    const found = (await check(bad, 1)) as Report
    expect(found.findings.filter(({ claim }) => claim.includes('signature_invalid'))).toHaveLength(forged.size)
    expect(await check(bad, 3)).toEqual(found)
  }, 60_000)

  it('give the same report as one thread for bundles that are changed anywhere, or cut short', async () => {
    const bundle = bundleOf(COUNT)
    const text = fs.readFileSync(write(bundle), 'utf8')
    const verdicts = new Set<string>()
    for (let i = 1; i <= 12; i++) {
      const at = Math.floor((text.length * i) / 13)
      const file = write(bundle, () => (i % 4 === 0 ? text.slice(0, at) : `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`))
      const alone = await check(file, 1)
      expect(await check(file, 3)).toEqual(alone)
      verdicts.add(typeof alone === 'string' ? 'no bundle' : alone.verdict)
      fs.rmSync(file)
    }
    expect([...verdicts].sort()).toEqual(['contradicted', 'no bundle'])
  }, 120_000)

  it('are used: what the verifier asks is answered without a second verification, and only for that very question', async () => {
    let asked = 0
    const counting = { sha256, verifyEd25519: (...args: Parameters<typeof nodeCryptography.verifyEd25519>) => (asked++, nodeCryptography.verifyEd25519(...args)) }
    const signatures = new Signatures(counting, 2)
    const tokens = bundleOf(1_000).entries.flatMap(({ entry }) => /"receipt":"([^"]+)"/.exec(entry)?.[1] ?? [])
    const ask = (text: string, key = gate.publicKey): boolean => {
      const { message, signature } = parts(text)
      return signatures.crypto.verifyEd25519(key, utf8(message), signature)
    }
    expect(signatures.ahead(Buffer.from(tokens.map((text) => `\\"receipt\\":\\"${text}\\"`).join()))).toBeUndefined() // no key is known yet
    expect(ask(tokens[0] as string)).toBe(true)
    const ahead = signatures.ahead(Buffer.from(tokens.map((text) => `\\"receipt\\":\\"${text}\\"`).join()))
    signatures.use(await ahead)
    asked = 0
    for (const text of tokens) expect(ask(text)).toBe(true)
    expect(asked).toBe(0)
    // Another key, another message or another signature is another question.
    for (const [i, text] of tokens.entries()) {
      const { message, signature } = parts(text)
      const flipped = new Uint8Array(signature)
      flipped[i % 64] = (flipped[i % 64] as number) ^ (1 << (i % 8))
      expect(ask(text, evil.publicKey)).toBe(false)
      expect(signatures.crypto.verifyEd25519(gate.publicKey, utf8(`${message.slice(0, -1)}${message.endsWith('A') ? 'B' : 'A'}`), signature)).toBe(false)
      expect(signatures.crypto.verifyEd25519(gate.publicKey, utf8(message), flipped)).toBe(false)
    }
    expect(asked).toBe(3 * tokens.length)
    // Answers are for one piece: with the next one they are gone.
    signatures.use(undefined)
    expect(ask(tokens[1] as string)).toBe(true)
    expect(asked).toBe(3 * tokens.length + 1)
    await signatures.close()
  }, 60_000)

  it('a signature that a worker found wrong is wrong', async () => {
    const signatures = new Signatures(nodeCryptography, 2)
    const [honest, forged] = ['honest', 'forged'].map((name) => receipt({ jti: token(name) }, name === 'forged' ? evil : gate)) as [string, string]
    const ask = (text: string): boolean => signatures.crypto.verifyEd25519(gate.publicKey, utf8(parts(text).message), parts(text).signature)
    expect(ask(honest)).toBe(true)
    signatures.use(await signatures.ahead(Buffer.from(`\\"receipt\\":\\"${forged}\\" \\"receipt\\":\\"${honest}\\" \\"receipt\\":\\"cut`)))
    expect([ask(forged), ask(honest)]).toEqual([false, true])
    await signatures.close()
  })

  it('`verify --jobs` takes a number of threads, and says the same', async () => {
    const file = write(bundleOf(COUNT))
    const key = path.join(folder, 'log.vkey')
    fs.writeFileSync(key, `${logKey.name}+${logKey.id}+${Buffer.concat([Buffer.from([1]), logKey.publicKey]).toString('base64')}\n`)
    const [one, three] = [await run(['verify', file, '--key', key, '--json', '--jobs', '1']), await run(['verify', file, '--key', key, '--json', '--jobs', '3'])]
    expect(one.exit).toBe(0)
    expect(three).toEqual(one)
    expect((await run(['verify', file, '--key', key, '--jobs', '0'])).exit).toBe(2)
  }, 60_000)
})
