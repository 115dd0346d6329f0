import * as fs from 'node:fs'
import * as path from 'node:path'
import type { ListedAgent } from '@sealwrit/control-plane'
import { nodeClock } from '@sealwrit/gate'
import { fromBase64Url, isAgentName, present, toBase64Url } from '@sealwrit/protocol'
import { loadKeyFile } from '../adapters/key-file.ts'
import { CliError, EXIT } from '../errors.ts'
import { allOf, askPlane } from '../local/client.ts'
import { seconds } from '../local/duration.ts'
import { evidenceText } from '../local/evidence.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { dim, type GlobalOptions, green, json, line, plain, yellow } from '../output.ts'
import { selfLine } from '../self.ts'

export interface AgentOptions extends GlobalOptions {
  readonly key?: string
  readonly owner?: string
  readonly expires?: string
  readonly overlap?: string
}

/** Keys of one agent that are kept here. */
const MAX_KEY_FILES = 1_000

/** Registers an agent: with a public key that is given, or with one that is made here. */
export async function agentAdd(name: string, options: AgentOptions): Promise<void> {
  const folder = folderFor(name, options)
  const { key, file } = keyFor(name, options, folder)
  const expires = options.expires === undefined ? undefined : nowSeconds() + seconds('--expires', options.expires)
  const { seq } = await askPlane(folder, 'agents.add', present({ agent: name, key, owner: options.owner, expires }))
  if (options.json === true) return json(present<object>({ agent: name, key, file, expires, seq }))
  line(`${green('added')}    ${name}, recorded at index ${seq}`)
  tellKey(key, file, expires)
}

/** Gives an agent a new key; the ones that it has go on for the overlap. */
export async function agentRotate(name: string, options: AgentOptions): Promise<void> {
  const folder = folderFor(name, options)
  const overlap = options.overlap === undefined ? 3_600 : options.overlap === '0' ? 0 : seconds('--overlap', options.overlap)
  const known = (await allAgents(folder)).find(({ agent }) => agent === name)
  if (known === undefined) throw new CliError(`no agent \`${name}\` is registered`, { exit: EXIT.denied, code: 'identity_unknown', hint: `list them: ${selfLine('agent', 'list')}` })
  const { key, file } = keyFor(name, options, folder)
  const expires = options.expires === undefined ? undefined : nowSeconds() + seconds('--expires', options.expires)
  const { seq } = await askPlane(folder, 'agents.add_key', present({ agent: name, key, expires }))
  const until = nowSeconds() + overlap
  for (const old of known.keys) {
    if (overlap === 0) await askPlane(folder, 'agents.remove_key', { agent: name, key: old.key })
    else if (old.expires === undefined || old.expires > until) await askPlane(folder, 'agents.add_key', { agent: name, key: old.key, expires: until })
  }
  if (options.json === true) return json(present<object>({ agent: name, key, file, expires, seq, overlap_seconds: overlap }))
  line(`${green('rotated')}  ${name}, recorded at index ${seq}; ${overlap === 0 ? 'the old keys are removed' : `the old keys end in ${overlap} s`}`)
  tellKey(key, file, expires)
}

/** Removes an agent, with all its keys, at once. */
export async function agentRemove(name: string, options: AgentOptions): Promise<void> {
  const { seq } = await askPlane(folderFor(name, options), 'agents.remove', { agent: name })
  if (options.json === true) return json({ agent: name, seq })
  line(`${yellow('removed')}  ${name}, recorded at index ${seq}; its keys never come back`)
}

export async function agentList(options: AgentOptions): Promise<void> {
  const agents = await allAgents(findFolder(options.dir))
  if (options.json === true) return json({ agents })
  if (agents.length === 0) return line(dim(`no agent is registered; ${selfLine('agent', 'add', 'NAME')} adds one`))
  for (const { agent, owner, keys } of agents) {
    line(`${agent}  ${dim(`owner ${plain(owner)}`)}`)
    for (const { thumbprint, expires } of keys) line(`  ${thumbprint}  ${ending(expires)}`)
    if (keys.length === 0) line(dim('  no key: nothing can be asked as this agent'))
  }
}

export async function gateList(options: GlobalOptions): Promise<void> {
  const gates = await allOf(findFolder(options.dir), 'gates.list')
  if (options.json === true) return json({ gates })
  if (gates.length === 0) return line(dim('no gate has enrolled'))
  for (const { gate, open, expires, level } of gates) line(`${gate}  ${open ? green('open') : dim('ended')}  ${evidenceText(level ?? 'none')}${open && expires !== undefined ? dim(`  ${ending(expires)}`) : ''}`)
}

async function allAgents(folder: PlaneFolder): Promise<ListedAgent[]> {
  return await allOf(folder, 'agents.list')
}

function folderFor(name: string, options: AgentOptions): PlaneFolder {
  if (!isAgentName(name)) throw new CliError('an agent name is 1 to 64 letters, digits, dots, dashes or underscores', { exit: EXIT.usage })
  return findFolder(options.dir)
}

/** The given public key, or that of a new key in a file of its own: one file a key, none is ever replaced. */
function keyFor(name: string, { key }: AgentOptions, folder: PlaneFolder): { key: string; file?: string } {
  if (key !== undefined) return { key: publicKeyOf(key) }
  const at = path.join(folder.dir, 'agents', name)
  for (let number = 0; number < MAX_KEY_FILES; number++) {
    const file = path.join(at, `${number}.pem`)
    if (fs.existsSync(file)) continue
    return { key: toBase64Url(loadKeyFile(file, true, 'plain').publicKey), file }
  }
  throw new CliError(`${at} holds ${MAX_KEY_FILES} keys already`, { hint: 'move old ones away' })
}

function publicKeyOf(key: string): string {
  const text = fs.existsSync(key) ? fs.readFileSync(key, 'utf8').trim() : key
  try {
    if (fromBase64Url(text).length === 32) return text
  } catch {
    // said below
  }
  throw new CliError('--key takes an Ed25519 public key, 43 characters of base64url, or a file that holds one', { exit: EXIT.usage })
}

function tellKey(key: string, file: string | undefined, expires: number | undefined): void {
  line(`  key      ${key}  ${ending(expires)}`)
  if (file === undefined) return
  line(`  private  ${plain(file)}`)
  line(`  use it   ${selfLine('mcp', '--name', 'fs', '--pin', '--agent', 'NAME', '--agent-key', file, '--', 'npx', '@modelcontextprotocol/server-filesystem', './files').replace('NAME', path.basename(path.dirname(file)))}`)
}

function ending(expires: number | undefined): string {
  return expires === undefined ? 'does not end' : `${expires <= nowSeconds() ? 'ended' : 'ends'} ${new Date(expires * 1_000).toISOString().slice(0, 19)}Z`
}

function nowSeconds(): number {
  return Math.floor(nodeClock.wallMs() / 1_000)
}
