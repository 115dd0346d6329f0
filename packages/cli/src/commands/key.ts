import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeClock } from '@sealwrit/gate'
import { encryptKeyFile, KeyFileError } from '../adapters/key-file.ts'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { seconds } from '../local/duration.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'
import { selfLine } from '../self.ts'

/** Key files that one call encrypts. */
const MAX_FILES = 10_000

/** Has a new log key take over from the one that signs now. */
export async function keyRotate(what: string, options: GlobalOptions & { overlap?: string }): Promise<void> {
  if (what !== 'log') throw new CliError(`\`${what.slice(0, 32)}\` is not rotated here`, { exit: EXIT.usage, hint: `the log key is: ${selfLine('key', 'rotate', 'log')}; an agent’s: ${selfLine('agent', 'rotate', 'NAME')}; a gate’s: ${selfLine('gate', 'remove', 'ID')}` })
  const folder = findFolder(options.dir)
  const overlap = options.overlap === undefined ? {} : { overlap_ms: options.overlap === '0' ? 0 : seconds('--overlap', options.overlap) * 1_000 }
  const answer = await askPlane(folder, 'keys.rotate', overlap)
  if (options.json === true) return json(answer)
  line(`${green('rotated')}  the log key is that of epoch ${answer.epoch}, recorded at index ${answer.seq}`)
  for (const half of answer.key.split('\n')) line(`  key      ${half.length > 200 ? `${half.slice(0, 96)}…` : half}`)
  line(`  overlap  both keys sign until ${new Date(answer.until).toISOString()}; then the old one is retired`)
  line(dim('  give the new key to witnesses now; gates and verifiers with the old one follow by themselves'))
}

/** From a leaf index on a key counts for nothing. */
export async function keyRevoke(purpose: string, id: string, options: GlobalOptions & { from?: string }): Promise<void> {
  if (purpose !== 'log' && purpose !== 'gate') throw new CliError('revoke takes `log` or `gate`, and the id of the key', { exit: EXIT.usage, hint: selfLine('key', 'list') })
  const from = options.from === undefined ? undefined : Number(options.from)
  if (from !== undefined && !(Number.isSafeInteger(from) && from >= 0)) throw new CliError('--from takes a leaf index', { exit: EXIT.usage, hint: `see ${selfLine('log')}` })
  const answer = await askPlane(findFolder(options.dir), 'keys.revoke', { purpose, id, ...(from === undefined ? {} : { from }) })
  if (options.json === true) return json({ purpose, id, ...answer })
  line(`${yellow('revoked')}  ${purpose} key ${plain(id)} from index ${answer.from} on, recorded at index ${answer.seq}`)
  line(dim(purpose === 'log' ? '  what it signed of larger trees counts for nothing; whoever holds only this key must be given the new one if it vouched after that index' : '  receipts of this gate from there on establish nothing; with a new key it enrols as another gate'))
}

export async function keyList(options: GlobalOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const answer = await askPlane(folder, 'keys.list', {})
  const plainFiles = keyFiles(folder).filter(isPlain)
  if (options.json === true) return json({ ...answer, plain: plainFiles })
  line(`${bold(plain(answer.origin))}`)
  for (const { id, epoch, state, seq, until, ends, held } of answer.keys) {
    const paint = state === 'current' ? green : state === 'ending' ? yellow : red
    const more = until !== undefined ? `trees of at most ${until} leaves` : ends === undefined ? `since index ${seq ?? 0}` : `until ${new Date(ends).toISOString()}`
    line(`  log  ${id}  epoch ${epoch}  ${paint(state)}  ${more}${held ? '' : dim('  (not held here)')}`)
  }
  for (const { gate, from } of answer.gates) line(`  gate ${gate}  ${red('revoked')}  from index ${from} on`)
  for (const file of plainFiles) line(`  ${yellow('plain')}    ${plain(file)} is not encrypted: ${selfLine('key', 'encrypt')}`)
}

/** Encrypts every key file of the folder that is not, and under the passphrase that is given now those that are. */
export async function keyEncrypt(options: GlobalOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const encrypted: string[] = []
  try {
    for (const file of keyFiles(folder)) {
      encryptKeyFile(file)
      encrypted.push(file)
    }
  } catch (error) {
    throw error instanceof KeyFileError ? new CliError(error.message) : error
  }
  if (options.json === true) return json({ encrypted, at: new Date(nodeClock.wallMs()).toISOString() })
  if (encrypted.length === 0) throw new CliError(`${folder.dir} holds no keys`, { hint: `start the plane first: ${selfLine('up')}` })
  for (const file of encrypted) line(`${green('encrypted')}  ${plain(file)}`)
  line(dim('  backups made before hold the keys as they were: delete them, or rotate the keys'))
}

/** Keys that stay on this machine; those of agents are handed to their agents, and are plain. */
function keyFiles(folder: PlaneFolder): readonly string[] {
  const found: string[] = []
  for (const dir of ['keys', 'gates', 'approvers'].map((name) => path.join(folder.dir, name))) {
    if (!fs.existsSync(dir)) continue
    for (const name of fs.readdirSync(dir, { recursive: true }) as string[]) if (name.endsWith('.pem') && found.length < MAX_FILES) found.push(path.join(dir, name))
  }
  return found.sort()
}

function isPlain(file: string): boolean {
  try {
    return fs.readFileSync(file).includes('-----BEGIN PRIVATE KEY-----')
  } catch {
    return false
  }
}
