import * as fs from 'node:fs'
import type { Explained } from '@sealwrit/control-plane/client'
import { nodeCryptography } from '@sealwrit/gate'
import { canonicalize, Denied, digestOf, type Entry, fromUtf8, isObject, type JsonObject, type JsonValue, lifecycleOf, parseStrict, peekClaims } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { drawLifeCycle, isUtf8 } from '../lifecycle/draw.ts'
import { askPlane, found } from '../local/client.ts'
import { findFolder } from '../local/folder.ts'
import { chosenIntent } from '../local/intent.ts'
import { evidenceText } from '../local/evidence.ts'
import { bold, dim, type GlobalOptions, green, json, line, memberText, plain, red, yellow } from '../output.ts'
import { readJson } from '../read-json.ts'

/** Lists what the log holds, newest last. */
export async function log(options: GlobalOptions & { limit: string; kind?: string[]; before?: string }): Promise<void> {
  const limit = wholeNumber('--limit', options.limit, 1_000)
  const before = options.before === undefined ? undefined : wholeNumber('--before', options.before, Number.MAX_SAFE_INTEGER)
  const answer = await askPlane(findFolder(options.dir), 'log.list', { limit, before, kinds: options.kind })
  if (options.json === true) return json(answer)
  for (const entry of answer.entries.toReversed()) line(describe(entry as unknown as JsonObject))
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
  const forWhat = 'intent' in entry ? `for ${memberText(entry['intent'])}` : ''
  const who = act === undefined ? '' : `${act.sub}${act.verified === true ? '' : ' (unverified)'}`
  const text = (name: string): string => memberText(entry[name])
  switch (entry['kind']) {
    case 'permit':
      return ['observed' in entry ? `OBSERVED, not governed: ${text('observed')}` : '', what, who, forWhat, evidence(entry['env']), entry['assurance'] === 'A4' || entry['assurance'] === 'A5' ? `demands ${entry['assurance']}` : '', text('jti')].filter((part) => part !== '').join('  ')
    case 'deny':
      return [text('code'), what, who, forWhat, 'denial' in entry ? 'by the gate' : ''].filter((part) => part !== '').join('  ')
    case 'receipt':
      return `${receiptOutcome(text('receipt'))}  ${text('jti')}`
    case 'revocation':
      return `${text('selector')}  by ${text('by')}`
    case 'kill':
      return `${text('event')}  ${text('selector')}  by ${text('by')}`
    case 'lease':
      return `${(entry['jtis'] as readonly string[]).length} executions of ${text('gate')}`
    case 'redemption':
      return `by ${text('aud')}  ${text('jti')}`
    case 'expiry':
      return `${text('outcome')}  ${text('jti')}`
    case 'policy':
      return ['event', 'mode'].flatMap((name) => (name in entry ? text(name) : [])).concat(`epoch ${text('epoch')}`, (entry['policies'] as readonly string[]).join(', ')).join('  ')
    case 'gate':
      return [text('event'), text('gate'), evidence(entry['env'])].filter((part) => part !== '').join('  ')
    case 'agent':
      return `${text('event')}  ${text('agent')}`
    case 'tool':
      return `${'event' in entry ? text('event') : 'seen'}  ${text('target')}/${text('name')}  ${text('digest').slice(0, 19)}…`
    case 'hold':
      return [what, who, forWhat, text('hold')].filter((part) => part !== '').join('  ')
    case 'approval':
      return [text('event'), text('hold'), text('person')].filter((part) => part !== '').join('  ')
    case 'key':
      if (entry['purpose'] === 'approver') return `approver ${text('event')}  ${text('person')}  ${((entry['groups'] ?? []) as readonly string[]).join(', ')}`
      if (entry['purpose'] === 'person') return `person ${text('event')}  ${text('person')}  ${text('role')}`
      return `${text('event')}  ${text('key')}`
    case 'assessment':
      return `level ${text('level')}  ${text('model')}  of ${text('size')} entries`
    case 'voucher':
      return `${text('person')}  for ${text('aud')}`
    case 'erasure':
      return `${text('cause')}  entries ${(entry['ranges'] as readonly { from: number; to: number }[]).map(({ from, to }) => (to === from + 1 ? from : `${from}-${to - 1}`)).join(', ')}`
    default:
      return ''
  }
}

/** What the environment rests on, wherever a person sees it. */
function evidence(env: JsonValue | undefined): string {
  const level = isObject(env) ? env['level'] : undefined
  return level === undefined ? '' : evidenceText(String(level))
}

function receiptOutcome(token: string): string {
  const { outcome, cause, assurance } = peekClaims(token) as { outcome?: string; cause?: string; assurance?: string }
  return `${outcome ?? 'unreadable'}${cause === undefined ? '' : ` (${cause})`}${assurance === undefined ? '' : `  ${assurance}`}`
}

/** Shows one execution or entry, stage by stage. */
export async function show(id: string, options: GlobalOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const ask = (which: string): Promise<{ entries: JsonObject[]; bodies: { purpose: string; body?: JsonValue }[] }> => found(which, askPlane(folder, 'executions', { id: which })) as never
  const answer = await ask(id)
  const jti = answer.entries.length === 1 ? answer.entries[0]?.['jti'] : undefined
  // One entry is not a life: it is drawn with all the others of its execution.
  const entries = typeof jti === 'string' && jti !== id ? (await ask(jti)).entries : answer.entries
  const isExecution = entries.some(({ kind }) => kind === 'permit' || kind === 'deny')
  const lifecycle = isExecution ? lifecycleOf(entries as unknown as Entry[]) : undefined
  if (options.json === true) return json({ ...answer, ...(lifecycle === undefined ? {} : { lifecycle }) })
  if (lifecycle !== undefined) for (const drawn of [...drawLifeCycle(lifecycle, { width: process.stdout.columns ?? 80, isUnicode: isUtf8(process.env) }), '']) line(drawn)
  for (const entry of answer.entries) {
    line(describe(entry))
    for (const [name, value] of Object.entries(entry)) {
      if (name === 'receipt' || name === 'denial' || name === 'signature') continue
      line(`        ${dim(name.padEnd(14))} ${plain(memberText(value))}${name === 'env' ? `  ${plain(evidence(value))}` : ''}`)
    }
    const token = entry['receipt'] ?? entry['denial'] ?? entry['signature']
    if (typeof token === 'string') for (const [name, value] of Object.entries(peekClaims(token))) line(`          ${dim(name.padEnd(12))} ${plain(memberText(value))}`)
  }
  for (const { purpose, body } of answer.bodies) line(`        ${bold(purpose)} ${body === undefined ? dim('(only its digest is kept)') : plain(JSON.stringify(body))}`)
}

/** Lists what the log does not hold though it should. Exit 13 where a receipt is missing or a permit is overdue. */
export async function gaps(options: GlobalOptions): Promise<void> {
  const found = await askPlane(findFolder(options.dir), 'log.gaps', {})
  const isWhole = found.sessions.length === 0 && !found.open.some(({ overdue }) => overdue) && found.denialsLost.length === 0
  if (!isWhole) process.exitCode = EXIT.unverified
  if (options.json === true) return json(found)
  for (const { gate, session, missing, first } of found.sessions) line(`${red('missing')}  ${missing} receipts of gate ${plain(gate)} session ${plain(session)}${first === undefined ? '' : `, the first of them number ${first}`}`)
  for (const { gate, count } of found.denialsLost) line(`${yellow('lost')}     ${count} denials of gate ${plain(gate)} overflowed its queue`)
  for (const { jti, seq, overdue } of found.open) line(`${overdue ? red('overdue') : yellow('open')}     permit ${plain(jti)} at index ${seq} has no ending yet`)
  if (found.openCount > found.open.length) line(dim(`… and ${found.openCount - found.open.length} further open permits`))
  if (isWhole) line(`${green('complete')}  every receipt that a gate numbered is there, and every permit that is due has its ending`)
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
export async function decide(file: string, options: GlobalOptions & { intent?: string }): Promise<void> {
  const value = readJson(file)
  const given = isObject(value) && 'action' in value ? value : { action: value }
  const action = isObject(given['action']) ? given['action'] : {}
  const intent = chosenIntent(options.intent)
  // A dry run has no server at hand: a tool without a digest is judged as if it were the pinned one.
  const withDigest = action['type'] === 'mcp.tool_call' && !('tool_digest' in action) ? { ...action, tool_digest: `sha256:${'0'.repeat(64)}` } : action
  const answer = await askPlane(findFolder(options.dir), 'decide', { ...given, action: withDigest, ...(intent === undefined ? {} : { intent }) })
  if (options.json === true) json(answer)
  else explain(answer)
  if (answer.decision !== 'permit') process.exitCode = EXIT.denied
}

function explain({ decision, code, policy, inputs, errors, protected: rules = [] }: Explained): void {
  line(`${decision === 'permit' ? green(bold('permit')) : red(bold(`${decision}${code === undefined ? '' : ` ${code}`}`))}  policy epoch ${policy.epoch}; a dry run, nothing was issued or logged`)
  line(policy.determining.length === 0 ? '  no policy matched' : `  decided by ${policy.determining.map((id) => `${plain(id)}${rules.includes(id) ? ' (protected)' : ''}`).join(', ')}`)
  for (const error of errors) line(`  ${red('error')} ${plain(error)}`)
  line('  what the policies saw:')
  for (const name of ['principal', 'action', 'resource', 'context']) line(`    ${name.padEnd(10)} ${plain(JSON.stringify(inputs[name]))}`)
  if (code === 'environment_unattested') line('  what would change it: an environment that tells what the error names, given as `environment` in the file')
  if (code === 'request_malformed') line('  what would change it: one of the registered purposes, or none where no policy asks for one')
  if (code === 'policy_no_match') line('  what would change it: a `permit` policy that matches exactly this, or facts that an existing one asks for')
  if (code === 'policy_denied') line('  what would change it: nothing but changing the `forbid` policy named above; permits cannot override it')
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text)
  if (!/^\d{1,16}$/.test(text) || value > max) throw new CliError(`${name} takes a whole number up to ${max}`, { exit: EXIT.usage })
  return value
}
