import * as fs from 'node:fs'
import * as path from 'node:path'
import { once } from 'node:events'
import { nodeClock, nodeCryptography } from '@sealwrit/gate'
import { fromBase64Url, type Report, type SigningKey, signingKey, type Trust } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { checkBundle } from '../evidence/check.ts'
import { evidenceLines } from '../evidence/collect.ts'
import { checkMirror, mirrorLog } from '../evidence/mirror.ts'
import { MAX_JOBS } from '../evidence/threads.ts'
import { readTsaTrust } from '../evidence/trust.ts'
import { HttpSource, PlaneSource } from '../evidence/source.ts'
import { found } from '../local/client.ts'
import { findFolder, readSecret, readVerifierKey } from '../local/folder.ts'
import { readWitnessPolicy } from '../local/witnesses.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'
import { Progress } from '../progress.ts'
import { selfLine } from '../self.ts'

/** Writes an evidence bundle, line by line as the plane proves it. */
export async function exportEvidence(selector: string, options: GlobalOptions & { output?: string; since?: string }): Promise<void> {
  const folder = findFolder(options.dir)
  const since = options.since === undefined ? undefined : readNote(options.since)
  const toFile = options.output !== undefined && options.output !== '-'
  const progress = new Progress('exporting', !toFile)
  let entries = 0
  const lines = evidenceLines(folder, selector, since, (done, total) => progress.at((entries = done), total, 'entries'))
  const first = await found(selector, lines.next()) // before a file is made
  const out = toFile ? openNew(options.output as string) : process.stdout
  const put = async (text: string): Promise<void> => void (out.write(`${text}\n`) || (await once(out, 'drain')))
  try {
    await put(first.value as string)
    for await (const text of lines) await put(text)
    if (toFile) await new Promise<void>((resolve, reject) => out.end(() => resolve()).once('error', reject))
  } catch (error) {
    if (toFile) fs.rmSync(options.output as string, { force: true }) // half a bundle is none
    throw error
  } finally {
    progress.end()
  }
  if (!toFile) return
  if (options.json === true) json({ file: options.output, entries })
  else {
    line(`${entries} entries in ${options.output}. Check it offline:`)
    line(`  ${selfLine('verify', path.resolve(options.output as string), '--key', folder.verifierKey)}`)
  }
}

function openNew(file: string): fs.WriteStream {
  try {
    return fs.createWriteStream(file, { fd: fs.openSync(file, 'wx', 0o600) })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CliError(code === 'EEXIST' ? `${file} exists already` : `${file} cannot be written (${code})`, { hint: 'choose another file with -o' })
  }
}

function readNote(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    throw new CliError(`checkpoint ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`, { exit: EXIT.usage })
  }
}

export interface VerifyOptions extends GlobalOptions {
  readonly key?: string
  readonly gateKey?: readonly string[]
  readonly checkpoint?: readonly string[]
  readonly replay?: boolean
  readonly tsaCert?: readonly string[]
  readonly witnessPolicy?: string
  readonly jobs?: string
  readonly foreignKey?: readonly string[]
  readonly foreignWitnessPolicy?: string
}

/** Checks a bundle, or a mirror of a log, offline. */
export async function verify(file: string, options: VerifyOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const pinned = options.key === undefined
  if (pinned && !fs.existsSync(folder.verifierKey)) throw new CliError('no key to verify against', { exit: EXIT.usage, hint: 'give the log’s verifier key with --key KEY-OR-FILE' })
  const jobs = options.jobs === undefined ? undefined : Number(options.jobs)
  if (jobs !== undefined && !(Number.isInteger(jobs) && jobs >= 1 && jobs <= MAX_JOBS)) throw new CliError(`--jobs takes a number from 1 to ${MAX_JOBS}`, { exit: EXIT.usage })
  const logKey = readVerifierKey(options.key ?? folder.verifierKey)
  const replay = options.replay === true ? { replay: new (await import('@sealwrit/control-plane')).DecisionReplay(nodeCryptography.sha256) } : {}
  const witnesses = options.witnessPolicy === undefined ? {} : { witnesses: { policy: readWitnessPolicy(options.witnessPolicy), nowSeconds: Math.floor(nodeClock.wallMs() / 1_000) } }
  const theirs = options.foreignWitnessPolicy === undefined ? undefined : readWitnessPolicy(options.foreignWitnessPolicy)
  const foreign = (options.foreignKey ?? []).map((key) => ({ key: readVerifierKey(key), witnesses: theirs }))
  const trust: Trust = { crypto: nodeCryptography, logKey, gateKeys: (options.gateKey ?? []).map(readGateKey), checkpoints: (options.checkpoint ?? []).map(readNote), tsa: readTsaTrust(options.tsaCert ?? []), foreign, ...witnesses, ...replay }
  const progress = new Progress('verifying', options.json === true)
  const isMirror = file !== '-' && fs.existsSync(file) && fs.statSync(file).isDirectory()
  if (isMirror && options.replay === true) throw new CliError('a mirror holds no inputs to replay', { exit: EXIT.usage, hint: 'replay a bundle: `sealwrit export all`' })
  const report = await assessed(isMirror ? await checkMirror(file, trust, progress) : await checkBundle(file, trust, progress, jobs), file, isMirror)
  if (options.json === true) json({ ...report, key: logKey.name, keyFrom: pinned ? folder.verifierKey : 'given' })
  else printReport(report, `${logKey.name}+${logKey.id}${pinned ? ` (pinned in ${folder.verifierKey})` : ' (given)'}`)
  if (report.verdict !== 'established') process.exitCode = EXIT.unverified
}

/** Of a whole log, its assessments are computed again. */
async function assessed(report: Report, file: string, isMirror: boolean): Promise<Report> {
  if (report.verdict === 'contradicted' || report.entries !== report.size || file === '-') return report
  const { bundleTexts, mirrorTexts, recompute } = await import('../assess/recompute.ts')
  const { maturityModel } = await import('../assess/model.ts')
  return recompute(report, () => (isMirror ? mirrorTexts(file) : bundleTexts(file)), maturityModel())
}

function readGateKey(text: string): SigningKey {
  try {
    return signingKey(fromBase64Url(text), nodeCryptography.sha256)
  } catch {
    throw new CliError('--gate-key takes the base64url of a gate’s public key, as its enrolment entry shows it', { exit: EXIT.usage })
  }
}

/** Lines of one kind that are printed; the rest are counted, and `--json` has them. */
const MAX_PRINTED = 20

function printReport(report: Report, key: string): void {
  const { findings, notShown, established, times } = report
  const paint = report.verdict === 'established' ? green : red
  line(`${paint(bold(report.verdict))}  ${report.entries} of ${report.size} entries of ${plain(report.origin)}: ${report.permits} permits, ${report.receipts} receipts, ${report.denials} denials`)
  line(`  log key ${plain(key)}`)
  for (const { verdict, claim, seq } of findings.slice(0, MAX_PRINTED)) line(`  ${verdict === 'contradicted' ? red(verdict) : yellow(verdict)}: ${plain(claim)}${seq === undefined ? '' : ` (entry ${seq})`}`)
  more(findings.length - MAX_PRINTED, 'findings')
  for (const { claim, count } of established) line(`  ${green('established')}: ${plain(claim)}${count === 1 ? '' : ` (${count} times)`}`)
  for (const { kind, sentence } of times) line(`  ${kind === 'external time' || kind === 'cosignature' ? green('time') : dim('time')}: ${plain(sentence)}`)
  if (notShown.length > 0) line('  not shown by this bundle:')
  for (const sentence of notShown.slice(0, MAX_PRINTED)) line(`    - ${plain(sentence)}`)
  more(notShown.length - MAX_PRINTED, 'sentences')
  more(report.omitted, 'findings beyond what a report holds')
}

function more(count: number, what: string): void {
  if (count > 0) line(`    … and ${count} further ${what}`)
}

/** Copies the whole log into a folder that any file server can serve, and `verify` accepts. */
export async function mirror(dir: string, options: GlobalOptions & { url?: string; tokenFile?: string; key?: string }): Promise<void> {
  const folder = findFolder(options.dir)
  if (options.key === undefined && !fs.existsSync(folder.verifierKey)) throw new CliError('no key to verify against', { exit: EXIT.usage, hint: 'give the log’s verifier key with --key KEY-OR-FILE' })
  const key = readVerifierKey(options.key ?? folder.verifierKey)
  const token = options.tokenFile === undefined ? undefined : readSecret(options.tokenFile)
  const source = options.url === undefined ? new PlaneSource(folder) : new HttpSource(options.url, token)
  fs.mkdirSync(dir, { recursive: true })
  const { origin, from, size } = await mirrorLog(source, dir, key, new Progress('mirroring', options.json === true))
  if (options.json === true) return json({ folder: path.resolve(dir), origin, added: size - from, size })
  line(`${size - from} entries added; ${path.resolve(dir)} holds all ${size} of ${plain(origin)}. Check it offline:`)
  line(`  ${selfLine('verify', path.resolve(dir), '--key', options.key === undefined ? folder.verifierKey : options.key)}`)
}
