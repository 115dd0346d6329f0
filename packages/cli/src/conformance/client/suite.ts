import { isObject, type JsonLimits, type JsonObject, type JsonValue, MAX_BUNDLE_LINE, parseStrict, utf8 } from '@sealwrit/protocol'
import { memberText } from '../../output.ts'
import { CliError, EXIT } from '../../errors.ts'
import { version } from '../../version.ts'
import { changed, type Values } from '../change.ts'
import { HttpSender, rewritten } from '../http.ts'
import { type ClientDo, type ClientRule, RUNS } from '../rules.ts'
import { valuesWith } from '../values.ts'
import { broken, held, type Told, unchecked, type Verdict } from '../verdict.ts'

const LIMITS: JsonLimits = { maxBytes: MAX_BUNDLE_LINE, maxDepth: 64, maxMembers: 1_000_000 }
/** The revision that carries no sessions: each request stands for itself. */
const REVISION = '2026-07-28'
/** No server lists it, so that also a gate that lets everything through runs nothing. */
const UNLISTED = 'sealwrit-conformance-unlisted'

export interface ClientSuiteOptions {
  /** Where clients reach the gate. */
  readonly url: URL
  readonly token: string | undefined
  readonly told: Told
  readonly signal: AbortSignal
}

/** Asks a gate over HTTP, as its client, for what it has to refuse. @throws {CliError} where nothing answers */
export async function runClientSuite(rules: readonly ClientRule[], { url, token, told, signal }: ClientSuiteOptions): Promise<readonly Verdict[]> {
  const sender = new HttpSender(url)
  const stop = (): void => sender.close()
  signal.addEventListener('abort', stop, { once: true })
  const ask = (how: ClientDo): Promise<string> => outcomeOf(sender, url, token, how)
  const control = (): Promise<string> => ask({ ask: 'tools/list', verb: 'POST' })
  try {
    const first = await control()
    if (first === NOTHING) throw new CliError(`nothing answers at ${url.origin}`, { exit: EXIT.unreachable, code: 'unavailable', hint: 'is the gate running, and is the address right?' })
    const verdicts: Verdict[] = []
    for (const rule of rules) {
      if (signal.aborted) break
      const verdict = first === RUNS ? await judged(rule, ask, control) : unchecked(rule, `the control was not answered: ${first}`)
      verdicts.push(verdict)
      told(verdict)
    }
    return verdicts
  } finally {
    signal.removeEventListener('abort', stop)
    sender.close()
  }
}

/** What a gate makes of a call of a tool that no server lists: {@link RUNS} where it is let through, the code that it is refused with, or what else came. */
export async function forbiddenAt(url: URL, token: string | undefined): Promise<string> {
  const sender = new HttpSender(url)
  try {
    return await outcomeOf(sender, url, token, { ask: 'tools/call', verb: 'POST' })
  } finally {
    sender.close()
  }
}

async function judged(rule: ClientRule, ask: (how: ClientDo) => Promise<string>, control: () => Promise<string>): Promise<Verdict> {
  let outcome: string
  try {
    outcome = await ask(rule.do)
  } catch (error) {
    return unchecked(rule, `it could not be made wrong: ${error instanceof Error ? error.message : 'unknown'}`)
  }
  const after = await control()
  if (!rule.expect.includes(outcome)) return broken(rule, outcome === RUNS ? 'it was answered' : rule.expect.includes(RUNS) ? `it must be answered: ${outcome}` : `refused, but with ${outcome} in place of ${rule.expect.join(' or ')}`)
  return after === RUNS ? held(rule, outcome === RUNS ? 'answered' : outcome) : broken(rule, `${outcome}, but then what is permitted was refused too: ${after}`)
}

const NOTHING = 'no answer'

async function outcomeOf(sender: HttpSender, url: URL, token: string | undefined, how: ClientDo): Promise<string> {
  const values: Values = valuesWith(() => undefined)
  const meta = { 'io.modelcontextprotocol/protocolVersion': REVISION, 'io.modelcontextprotocol/clientInfo': { name: 'sealwrit-conformance', version }, 'io.modelcontextprotocol/clientCapabilities': {} }
  const params: JsonObject = how.ask === 'tools/call' ? { name: UNLISTED, arguments: {}, _meta: meta } : { _meta: meta }
  const message: JsonObject = { jsonrpc: '2.0', id: 1, method: how.ask, params }
  const body = rewritten(JSON.stringify(how.message === undefined ? message : changed(message, how.message, values)), how)
  const headers = {
    accept: 'application/json, text/event-stream', 'mcp-protocol-version': REVISION, 'mcp-method': how.ask, ...(how.ask === 'tools/call' ? { 'mcp-name': UNLISTED } : {}),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...how.headers,
  }
  const answer = await sender.send({ verb: how.verb, path: url.pathname, headers, body: how.verb === 'POST' ? body : undefined })
  if (answer === undefined) return NOTHING
  return readOutcome(answer.status, Buffer.from(answer.bytes).toString('utf8'))
}

/** The code in an error, or in a result that is one; JSON, or the last message of an event stream. */
function readOutcome(status: number, text: string): string {
  if (status >= 300 && status < 400) return `status ${status} without a code`
  const last = text.split('\n').filter((line) => line.startsWith('data:')).at(-1)
  let message: JsonValue
  try {
    message = parseStrict(utf8(last === undefined ? text : last.slice('data:'.length).trim()), LIMITS)
  } catch {
    return status >= 400 ? `status ${status} without a code` : RUNS
  }
  if (!isObject(message)) return status >= 400 ? `status ${status} without a code` : RUNS
  const { error, result } = message
  if (isObject(error)) return isObject(error['data']) && typeof error['data']['code'] === 'string' ? error['data']['code'] : `error ${memberText(error['code'])} without a code`
  if (!isObject(result)) return RUNS
  const denial = isObject(result['_meta']) ? result['_meta']['sealwrit/denial'] : undefined
  return isObject(denial) ? memberText(denial['code']) : RUNS
}
