import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { type Crypto, LineReader, MAX_BUNDLE_LINE, parseEntry, parseVerifierKey, type Report } from '@sealwrit/protocol'
import { checkBundle } from '../packages/cli/src/evidence/check.ts'
import { Progress } from '../packages/cli/src/progress.ts'
import { workFolder } from './support/disk.ts'
import { type Figure, median, perSecond, time } from './support/figure.ts'
import { BenchGate, main, startPlane, stop } from './support/plane.ts'
import { mebibytes, run } from './support/process.ts'

const ROUNDS = 7
const IN_FLIGHT = 64
const [RECEIPTS, MANY] = [10_000, 100_000]

/** A plane that performed `count` executions, and the bundle of everything in its log. */
async function exported(count: number): Promise<{ file: string; key: string }> {
  const folder = path.join(workFolder(), String(count))
  fs.mkdirSync(folder)
  const { dir, child } = await startPlane(folder, 0)
  const gate = new BenchGate(dir)
  await gate.open()
  let left = count
  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
    while (left-- > 0) await gate.execute('before_reply')
  }))
  const file = path.join(folder, 'all.bundle')
  await run(main, ['export', 'all', '-o', file, '--dir', dir])
  gate.gate.close()
  await stop(child)
  return { file, key: path.join(dir, 'log.vkey') }
}

interface Signed {
  readonly key: KeyObject
  readonly message: Buffer
  readonly signature: Buffer
}

/** The receipts of a bundle, ready for one `verify` each: nothing parsed, hashed or compared in the baseline. */
function receiptsOf(file: string): Signed[] {
  const keys = new Map<string, KeyObject>()
  const out: Signed[] = []
  const lines = new LineReader(MAX_BUNDLE_LINE, (line) => {
    const text = Buffer.from(line).toString()
    if (!text.startsWith('{"entry"')) return
    const entry = parseEntry((JSON.parse(text.endsWith(',') ? text.slice(0, -1) : text) as { entry: string }).entry)
    if (entry.kind === 'gate' && entry.key !== undefined) keys.set(entry.gate, createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: entry.key }, format: 'jwk' }))
    if (entry.kind !== 'receipt') return
    const dot = entry.receipt.lastIndexOf('.')
    out.push({ key: keys.values().next().value as KeyObject, message: Buffer.from(entry.receipt.slice(0, dot)), signature: Buffer.from(entry.receipt.slice(dot + 1), 'base64url') })
  })
  lines.push(fs.readFileSync(file))
  return out
}

function verifyEach(receipts: readonly Signed[]): void {
  for (const { key, message, signature } of receipts) if (!verify(null, message, key, signature)) throw new Error('a receipt does not verify')
}

/** The primitives, with the time spent in each. */
function timed(crypto: Crypto): Crypto & { signatureMs: number; hashMs: number } {
  const out = {
    signatureMs: 0,
    hashMs: 0,
    sha256: (bytes: Uint8Array): Uint8Array => {
      const from = performance.now()
      const hash = crypto.sha256(bytes)
      out.hashMs += performance.now() - from
      return hash
    },
    verifyEd25519: (...args: Parameters<Crypto['verifyEd25519']>): boolean => {
      const from = performance.now()
      const isValid = crypto.verifyEd25519(...args)
      out.signatureMs += performance.now() - from
      return isValid
    },
  }
  return out
}

/** Offline verification of an evidence bundle, everything in it checked, against one signature verification a receipt. */
export async function p8(): Promise<Figure[]> {
  const { file, key } = await exported(RECEIPTS)
  const many = await exported(MANY)
  const logKey = parseVerifierKey(fs.readFileSync(key, 'utf8').trim(), nodeCryptography.sha256)
  const whole = async (jobs: number, crypto: Crypto = nodeCryptography): Promise<void> => {
    const report: Report = await checkBundle(file, { crypto, logKey, gateKeys: [] }, new Progress('verifying', true), jobs)
    if (report.verdict !== 'established' || report.receipts !== RECEIPTS) throw new Error('the bundle does not verify')
  }
  const receipts = receiptsOf(file)
  if (receipts.length !== RECEIPTS) throw new Error('receipts are missing')
  const cores = os.availableParallelism()
  const [bare, one, all]: [number[], number[], number[]] = [[], [], []]
  const [signatures, hashes]: [number[], number[]] = [[], []]
  await whole(cores)
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(await time(() => verifyEach(receipts)))
    const parts = timed(nodeCryptography)
    one.push(await time(() => whole(1, parts)))
    signatures.push(parts.signatureMs)
    hashes.push(parts.hashMs)
    all.push(await time(() => whole(cores)))
  }
  const part = (ms: number): string => `${((ms * 1_000) / RECEIPTS).toFixed(0)} µs a receipt`
  const rate = (values: readonly number[]): string => perSecond(RECEIPTS / (median(values) / 1_000))
  const processes = [[file, RECEIPTS, key], [many.file, MANY, many.key]] as const
  const rows: [string, string][] = [
    [`whole bundle, ${cores} threads, receipts a second`, rate(all)],
    ['whole bundle, 1 thread, receipts a second', rate(one)],
    ['one verification a receipt, 1 thread', rate(bare)],
    ['of one thread: signatures', part(median(signatures))],
    ['of one thread: SHA-256', part(median(hashes))],
    ['of one thread: everything else (parsing, forms, bodies, proofs, bookkeeping; two entries a receipt)', part(median(one.map((ms, i) => ms - (signatures[i] as number) - (hashes[i] as number))))],
  ]
  for (const [bundle, count, verifier] of processes) {
    const { seconds, peak } = await run(main, ['verify', bundle, '--key', verifier, '--json'])
    rows.push([`\`sealwrit verify\` of ${count.toLocaleString('en')} receipts, as a process`, `${seconds.toFixed(1)} s, peak ${mebibytes(peak)}, file ${mebibytes(fs.statSync(bundle).size / 2 ** 20)}`])
  }
  return [{
    id: 'P8', what: `offline verification of everything in a bundle of ${RECEIPTS.toLocaleString('en')} receipts, receipts a second`,
    baseline: 'one Ed25519 verification (node:crypto, KeyObject) a receipt on one thread, and nothing else', must: 5, stretch: 15, better: 'higher',
    ratio: median(bare) / median(all), rows, durability: 'nothing is written',
    note: 'each receipt carries a signature of its own, so on n cores the ceiling is n×: it would take receipts that share one signature (a signed tree of a gate’s receipts), or batch verification, which node:crypto does not offer; and lines parsed on other cores too',
  }]
}
