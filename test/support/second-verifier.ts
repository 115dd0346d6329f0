import { spawn, spawnSync } from 'node:child_process'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeCryptography } from '@sealwrit/control-plane'
import { Denied, formatLogKey, type NoteKey, parseBundle, parseWitnessPolicy, type SigningKey, toBase64Url, utf8, verifyBundle } from '@sealwrit/protocol'

export const VERIFIER_FOLDER: string = fileURLToPath(new URL('../../spec/verifier/', import.meta.url))
const RUNNER = fileURLToPath(new URL('./verify_many.py', import.meta.url))

/** Why the second verifier cannot run; undefined where it can. Where it is wanted and missing the run fails at once. */
export const noPython: string | undefined = ((): string | undefined => {
  const python = spawnSync('python3', ['-c', 'import sys; print(sys.version_info >= (3, 9))'], { encoding: 'utf8' })
  const openssl = spawnSync('openssl', ['version'], { encoding: 'utf8' })
  const why = python.stdout?.trim() === 'True' && openssl.status === 0 && /^OpenSSL [3-9]/.test(openssl.stdout) ? undefined : 'VOID: no python3 of 3.9 or newer, or no openssl 3, on the PATH: no second verifier looked at any bundle'
  if (why === undefined) return undefined
  if ((process.env['SEALWRIT_TEST_REQUIRE'] ?? '').split(',').includes('python')) throw new Error(why)
  process.stderr.write(`\n${why}\n`)
  return why
})()

/** A bundle, or the folder of a mirror, and what its verifier holds. */
export interface Case {
  readonly title: string
  readonly bytes: Uint8Array
  readonly folder?: string
  readonly key: NoteKey
  readonly gateKeys?: readonly SigningKey[]
  readonly checkpoints?: readonly string[]
  readonly policy?: string
  readonly nowSeconds?: number
}

export interface Opinion {
  readonly verdict: string
  readonly entries?: number
  readonly permits?: number
  readonly receipts?: number
  readonly contradicted: readonly string[]
}

/** What the verifier of `packages/protocol` says. */
export function firstOpinion({ bytes, key, gateKeys = [], checkpoints = [], policy, nowSeconds = 0 }: Case): Opinion {
  const witnesses = policy === undefined ? {} : { witnesses: { policy: parseWitnessPolicy(utf8(policy), nodeCryptography.sha256), nowSeconds } }
  try {
    const { verdict, entries, permits, receipts, findings } = verifyBundle(parseBundle(bytes), { crypto: nodeCryptography, logKey: key, gateKeys, checkpoints, ...witnesses })
    return { verdict, entries, permits, receipts, contradicted: findings.filter((found) => found.verdict === 'contradicted').map(({ claim }) => claim) }
  } catch (error) {
    if (error instanceof Denied) return { verdict: 'contradicted', contradicted: [`${error.code}: ${error.message}`] }
    throw error
  }
}

/** What the second verifier says of each, in one process. */
export async function secondOpinions(cases: readonly Case[]): Promise<Opinion[]> {
  const child = spawn('python3', [RUNNER], { stdio: ['pipe', 'pipe', 'inherit'] })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = new Promise<void>((resolve, reject) => child.once('error', reject).once('close', (code) => (code === 0 ? resolve() : reject(new Error(`the second verifier failed with ${code}`)))))
  child.stdin.on('error', () => undefined) // it failed; its exit says so
  for (const { bytes, folder, key, gateKeys = [], checkpoints = [], policy, nowSeconds = 0 } of cases) {
    const given = { key: formatLogKey(key), gate_keys: gateKeys.map(({ publicKey }) => toBase64Url(publicKey)), checkpoints, now: nowSeconds, ...(policy === undefined ? {} : { policy: Buffer.from(policy).toString('base64') }) }
    child.stdin.write(`${JSON.stringify({ ...given, ...(folder === undefined ? { bytes: Buffer.from(bytes).toString('base64') } : { folder: path.resolve(folder) }) })}\n`)
  }
  child.stdin.end()
  await ended
  return Buffer.concat(chunks).toString('utf8').trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Opinion)
}
