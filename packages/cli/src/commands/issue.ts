import * as fs from 'node:fs'
import { askedOf, nodeClock, nodeCryptography } from '@sealwrit/gate'
import { type Action, type Agent, parseAction, parseEntry, parseSealed, type DenialCode, DENIALS, isObject, type JsonObject, type JsonValue, MAX_START_SECONDS } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { knownSize, readForeign, sealFor } from './federation.ts'
import { allOf, askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { identityFrom, type IdentityOptions } from '../local/identity.ts'
import { chosenIntent } from '../local/intent.ts'
import { delegatesFrom, parentFrom } from '../local/lineage.ts'
import { type GlobalOptions, json, line, plain } from '../output.ts'
import { readJson } from '../read-json.ts'
import { selfLine } from '../self.ts'

export interface IssueOptions extends GlobalOptions, IdentityOptions {
  readonly audience: string
  readonly agent?: string
  readonly seconds?: string
  readonly output?: string
  readonly hold?: string
  readonly jws?: string
  readonly parent?: string
  readonly delegates?: string
  readonly foreignArtifact?: string
  readonly known?: string
  readonly intent?: string
}


/** Has the plane issue an artifact that an agent carries to the gate that it names, and writes it. */
export async function issue(file: string, options: IssueOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const seconds = options.seconds === undefined ? undefined : Number(options.seconds)
  if (seconds !== undefined && !(Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_START_SECONDS)) throw new CliError(`--seconds takes a whole number from 1 to ${MAX_START_SECONDS}`, { exit: EXIT.usage })
  // A gate's id is a thumbprint; the origin of a log has a slash.
  const isForPlane = options.audience.includes('/')
  const action = isForPlane ? readAction(file) : await withDefinition(readAction(file), folder)
  const agent = { name: options.agent ?? 'anyone', verified: options.agent !== undefined }
  const intent = chosenIntent(options.intent)
  const [parent, delegates] = [await parentFrom(options.parent, folder), delegatesFrom(options.delegates, Math.floor(nodeClock.wallMs() / 1_000))]
  const asserted = await assert(action, agent, options, folder)
  const answer = await askPlane(folder, 'issue', { action: action as unknown as Action, agent, audience: options.audience, form: options.jws === undefined ? 'redeem' : 'jws', ...asserted, ...(seconds === undefined ? {} : { seconds }), ...(options.hold === undefined ? {} : { hold: options.hold }), ...(parent === undefined ? {} : { parent }), ...(delegates === undefined ? {} : { delegates }), ...(intent === undefined ? {} : { intent }), ...(options.foreignArtifact === undefined ? {} : { foreign: readForeign(options.foreignArtifact) }) })
  const { decision, code, seq, sealed, hold, jws } = answer as { decision: string; code?: DenialCode; seq?: number; sealed?: JsonValue; hold?: string; jws?: string }
  if (decision === 'hold') throw new CliError(`approval_required: hold ${hold}, recorded at index ${seq}`, { exit: EXIT.held, code: 'approval_required', hint: `${DENIALS.approval_required.hint}, and ask again with --hold ${hold}` })
  if (decision !== 'permit' || sealed === undefined) {
    const known = code ?? 'unavailable'
    throw new CliError(`${known}: ${DENIALS[known].meaning}; recorded at index ${seq}`, { exit: known === 'approval_expired' ? EXIT.held : DENIALS[known].exit, code: known, hint: DENIALS[known].hint })
  }
  const text = `${JSON.stringify(isForPlane ? await sealFor(folder, seqOf(sealed), knownSize(options.known ?? '0')) : sealed)}\n`
  if (options.jws !== undefined && jws !== undefined) writeNew(options.jws, jws)
  if (options.output === undefined || options.output === '-') {
    process.stdout.write(text)
    return
  }
  writeNew(options.output, text)
  if (options.json === true) json({ file: options.output })
  else if (isForPlane) line(`artifact in ${plain(options.output)}; the plane ${plain(options.audience)} can take it once, within ${seconds ?? MAX_START_SECONDS} s`)
  else line(`artifact in ${plain(options.output)}; it can be started once, within ${seconds ?? MAX_START_SECONDS} s, at gate ${plain(options.audience)}`)
}

function seqOf(sealed: JsonValue): number {
  return parseEntry(parseSealed(sealed).entry).seq
}

/** Who asks, with the nonce of the plane that a proof is bound to. */
async function assert(action: JsonObject, agent: Agent, options: IssueOptions, folder: PlaneFolder): Promise<JsonObject> {
  const identify = identityFrom(options)
  if (identify === undefined) return {}
  const { nonce, origin } = await askPlane(folder, 'nonce', {})
  const identity = await identify(askedOf(parseAction(action), agent, options.audience, nonce, origin, nodeCryptography.sha256))
  return { nonce, ...(identity === undefined ? {} : { identity: { ...identity } }) }
}

function readAction(file: string): JsonObject {
  const value = readJson(file)
  if (!isObject(value)) throw new CliError(`${file} does not hold an action`, { hint: 'an action looks like {"type":"mcp.tool_call","target":"mcp://fs","name":"read_file","arguments":{}}' })
  return value
}

/** A tool call without the digest of its definition gets the pinned one. */
async function withDefinition(action: JsonObject, folder: PlaneFolder): Promise<JsonObject> {
  if (action['type'] !== 'mcp.tool_call' || 'tool_digest' in action) return action
  const found = (await allOf(folder, 'tools.list')).find(({ target, name }) => target === action['target'] && name === action['name'])
  if (found?.pinned !== undefined) return { ...action, tool_digest: found.pinned }
  throw new CliError(`tool_not_pinned: ${DENIALS.tool_not_pinned.meaning}`, { exit: DENIALS.tool_not_pinned.exit, code: 'tool_not_pinned', hint: `see what waits to be pinned: ${selfLine('tool', 'list')}` })
}

/** Readable by its owner alone: the salt in it is what a reader of the log does not have. */
function writeNew(file: string, text: string): void {
  try {
    fs.writeFileSync(file, text, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CliError(code === 'EEXIST' ? `${file} exists already` : `${file} cannot be written (${code})`, { hint: 'choose another file with -o; the artifact that was issued expires unused' })
  }
}
