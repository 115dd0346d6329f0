import * as fs from 'node:fs'
import type { ForeignShown } from '@sealwrit/control-plane'
import { nodeClock, nodeCryptography } from '@sealwrit/gate'
import { Denied, DENIALS, type ForeignPlane, isObject, type JsonObject, MAX_WIRE_LINE, originOf, parseEntry, parseSealed, parseShownEntry, parseStrict, verifyAddressed, verifyForeign } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { configuredFederation } from '../local/federation.ts'
import { findFolder, type PlaneFolder, readVerifierKey } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'
import { selfLine } from '../self.ts'

/** Other planes whose word counts here, and how far their logs are known. */
export async function federationList(options: GlobalOptions): Promise<void> {
  const answer = await askPlane(findFolder(options.dir), 'federation.list', {})
  if (options.json === true) return json(answer)
  const { origin, planes, audiences } = answer
  line(`this plane is ${bold(plain(origin))}`)
  if (planes.length === 0) line('no other plane is trusted: `federation` in sealwrit.yaml names them')
  for (const { origin: other, accepts, max_age_seconds: maxAge, newest } of planes) {
    const known = newest === undefined ? yellow('nothing was taken yet') : `known to size ${newest.size}, taken ${newest.age_seconds} s ago at index ${newest.seq}`
    line(`  ${bold(plain(other))}  ${accepts.join(', ')}  ${known}  ${dim(`cosignatures of at most ${maxAge} s`)}`)
  }
  for (const audience of audiences) line(`  made for ${plain(audience)}`)
}

/** Checks what another plane made, offline, against the trust list of this folder. Whether it was spent, and what the plane knows of that log, the plane says. */
export function federationCheck(file: string, options: GlobalOptions): void {
  const folder = findFolder(options.dir)
  const { trusted } = configuredFederation(folder) ?? { trusted: new Map<string, ForeignPlane>() }
  const shown = readForeign(file)
  try {
    const { sealed } = parseShownEntry(shown)
    const seal = parseSealed(sealed)
    const origin = originOf(seal)
    const entry = parseEntry(seal.entry)
    const { kind } = entry
    const checked = verifyForeign(shown, { crypto: nodeCryptography, trusted, nowSeconds: Math.floor(nodeClock.wallMs() / 1_000) })
    if (entry.kind !== 'permit' && entry.kind !== 'voucher') throw new Denied('type_mismatch', `nothing is taken from a ${kind} entry`)
    verifyAddressed(entry, checked.plane, readVerifierKey(folder.verifierKey).name)
    if (options.json === true) return json({ origin, kind, size: checked.checkpoint.size, leaf_hash: checked.leafHash, fresh_until: checked.freshUntilSeconds })
    line(`${green('holds')}  a ${plain(kind)} of ${plain(origin)}, under its checkpoint of size ${checked.checkpoint.size}, fresh until ${new Date(checked.freshUntilSeconds * 1_000).toISOString()}`)
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    if (options.json !== true) line(red(`${error.code}  ${plain(error.message)}`))
    throw new CliError(`${error.code}: ${DENIALS[error.code].meaning}`, { exit: EXIT.denied, code: error.code, hint: DENIALS[error.code].hint })
  }
}

/** Seals what was made for another plane anew, from the checkpoint that it knows, into the same file. */
export async function federationSeal(file: string, options: GlobalOptions & { known: string }): Promise<void> {
  const shown = readForeign(file)
  const { entry } = parseSealed(isObject(shown) ? shown['sealed'] : undefined)
  const { seq } = parseEntry(entry)
  const sealed = await sealFor(findFolder(options.dir), seq, knownSize(options.known))
  fs.writeFileSync(file, `${JSON.stringify(sealed)}\n`, { mode: 0o600 })
  if (options.json === true) json({ file, seq })
  else line(`entry ${seq} is sealed anew in ${plain(file)}`)
}

/** An entry as the other plane takes it. */
export function sealFor(folder: PlaneFolder, seq: number, known: number): Promise<ForeignShown> {
  return askPlane(folder, 'federation.seal', { seq, known })
}

/** Has the plane say to another one that a person is an approver here, and writes it. */
export async function approverVoucher(who: string, options: GlobalOptions & { for: string; known: string; key?: string; output: string }): Promise<void> {
  const { sealed, consistency, seq, exp } = await askPlane(findFolder(options.dir), 'federation.vouch', { who, key: options.key, audience: options.for, known: knownSize(options.known) })
  writeForeign(options.output, { sealed, consistency })
  if (options.json === true) return json({ file: options.output, seq, exp })
  line(`voucher for ${plain(who)} in ${plain(options.output)}, recorded at index ${seq}; it can be used at ${plain(options.for)} until ${new Date(exp * 1_000).toISOString()}`)
}

export function writeForeign(file: string, shown: ForeignShown): void {
  try {
    fs.writeFileSync(file, `${JSON.stringify(shown)}\n`, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CliError(code === 'EEXIST' ? `${file} exists already` : `${file} cannot be written (${code})`, { hint: 'choose another file with -o' })
  }
}

/** What another plane made, from a file; its verifier reads it. @throws {CliError} */
export function readForeign(file: string): JsonObject {
  try {
    if (fs.statSync(file).size > MAX_WIRE_LINE) throw new CliError(`${file} is larger than ${MAX_WIRE_LINE} bytes`)
    const value = parseStrict(fs.readFileSync(file))
    if (isObject(value)) return value
  } catch (error) {
    if (error instanceof CliError) throw error
    if (!(error instanceof Denied)) throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  throw new CliError(`${file} is not what another plane made`, { hint: `there: ${selfLine('issue', 'ACTION', '--audience', 'ORIGIN', '-o', 'FILE')}` })
}

/** How far the other plane knows this log: the size that `federation list` says there. */
export function knownSize(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new CliError('--known takes the size that `sealwrit federation list` says at the other plane; 0 where it took nothing yet', { exit: EXIT.usage })
  return Number(text)
}
