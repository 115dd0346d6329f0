import { spawnSync } from 'node:child_process'
import { sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { type Anchor, anchoredBytes, type Bundle, BundleVerifier, canonicalText, encodeEntries, formatBundle, formatCosignerKey, formatVerifierKey, type JsonObject, noteKey, parseEntry, parseWitnessPolicy, signingInput, attachSignature, signingKey, tilePath, tilesOf, toBase64, utf8, verifyBundle } from '@sealwrit/protocol'
import { afterAll, describe, expect, it } from 'vitest'
import { endOverdue, makeSink, nodeCryptography } from '@sealwrit/control-plane'
import { issue, redeem } from '../packages/control-plane/test/support/push.ts'
import { PERMIT_ALL, policySet, Rig, sha256, type TestGate, toolCall } from '../packages/control-plane/test/support/rig.ts'
import { crypto, GATE_KEY, keyPair, LOG_KEY, NOW, TestLog } from '../packages/protocol/test/support/fixture.ts'
import { accountOf, bytesOf, cosigned, richBundle, sealBundle, WITNESSES } from './support/evidence.ts'
import { end, run, startPlane } from './support/processes.ts'
import { type Case, firstOpinion, noPython, type Opinion, secondOpinions, VERIFIER_FOLDER } from './support/second-verifier.ts'
import { opensslAnswer, OpensslTsa, serve } from './support/tsa.ts'
import { byteEdits, lineEdits, notCanonical, otherForms, swapped } from './support/tamper.ts'
import { type KeyCase, keyCases } from './support/key-cases.ts'
import { assuranceCases, unseenCases } from './support/assurance-cases.ts'
import { toolCases } from './support/tool-cases.ts'
import { brokenRules } from './support/violations.ts'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-second-'))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))
const A = richBundle('a')
const B = richBundle('b')
/** One of so many is taken of what cannot all be tried in every run. */
const SAMPLE = process.env['SEALWRIT_SOAK'] === '1' ? 1 : 12
/** Generous: what takes seconds here takes minutes where others work too. */
const TIMEOUT_MS = SAMPLE === 1 ? 3_600_000 : 240_000
const CHUNK = 2_000
const given = (title: string, bytes: Uint8Array): Case => ({ title, bytes, key: LOG_KEY, gateKeys: [GATE_KEY] })
/** Says of each vector what the second verifier does. */
const RUN_VECTORS = `
import json, sys
sys.path.insert(0, sys.argv[1])
from lineage import is_delegated, is_terms, is_within
def run(v):
    if not is_terms(v['parent']) or 'child' in v and not is_terms(v['child']):
        return 'request_malformed'
    holds = is_within(v['child'], v['parent']) if 'child' in v else is_delegated(v['request'], v['parent'])
    return 'ok' if holds else 'delegation_widens'
print(json.dumps([[v['name'], run(v)] for v in json.load(open(sys.argv[2]))['vectors']]))
`
const RUN_ASSURANCE = `
import json, sys
sys.path.insert(0, sys.argv[1])
from assurance import level
def run(v):
    permit = {**v['permit'], 'constraints': {'obligations': v['permit']['obligations']}}
    return level(v['checks'], permit, v['permit']['level'], v['containment'], v['witnessed'], v['replayed'])
print(json.dumps([[v['name'], run(v)] for v in json.load(open(sys.argv[2]))['vectors']]))
`
const RUN_ACTIONS = `
import json, sys
sys.path.insert(0, sys.argv[1])
from formats import canonical, digest, is_action, parse
def run(v):
    return ['ok', digest(canonical(v['input']).encode())] if is_action(v['input']) else ['request_malformed', None]
print(json.dumps([[v['name'], *run(v)] for v in parse(open(sys.argv[2], 'rb').read())['vectors']]))
`
/** Tampered bundles that both refused. */
let refused = 0
const counts = ({ verdict, entries, permits, receipts }: Opinion): object => ({ verdict, entries, permits, receipts })

/** A denial as a gate signs it. */
function accountFor(gate: TestGate, claims: JsonObject): string {
  const input = signingInput('execution-denial+jwt', gate.id, { gate: gate.id, ...claims })
  return attachSignature(input, sign(null, utf8(input), gate.keys.privateKey))
}

/** What both verifiers say, once they were found to say the same. */
async function both(cases: readonly Case[]): Promise<Opinion[]> {
  const first: Opinion[] = []
  const second: Opinion[] = []
  for (let i = 0; i < cases.length; i += CHUNK) {
    const some = cases.slice(i, i + CHUNK)
    const half = Math.ceil(some.length / 2)
    const asked = Promise.all([secondOpinions(some.slice(0, half)), secondOpinions(some.slice(half))])
    for (const [n, one] of some.entries()) {
      if (n % 8 === 0) await new Promise((resolve) => setImmediate(resolve)) // what is written to the others leaves meanwhile
      first.push(firstOpinion(one))
    }
    second.push(...(await asked).flat())
  }
  expect(second.length).toBe(cases.length)
  const different = cases.flatMap(({ title }, i) => (first[i]?.verdict === second[i]?.verdict ? [] : [`${title}: ${first[i]?.verdict} (${first[i]?.contradicted[0] ?? ''}), the second ${second[i]?.verdict} (${second[i]?.contradicted[0] ?? ''})`]))
  expect(different).toEqual([])
  refused += first.filter(({ verdict }) => verdict === 'contradicted').length
  for (const [i, one] of first.entries()) if (one.verdict === 'established') expect(counts(second[i] as Opinion), cases[i]?.title).toEqual(counts(one))
  return first
}

/** Both say of each case what it says of itself. */
async function agreed(cases: readonly KeyCase[]): Promise<void> {
  const found = await both(cases.map(({ title, bundle, key }): Case => ({ title, bytes: bytesOf(bundle), key })))
  expect(found.map(({ verdict }, i) => `${cases[i]?.title}: ${verdict}`)).toEqual(cases.map(({ title, verdict }) => `${title}: ${verdict}`))
}

describe('the second verifier', () => {
  it('is at most 300 lines a file, and reads nothing but the specification', () => {
    const files = fs.readdirSync(VERIFIER_FOLDER).filter((name) => name.endsWith('.py'))
    for (const file of files) {
      const text = fs.readFileSync(path.join(VERIFIER_FOLDER, file), 'utf8')
      expect(text.split('\n').length - 1, file).toBeLessThanOrEqual(300)
      const imported = [...text.matchAll(/^(?:import|from) ([^\n]+)/gm)].flatMap(([, names]) => (names as string).split(' import ')[0]?.split(', ') ?? [])
      expect(imported.filter((name) => !['argparse', 'base64', 'collections', 'decimal', 'functools', 'hashlib', 'json', 'os', 're', 'subprocess', 'sys', 'tempfile', 'time', ...files.map((own) => own.slice(0, -'.py'.length))].includes(name))).toEqual([])
      expect(text).not.toContain('packages/')
    }
  })
})

describe.skipIf(noPython !== undefined)('both verifiers establish', () => {
  it('the vectors of delegations', () => {
    const file = path.join(VERIFIER_FOLDER, '../vectors/lineage.json')
    const wanted = (JSON.parse(fs.readFileSync(file, 'utf8')) as { vectors: { name: string; expect: string }[] }).vectors.map(({ name, expect: expected }) => [name, expected])
    const { stdout, stderr } = spawnSync('python3', ['-c', RUN_VECTORS, VERIFIER_FOLDER, file], { encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual(wanted)
  })

  it('the vectors of actions', () => {
    const file = path.join(VERIFIER_FOLDER, '../vectors/action.json')
    const wanted = (JSON.parse(fs.readFileSync(file, 'utf8')) as { vectors: { name: string; expect: string; digest?: string }[] }).vectors.map(({ name, expect: expected, digest }) => [name, expected, digest ?? null])
    const { stdout, stderr } = spawnSync('python3', ['-c', RUN_ACTIONS, VERIFIER_FOLDER, file], { encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual(wanted)
  })

  it('a bundle with every kind of entry, with and without the key of its gate', async () => {
    const [one, two] = await both([given('given', bytesOf(A.bundle)), { ...given('enrolled', bytesOf(A.bundle)), gateKeys: [] }])
    expect(one).toMatchObject({ verdict: 'established', entries: 77, permits: 12, receipts: 4 })
    expect(two?.verdict).toBe('established')
  })

  it('what a real plane exports: pulled and carried, denied by plane and gate, lost and resolved, erased, linked, of one execution and of all', async () => {
    const rig = await Rig.open('second', policySet(`@risk("low") ${PERMIT_ALL}\nforbid (principal, action, resource) when { context.args has force && context.args.force };`))
    try {
      const gate = await rig.gate()
      const other = await rig.gate()
      const key = rig.key
      const pull = await gate.permit(gate.request(toolCall('read_file', { path: '/ü\u2028\u{1f600}\ue000', '\u{10000}': 1, '\ue000': 2, 'n': [1e21, 0.1, 1e-7, -3, 123456789.25] })))
      await gate.report(gate.receiptFor(pull.permit.jti, pull.leaf, { outcome: 'failed', cause: 'tool_error' }))
      expect((await gate.authorize(gate.request(toolCall('read_file', { force: true })))).decision).toBe('deny')
      const early = (await rig.plane.log.published()).note
      const carried = await issue(rig.plane, other)
      await redeem(rig.plane, other, carried, rig.token())
      const lost = await gate.permit()
      const unspent = await issue(rig.plane, gate)
      const denial = accountFor(gate, { tenant: 'default', session: gate.session, sequence: 0, time: rig.clock.wallMs(), code: 'challenge_mismatch' })
      await rig.plane.denial({ session: gate.session, denial, lost: 2 }, gate.id)
      rig.clock.advance(900_000)
      expect(await endOverdue(rig.plane.log, rig.clock.wallMs())).toBe(3)
      await gate.report(gate.receiptFor(lost.permit.jti, lost.leaf))
      await other.report(other.receiptFor(carried.permit.jti, carried.leaf))
      const bundles: [string, Bundle][] = [['all', await rig.plane.reader.evidence('all')], ['pull', await rig.plane.reader.evidence(pull.permit.jti)], ['carried', await rig.plane.reader.evidence(carried.permit.jti)], ['lost', await rig.plane.reader.evidence(lost.permit.jti)], ['unspent', await rig.plane.reader.evidence(unspent.permit.jti)]]
      await rig.plane.erase(pull.permit.jti, false, rig.plane.sub)
      bundles.push(['erased', await rig.plane.reader.evidence('all')], ['erased, of one', await rig.plane.reader.evidence(pull.permit.jti)])
      bundles.push(['linked', await rig.plane.reader.evidence('all', early)])
      const cases = bundles.flatMap(([title, bundle]): Case[] => [{ title, bytes: bytesOf(bundle), key, checkpoints: [early] }, { title, bytes: bytesOf(bundle), key, gateKeys: [signingKey(gate.publicKey, sha256)] }])
      for (const opinion of await both(cases)) expect(opinion.verdict).toBe('established')
      const kinds = new Set(bundles.at(-1)?.[1].entries.map(({ entry }) => parseEntry(entry).kind))
      expect(kinds).toEqual(new Set(['deny', 'erasure', 'expiry', 'gate', 'key', 'permit', 'policy', 'receipt', 'redemption', 'tool']))
    } finally {
      await rig.remove()
    }
  })

  it('ATK-062: from whichever key of a log is held exactly what keys that it leads to signed below the index from which each is revoked', async () => {
    await agreed([...keyCases()])
  })
  it('ATK-091: what calls a tool rests on the definition that somebody pinned, and every pin on what was seen and on the one before', async () => {
    await agreed([...toolCases()])
  })

  it('what a receipt may state of its assurance', async () => {
    await agreed([...assuranceCases()])
    // What only somebody else could see is said to be not established, by both, and refuses nothing.
    for (const { title, bundle, policy, isUnseen } of unseenCases()) {
      const one: Case = { title, bytes: bytesOf(bundle), key: LOG_KEY, nowSeconds: NOW, ...(policy === undefined ? {} : { policy }) }
      const report = verifyBundle(bundle, { crypto: nodeCryptography, logKey: LOG_KEY, gateKeys: [], ...(policy === undefined ? {} : { witnesses: { policy: parseWitnessPolicy(utf8(policy), sha256), nowSeconds: NOW } }) })
      const [second] = (await secondOpinions([one])) as unknown as [{ verdict: string; not_established: readonly string[] }]
      expect([title, report.verdict, report.findings.some(({ claim }) => claim.startsWith('the assurance that'))]).toEqual([title, 'established', isUnseen])
      expect([title, second.verdict, second.not_established.some((text) => text.startsWith('the assurance'))]).toEqual([title, 'established', isUnseen])
    }
  })

  it('the vectors of assurance', () => {
    const file = path.join(VERIFIER_FOLDER, '../vectors/assurance.json')
    const wanted = (JSON.parse(fs.readFileSync(file, 'utf8')) as { vectors: { name: string; expect: string }[] }).vectors.map(({ name, expect: expected }) => [name, expected])
    const { stdout, stderr } = spawnSync('python3', ['-c', RUN_ASSURANCE, VERIFIER_FOLDER, file], { encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual(wanted)
  })

  it('a bundle with anchors of a real authority, a file and an endpoint; the imprint of its token is looked at, its signature is said not to be', async () => {
    const [rig, tsa] = [new Rig('anchored'), new OpensslTsa()]
    const server = await serve(opensslAnswer(tsa, 'clock'))
    const copies = await serve((_request, response) => response.end('stored'))
    try {
      tsa.root('root')
      tsa.issue('clock', 'root', 'tsa', 'rsa')
      const ports = { clock: rig.clock, rng: rig.rng, sha256 }
      const sinks = [{ type: 'rfc3161', url: server.url }, { type: 'file', path: path.join(root, 'anchors.jsonl') }, { type: 'http', url: copies.url }] as const
      rig.anchors = { sinks: sinks.map((sink) => makeSink(sink, ports)), intervalMs: 3_600_000, report: () => undefined }
      await rig.start()
      await (await rig.gate()).permit()
      await rig.plane.anchors.now()
      const bundle = await rig.plane.reader.evidence('all')
      expect(bundle.anchors.map(({ type }) => type).sort()).toEqual(['file', 'http', 'rfc3161'])
      const anchored: Case = { title: 'anchored', bytes: bytesOf(bundle), key: rig.key }
      expect((await both([anchored]))[0]?.verdict).toBe('established')
      expect((await secondOpinions([anchored]))[0]).toMatchObject({ not_checked: expect.arrayContaining([expect.stringContaining('timestamp token')]) })
      const others = bundle.anchors.map((anchor) => (anchor.type === 'rfc3161' ? { ...anchor, token: fs.readFileSync(new URL('../spec/vectors/anchor.json', import.meta.url), 'utf8').match(/"token": ?"([^"]+)"/)?.[1] as string } : anchor))
      expect((await both([{ ...anchored, bytes: bytesOf({ ...bundle, anchors: others }) }]))[0]?.verdict).toBe('contradicted')
    } finally {
      await server.close()
      await copies.close()
      await rig.remove()
      tsa.remove()
    }
  })

  it('logs of 0, 1, 2, 255, 256 and 257 entries, as bundles and as mirrors, and any checkpoint of them that is held', async () => {
    const key = canonicalText({ v: 1, seq: 0, time: NOW, tenant: 'default', kind: 'key', purpose: 'log', event: 'created', key: formatVerifierKey(LOG_KEY) })
    const cases: Case[] = []
    const mirrors: { folder: string; size: number; opinion: Opinion }[] = []
    for (const size of [0, 1, 2, 255, 256, 257]) {
      const texts = Array.from({ length: size }, (_, seq) => (seq === 0 ? key : canonicalText({ v: 1, seq, time: NOW + seq, tenant: 'default', kind: 'tool', target: 'mcp://fs', name: `é${seq}`, digest: `sha256:${'a'.repeat(64)}` })))
      const bundle = sealBundle(texts.map((text) => ({ text, bodies: [] })))
      const log = new TestLog()
      for (const text of texts) log.addText(text)
      const held = size === 0 ? [] : [log.note(1), log.note(Math.ceil(size / 2)), log.note(size)]
      cases.push({ ...given(`${size}`, bytesOf(bundle)), checkpoints: held })
      const folder = path.join(root, `mirror-${size}`)
      fs.mkdirSync(folder)
      fs.writeFileSync(path.join(folder, 'checkpoint'), bundle.checkpoint)
      for (const tile of tilesOf('entries', size)) {
        fs.mkdirSync(path.dirname(path.join(folder, tilePath(tile))), { recursive: true })
        fs.writeFileSync(path.join(folder, tilePath(tile)), encodeEntries(texts.slice(tile.index * 256, tile.index * 256 + tile.width)))
      }
      const verifier = new BundleVerifier({ crypto: nodeCryptography, logKey: LOG_KEY, gateKeys: [], checkpoints: held })
      verifier.head({ v: 1, origin: LOG_KEY.name, tenant: 'default', checkpoint: bundle.checkpoint })
      for (const text of texts) verifier.leaf(text)
      mirrors.push({ folder, size, opinion: { ...verifier.end(), contradicted: [] } })
    }
    for (const [i, opinion] of (await both(cases)).entries()) expect(opinion).toMatchObject({ verdict: 'established', entries: [0, 1, 2, 255, 256, 257][i] })
    const second = await secondOpinions(mirrors.map(({ folder, size }) => ({ ...given(`mirror ${size}`, new Uint8Array()), folder })))
    expect(second.map(counts)).toEqual(mirrors.map(({ opinion }) => counts(opinion)))
    // One byte of one entry, one entry less, and one byte after them.
    const tile = path.join(root, 'mirror-257/tile/entries/000')
    const whole = fs.readFileSync(tile)
    for (const changed of [Buffer.from(whole.toString('latin1').replace('mcp://fs', 'mcp://ft'), 'latin1'), whole.subarray(0, -1), Buffer.concat([whole, Buffer.alloc(1)]), Buffer.alloc(0)]) {
      fs.writeFileSync(tile, changed)
      expect((await secondOpinions([{ ...given('mirror', new Uint8Array()), folder: path.join(root, 'mirror-257') }]))[0]?.verdict).toBe('contradicted')
    }
  })

  it('what the program itself exports and mirrors, from its own command line: 0, and 13 where a byte is changed', { timeout: 60_000 }, async () => {
    const dir = path.join(root, 'plane')
    const demonstrated = run(['demo', '--json', '--output', path.join(root, 'demo.json')], { cwd: root })
    const plane = await startPlane(dir)
    const [bundle, mirror, key, demo] = [path.join(root, 'all.json'), path.join(root, 'mirror'), path.join(dir, 'log.vkey'), path.join(root, 'demo.json')]
    try {
      expect((await run(['doctor', '--dir', dir])).exit).toBe(0)
      expect((await run(['export', 'all', '-o', bundle, '--dir', dir])).exit).toBe(0)
      expect((await run(['log', 'mirror', mirror, '--dir', dir])).exit).toBe(0)
    } finally {
      await end(plane.child)
    }
    expect((await demonstrated).exit).toBe(0)
    const python = (...args: string[]): { status: number | null; stdout: string } => spawnSync('python3', [path.join(VERIFIER_FOLDER, 'verify.py'), ...args], { encoding: 'utf8' })
    for (const [file, under] of [[bundle, key], [mirror, key], [demo, `${demo}.vkey`]] as const) {
      const first = await run(['verify', file, '--key', under, '--json'])
      const second = python(file, '--key', under, '--json')
      expect([first.exit, second.status], file).toEqual([0, 0])
      expect(counts(JSON.parse(second.stdout) as Opinion), file).toEqual(counts(JSON.parse(first.stdout) as Opinion))
    }
    fs.writeFileSync(bundle, fs.readFileSync(bundle, 'utf8').replace('mcp.tool_call', 'mcp.tool_calL'))
    expect([(await run(['verify', bundle, '--key', key])).exit, python(bundle, '--key', key).status]).toEqual([13, 13])
    expect(python(mirror, '--key', fs.readFileSync(`${demo}.vkey`, 'utf8')).status).toBe(13)
    expect(python(bundle, '--key', 'nonsense').status).toBe(2)
    expect(python(bundle).status).toBe(2)
    expect(python(path.join(root, 'nothing'), '--key', key).status).toBe(2)
  })
})

describe.skipIf(noPython !== undefined)('both verifiers ask for', () => {
  const policy = (lines: string): string => `${WITNESSES.map(({ key }, i) => `witness ${'abc'[i]} ${formatCosignerKey(key)}\n`).join('')}${lines}`
  const TWO = policy('group two 2 a b c\nquorum two\n')
  const witnessed = richBundle('w', (note) => cosigned(note, WITNESSES.slice(0, 2)))
  const under = (title: string, lines: string, more: Partial<Case> = {}): Case => ({ ...given(title, bytesOf(witnessed.bundle)), policy: lines, nowSeconds: NOW, ...more })

  it('the quorum of a witness policy, from the witnesses that it names', async () => {
    const one = bytesOf(richBundle('w', (note) => cosigned(note, WITNESSES.slice(0, 1))).bundle)
    const forged = keyPair('somebody else')
    const cases: [string, Case][] = [
      ['established', under('two of three', TWO)],
      ['established', under('all of two', policy('group both all a b\nquorum both\n'))],
      ['established', under('nested', policy('group ab all a b\ngroup any any ab c\nquorum any\n'))],
      ['established', under('nobody', 'quorum none\n')],
      ['established', under('its log', `log ${formatVerifierKey(LOG_KEY)}\n${TWO}`)],
      ['contradicted', under('another log', `log ${formatVerifierKey(noteKey(LOG_KEY.name, keyPair('other log').publicKey, sha256))}\n${TWO}`)],
      ['contradicted', under('all three', policy('group three all a b c\nquorum three\n'))],
      ['contradicted', under('the third', policy('quorum c\n'))],
      ['contradicted', { ...under('only one cosigned', TWO), bytes: one }],
      ['contradicted', { ...under('nobody cosigned', TWO), bytes: bytesOf(A.bundle) }],
      ['contradicted', under('cosigned in the future', TWO, { nowSeconds: NOW - 31 })],
      ['established', under('cosigned a little ahead', TWO, { nowSeconds: NOW - 30 })],
      ['contradicted', { ...under('cosigned by another key', TWO), bytes: bytesOf(richBundle('w', (note) => cosigned(note, [{ key: WITNESSES[0]?.key as never, sign: forged.sign }, ...WITNESSES.slice(1)])).bundle) }],
      ['contradicted', { ...under('cosigned twice by one', TWO), bytes: bytesOf(richBundle('w', (note) => cosigned(note, [...WITNESSES, ...WITNESSES.slice(0, 1)])).bundle) }],
      ['contradicted', { ...under('cosigned before 1970 + 2^53', TWO, { nowSeconds: 2 ** 53 - 1 }), bytes: bytesOf(richBundle('w', (note) => cosigned(note).replace(/(b\.test\/w )\S+/, `$1${toBase64(new Uint8Array([...Buffer.from(WITNESSES[1]?.key.id as string, 'hex'), ...new Uint8Array(72).fill(255)]))}`)).bundle) }],
    ]
    const opinions = await both(cases.map(([, one]) => one))
    expect(opinions.map(({ verdict }, i) => [cases[i]?.[1].title, verdict])).toEqual(cases.map(([verdict, { title }]) => [title, verdict]))
  })

  it('the history that somebody holds', async () => {
    const log = new TestLog()
    for (const { text } of A.drafts) log.addText(text)
    const fork = new TestLog()
    for (const { text } of B.drafts) fork.addText(text)
    const some = bytesOf({ ...A.bundle, entries: A.bundle.entries.slice(3) })
    const whole = A.drafts.length
    const cases: Case[] = [1, 7, 8, whole - 1, whole].flatMap((size) => [log, fork].map((one) => ({ ...given(`${size} of ${one === log ? 'the log' : 'a fork'}`, size === 8 || size === whole ? some : bytesOf(A.bundle)), checkpoints: [one.note(size)] })))
    expect((await both(cases)).map(({ verdict }) => verdict)).toEqual(cases.map(({ title }) => (title.endsWith('the log') || title.startsWith('1 ') ? 'established' : 'contradicted')))
    expect((await both([{ ...given('unlinked', some), checkpoints: [fork.note(7)] }, { ...given('another key', some), checkpoints: ['x'] }])).map(({ verdict }) => verdict)).toEqual(['established', 'contradicted'])
  })
})
describe.skipIf(noPython !== undefined)('ATK-073, S34: both verifiers refuse', () => {
  it('every part of a bundle in the place of the same part of another, and of another entry of its own', { timeout: TIMEOUT_MS }, async () => {
    const cases: Case[] = []
    for (const { title, value } of swapped(A.bundle as never, B.bundle as never)) if (title !== 'everything of another') cases.push(given(title, utf8(formatBundle(value as never))))
    const { entries } = A.bundle
    let n = 0
    for (let i = 0; i < entries.length; i++) for (let j = 0; j < entries.length; j++) for (const part of ['entry', 'proof', 'bodies'] as const) {
      if (i === j || JSON.stringify(entries[i]?.[part]) === JSON.stringify(entries[j]?.[part]) || (part === 'bodies' && entries[j]?.bodies.length === 0) || n++ % SAMPLE !== 0) continue
      cases.push(given(`${part} ${j} at ${i}`, bytesOf({ ...A.bundle, entries: entries.map((e, k) => (k === i ? { ...e, [part]: entries[j]?.[part] } : e)) as never })))
    }
    expect(refusals(cases, await both(cases))).toBeGreaterThan(500)
  })

  it('one byte changed at any place, and every line dropped, doubled, moved or cut', { timeout: TIMEOUT_MS }, async () => {
    const bytes = bytesOf(A.bundle)
    const edits = [...byteEdits(bytes, Math.ceil(9_600 / SAMPLE), 5)].map(({ title, value }) => given(title, value))
    expect(refusals(edits, await both(edits), (title) => /\\"(where|answer)\\":\\"[^"]*"$|\\"time\\":\d*"$/.test(title))).toBeGreaterThan(700)
    const lines = [...lineEdits(bytes)].map(({ title, value }) => given(title, value))
    const found = await both(lines)
    // A bundle may leave entries, links, anchors and policy sets out, and name a link twice; it is another bundle then.
    const kept = lines.filter((_, i) => found[i]?.verdict === 'established').map(({ title }) => title.replace(/\d+/g, 'N'))
    expect([...new Set(kept)].filter((title) => !/left out|dropped|twice|doubled|exchanged|to the end|moved down/.test(title))).toEqual([])
    expect(lines.length - kept.length).toBeGreaterThan(150)
  })

  it('what breaks one rule in a tree that is signed as it should be', { timeout: TIMEOUT_MS }, async () => {
    const cases = [...brokenRules(A)].map(({ title, value }) => given(title, value))
    expect(refusals(cases, await both(cases), (title) => title === 'a receipt under another entry id')).toBeGreaterThan(150)
  })

  it('leaves, claims and headers that are not canonical or not closed, hashed and signed anew', { timeout: TIMEOUT_MS }, async () => {
    const cases: Case[] = []
    let n = 0
    for (const [i, { text }] of A.drafts.entries()) {
      const label = Object.keys(A.at).find((name) => A.at[name] === i) as string
      const add = (title: string, changed: () => string): void => {
        if (n++ % SAMPLE === 0) cases.push(given(`${label}: ${title}`, bytesOf(sealBundle([...A.drafts.slice(0, i), { text: changed(), bodies: [] }]))))
      }
      for (const { title, value } of notCanonical(text)) if (value !== text) add(`not canonical, ${title}`, () => value)
      for (const { title, value } of otherForms(text)) add(title, () => value)
      const entry = parseEntry(text) as unknown as JsonObject
      for (const [member, typ] of [['receipt', 'execution-receipt+jwt'], ['denial', 'execution-denial+jwt']] as const) {
        const token = entry[member]
        if (typeof token !== 'string') continue
        const payload = Buffer.from(token.split('.')[1] as string, 'base64url').toString()
        const header = canonicalText({ alg: 'Ed25519', kid: GATE_KEY.kid, typ })
        const put = (changed: string) => (): string => canonicalText({ ...entry, [member]: changed })
        for (const { title, value } of notCanonical(payload)) if (value !== payload) add(`claims, not canonical, ${title}`, () => put(accountOf(value, header))())
        for (const { title, value } of otherForms(payload)) add(`claims, ${title}`, () => put(accountOf(value, header))())
        for (const { title, value } of [...notCanonical(header), ...otherForms(header)]) if (value !== header) add(`header, not canonical, ${title}`, () => put(accountOf(payload, value))())
        const [head, claims, mark] = token.split('.') as [string, string, string]
        for (const changed of [`${head}.${claims}.${mark}=`, `${head}.${claims}.`, `${head}.${claims}`, `${token}.`, `${head}=.${claims}.${mark}`, `${head}.${claims}.${mark.slice(0, -1)}${mark.endsWith('A') ? 'B' : 'R'}`, ` ${token}`]) add(`not canonical, the token ${changed.slice(-12)}`, put(changed))
      }
    }
    const found = await both(cases)
    refusals(cases.filter(({ title }) => title.includes('not canonical')), found.filter((_, i) => cases[i]?.title.includes('not canonical')))
    expect(found.filter(({ verdict }) => verdict === 'contradicted').length).toBeGreaterThan(cases.length * 0.8)
  })

  it('lines of another form', { timeout: TIMEOUT_MS }, async () => {
    const lines = formatBundle({ ...A.bundle, anchors: [...A.bundle.anchors, { type: 'rfc3161', checkpoint: A.bundle.checkpoint, token: toBase64(sha256(anchoredBytes(A.bundle.checkpoint, LOG_KEY, crypto))) } as Anchor] }).split('\n')
    const cases: Case[] = []
    let n = 0
    for (const [i, line] of lines.entries()) {
      if (!line.startsWith('{') || line.includes('rfc3161')) continue
      const [text, after] = i === 0 ? [`${line.slice(0, -1)}}`, ','] : [line.replace(/,$/, ''), line.endsWith(',') ? ',' : '']
      const all = formatBundle(A.bundle).split('\n')
      const at = all.indexOf(line) < 0 ? all.indexOf(text) : all.indexOf(line)
      if (at < 0) continue
      for (const { title, value } of [...notCanonical(text), ...otherForms(text, (object) => JSON.stringify(object))]) {
        if (n++ % (SAMPLE * 3) === 0 || i === 0) cases.push(given(`line ${i}, ${title}`, utf8([...all.slice(0, at), (i === 0 ? value.slice(0, -1) : value) + after, ...all.slice(at + 1)].join('\n'))))
      }
    }
    const found = await both(cases)
    expect(found.filter(({ verdict }) => verdict === 'contradicted').length).toBeGreaterThan(100)
  })

  it('a receipt whose gate is nowhere enrolled, by the key that the verifier holds', async () => {
    const [first, ...rest] = A.drafts
    const without = [first, ...rest].filter((_, i) => i <= (A.at['receipt'] as number)).map((draft, i) => (i === A.at['enrolled'] ? { text: canonicalText({ v: 1, seq: i, time: NOW * 1_000 + i, tenant: 'default', kind: 'tool', target: 'mcp://x', name: 'x', digest: `sha256:${'a'.repeat(64)}` }), bodies: [] } : draft)) as typeof A.drafts
    const forged = signingKey(keyPair('somebody else').publicKey, sha256)
    const opinions = await both([given('held', bytesOf(sealBundle(without))), { ...given('not held', bytesOf(sealBundle(without))), gateKeys: [forged] }])
    expect(opinions.map(({ verdict }) => verdict)).toEqual(['established', 'established'])
    const token = (JSON.parse((without.at(-1) as { text: string }).text) as { receipt: string }).receipt
    const spoiled = [...without.slice(0, -1), { text: (without.at(-1) as { text: string }).text.replace(token, `${token.slice(0, -8)}AAAAAAAA`), bodies: [] }]
    expect((await both([given('a wrong signature', bytesOf(sealBundle(spoiled)))]))[0]?.verdict).toBe('contradicted')
  })

  it('more than two thousand bundles in all', () => {
    expect(refused).toBeGreaterThan(2_000)
  })
})

/** How many were refused; those that were not must be excused by name. */
function refusals(cases: readonly Case[], found: readonly Opinion[], isUnbound: (title: string) => boolean = (title) => /^\/anchors\/\d\/(where|time|answer)/.test(title)): number {
  const kept = cases.filter(({ title }, i) => found[i]?.verdict !== 'contradicted' && !isUnbound(title)).map(({ title }) => title)
  expect(kept).toEqual([])
  return found.filter(({ verdict }) => verdict === 'contradicted').length
}
