import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { canonicalize, Denied, digestOf, fromUtf8, isObject, type JsonObject, type JsonValue, parseBundle, parseStrict, type Report, signingKey, fromBase64Url, verifyBundle } from '@sealwrit/protocol'
import { CliError, EXIT, fromDenied } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { findFolder, readVerifierKey } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, memberText, plain, red, yellow } from '../output.ts'
import { selfLine } from '../self.ts'

/** Lists what the log holds, newest last. */
export async function log(options: GlobalOptions & { limit: string; kind?: string[]; before?: string }): Promise<void> {
  const limit = wholeNumber('--limit', options.limit, 1_000)
  const params: Record<string, JsonValue> = { limit }
  if (options.before !== undefined) params['before'] = wholeNumber('--before', options.before, Number.MAX_SAFE_INTEGER)
  if (options.kind !== undefined) params['kinds'] = options.kind
  const answer = (await askPlane(findFolder(options.dir), 'log.list', params)) as unknown as { entries: JsonObject[]; next?: number }
  if (options.json === true) return json(answer)
  for (const entry of answer.entries.reverse()) line(describe(entry))
  if (answer.next !== undefined) line(dim(`older: sealwrit log --before ${answer.next}`))
}

function describe(entry: JsonObject): string {
  const { seq, time, kind } = entry as { seq: number; time: number; kind: string }
  const when = new Date(time).toISOString().replace('T', ' ').slice(0, 19)
  return `${String(seq).padStart(6)}  ${dim(when)}  ${paintKind(kind)}  ${plain(detail(entry))}`
}

function paintKind(kind: string): string {
  const padded = kind.padEnd(7)
  if (kind === 'deny') return red(padded)
  return kind === 'permit' || kind === 'receipt' ? green(padded) : yellow(padded)
}

function detail(entry: JsonObject): string {
  const scope = entry['scope'] as { target?: string; name?: string } | undefined
  const act = entry['act'] as { sub?: string; verified?: boolean } | undefined
  const what = scope === undefined ? '' : `${scope.target}/${scope.name}`
  const who = act === undefined ? '' : `${act.sub}${act.verified === true ? '' : ' (unverified)'}`
  const text = (name: string): string => memberText(entry[name])
  switch (entry['kind']) {
    case 'permit':
      return `${what}  ${who}  ${text('jti')}`
    case 'deny':
      return [text('code'), what, who, 'denial' in entry ? 'by the gate' : ''].filter((part) => part !== '').join('  ')
    case 'receipt':
      return `${receiptOutcome(text('receipt'))}  ${text('jti')}`
    case 'expiry':
      return `${text('outcome')}  ${text('jti')}`
    case 'policy':
      return `epoch ${text('epoch')}  ${(entry['policies'] as readonly string[]).join(', ')}`
    case 'gate':
      return `${text('event')}  ${text('gate')}`
    case 'tool':
      return `${text('target')}/${text('name')}  ${text('digest').slice(0, 19)}…`
    case 'key':
      return `${text('event')}  ${text('key')}`
    default:
      return ''
  }
}

/** The claims of a receipt for display; whether they are genuine is for `verify` to say. */
function claimsOf(token: string): JsonObject {
  try {
    const claims = parseStrict(fromBase64Url(token.split('.')[1] ?? ''))
    return isObject(claims) ? claims : {}
  } catch {
    return {}
  }
}

function receiptOutcome(token: string): string {
  const { outcome, cause } = claimsOf(token) as { outcome?: string; cause?: string }
  return `${outcome ?? 'unreadable'}${cause === undefined ? '' : ` (${cause})`}`
}

/** Shows one execution or entry, stage by stage. */
export async function show(id: string, options: GlobalOptions): Promise<void> {
  const answer = (await found(id, askPlane(findFolder(options.dir), 'executions', { id }))) as unknown as { entries: JsonObject[]; bodies: { purpose: string; body?: JsonValue }[] }
  if (options.json === true) return json(answer)
  for (const entry of answer.entries) {
    line(describe(entry))
    for (const [name, value] of Object.entries(entry)) {
      if (name === 'receipt' || name === 'denial') continue
      line(`        ${dim(name.padEnd(14))} ${plain(memberText(value))}`)
    }
    const token = entry['receipt'] ?? entry['denial']
    if (typeof token === 'string') for (const [name, value] of Object.entries(claimsOf(token))) line(`          ${dim(name.padEnd(12))} ${plain(memberText(value))}`)
  }
  for (const { purpose, body } of answer.bodies) line(`        ${bold(purpose)} ${body === undefined ? dim('(only its digest is kept)') : plain(JSON.stringify(body))}`)
}

/** The plane's answer about `id`, or what to do when there is nothing of that name. */
async function found(id: string, answer: Promise<JsonValue>): Promise<JsonValue> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof CliError && error.code === 'request_malformed') throw new CliError(`the log holds no entry or execution \`${id.slice(0, 64)}\``, { hint: `list what there is: ${selfLine('log')}` })
    throw error
  }
}

/** Writes an evidence bundle. */
export async function exportEvidence(selector: string, options: GlobalOptions & { output?: string }): Promise<void> {
  const bundle = await found(selector, askPlane(findFolder(options.dir), 'evidence', { selector }))
  const text = `${JSON.stringify(bundle)}\n`
  if (options.output === undefined || options.output === '-') {
    process.stdout.write(text)
    return
  }
  writeNew(options.output, text)
  const { entries } = bundle as unknown as { entries: unknown[] }
  if (options.json === true) json({ file: options.output, entries: entries.length })
  else {
    line(`${entries.length} entries in ${options.output}. Check it offline:`)
    line(`  ${selfLine('verify', path.resolve(options.output), '--key', findFolder(options.dir).verifierKey)}`)
  }
}

function writeNew(file: string, text: string): void {
  try {
    fs.writeFileSync(file, text, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CliError(code === 'EEXIST' ? `${file} exists already` : `${file} cannot be written (${code})`, { hint: 'choose another file with -o' })
  }
}

/** Checks a bundle offline. */
export async function verify(file: string, options: GlobalOptions & { key?: string; gateKey?: string[] }): Promise<void> {
  const folder = findFolder(options.dir)
  const pinned = options.key === undefined
  if (pinned && !fs.existsSync(folder.verifierKey)) throw new CliError('no key to verify against', { exit: EXIT.usage, hint: 'give the log’s verifier key with --key KEY-OR-FILE' })
  const logKey = readVerifierKey(options.key ?? folder.verifierKey)
  const gateKeys = (options.gateKey ?? []).map((text) => {
    try {
      return signingKey(fromBase64Url(text), nodeCryptography.sha256)
    } catch {
      throw new CliError('--gate-key takes the base64url of a gate’s public key, as its enrolment entry shows it', { exit: EXIT.usage })
    }
  })
  const report = readReport(file, { crypto: nodeCryptography, logKey, gateKeys })
  if (options.json === true) json({ ...report, key: logKey.name, keyFrom: pinned ? folder.verifierKey : 'given' })
  else printReport(report, `${logKey.name}+${logKey.id}${pinned ? ` (pinned in ${folder.verifierKey})` : ' (given)'}`)
  if (report.verdict !== 'established') process.exitCode = EXIT.unverified
}

function readReport(file: string, trust: Parameters<typeof verifyBundle>[1]): Report {
  let bytes: Uint8Array
  try {
    bytes = fs.readFileSync(file)
  } catch (error) {
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  try {
    return verifyBundle(parseBundle(bytes), trust)
  } catch (error) {
    if (error instanceof Denied) throw new CliError(`${file} is not an evidence bundle: ${error.code}: ${error.message}`, { exit: EXIT.unverified, code: error.code })
    throw error
  }
}

function printReport(report: Report, key: string): void {
  const { findings, notShown } = report
  const paint = report.verdict === 'established' ? green : red
  line(`${paint(bold(report.verdict))}  ${report.entries} of ${report.size} entries of ${plain(report.origin)}: ${report.permits} permits, ${report.receipts} receipts, ${report.denials} denials`)
  line(`  log key ${plain(key)}`)
  const groups = new Map<string, number>()
  for (const { verdict, claim, seq } of findings) {
    if (verdict === 'established') groups.set(claim, (groups.get(claim) ?? 0) + 1)
    else line(`  ${verdict === 'contradicted' ? red(verdict) : yellow(verdict)}: ${plain(claim)}${seq === undefined ? '' : ` (entry ${seq})`}`)
  }
  for (const [claim, count] of groups) line(`  ${green('established')}: ${plain(claim)}${count === 1 ? '' : ` (${count} times)`}`)
  if (notShown.length > 0) line('  not shown by this bundle:')
  for (const sentence of notShown) line(`    - ${plain(sentence)}`)
}

/** Canonical bytes and digest of a JSON file, or the denial code. */
export async function canon(file: string, options: GlobalOptions): Promise<void> {
  let bytes: Uint8Array
  try {
    bytes = fs.readFileSync(file === '-' ? 0 : file)
  } catch (error) {
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  try {
    const canonical = canonicalize(parseStrict(bytes))
    const digest = digestOf(canonical, nodeCryptography.sha256)
    if (options.json === true) return json({ canonical: fromUtf8(canonical), digest })
    process.stdout.write(canonical)
    process.stdout.write(`\n${digest}\n`)
  } catch (error) {
    if (error instanceof Denied) throw new CliError(`${error.code}: ${error.message}`, { exit: EXIT.denied, code: error.code, hint: error.hint })
    throw error
  }
}

/** What would be decided about an action; nothing is issued or logged. */
export async function decide(file: string, options: GlobalOptions): Promise<void> {
  let value: JsonValue
  try {
    value = parseStrict(fs.readFileSync(file === '-' ? 0 : file))
  } catch (error) {
    if (error instanceof Denied) throw fromDenied(error)
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  const given = isObject(value) && 'action' in value ? value : { action: value }
  const action = isObject(given['action']) ? given['action'] : {}
  // A dry run has no server at hand: a tool without a digest is judged as if it were the recorded one.
  const withDigest = action['type'] === 'mcp.tool_call' && !('tool_digest' in action) ? { ...action, tool_digest: `sha256:${'0'.repeat(64)}` } : action
  const answer = (await askPlane(findFolder(options.dir), 'decide', { ...given, action: withDigest })) as JsonObject
  if (options.json === true) json(answer)
  else explain(answer)
  if (answer['decision'] !== 'permit') process.exitCode = EXIT.denied
}

function explain(answer: JsonObject): void {
  const { decision, code, policy, inputs, errors } = answer as unknown as { decision: string; code?: string; policy: { determining: string[]; epoch: number }; inputs: JsonObject; errors: string[] }
  line(`${decision === 'permit' ? green(bold('permit')) : red(bold(`${decision}${code === undefined ? '' : ` ${code}`}`))}  policy epoch ${policy.epoch}; a dry run, nothing was issued or logged`)
  line(policy.determining.length === 0 ? '  no policy matched' : `  decided by ${policy.determining.map(plain).join(', ')}`)
  for (const error of errors) line(`  ${red('error')} ${plain(error)}`)
  line('  what the policies saw:')
  for (const name of ['principal', 'action', 'resource', 'context']) line(`    ${name.padEnd(10)} ${plain(JSON.stringify(inputs[name]))}`)
  if (code === 'policy_no_match') line('  what would change it: a `permit` policy that matches exactly this, or facts that an existing one asks for')
  if (code === 'policy_denied') line('  what would change it: nothing but changing the `forbid` policy named above; permits cannot override it')
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text)
  if (!/^\d{1,16}$/.test(text) || value > max) throw new CliError(`${name} takes a whole number up to ${max}`, { exit: EXIT.usage })
  return value
}
