import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'
import { equalBytes, formatLogKey, type NoteKey, parseLogKey } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/gate'
import { loadKeyFile } from '../adapters/key-file.ts'
import { CliError } from '../errors.ts'
import { CONFIG_FILE, findDir, planeDirOf, TENANT, tenantIn } from './places.ts'

/** The files of a local plane. */
export interface PlaneFolder {
  readonly dir: string
  /** The tenant that it is of. */
  readonly tenant: string
  /** Where `sealwrit.yaml` is looked for. */
  readonly config: string
  readonly socket: string
  readonly store: string
  readonly logKey: string
  /** Signs JWS exports; made when a plane starts that has none. */
  readonly exportKey: string
  /** Public: the verifier key that gates and strangers trust. */
  readonly verifierKey: string
  readonly token: string
  readonly policies: string
  readonly gates: string
  /** The newest signed checkpoint, outside the store: what shows that an older copy was put in its place. */
  readonly highWater: string
  /** There while a first run has not got as far as its first entry. */
  readonly firstRun: string
}

export function planeFolder(dir: string): PlaneFolder {
  const at = (...names: string[]): string => path.join(dir, ...names)
  const tenant = tenantIn(dir)
  return {
    dir,
    tenant,
    config: path.join(tenant === TENANT ? path.dirname(dir) : dir, CONFIG_FILE),
    socket: at('plane.sock'),
    store: at('store.db'),
    logKey: at('keys', 'log.pem'),
    exportKey: at('keys', 'export.pem'),
    verifierKey: at('log.vkey'),
    token: at('token'),
    policies: at('policies'),
    gates: at('gates'),
    highWater: at('high-water'),
    firstRun: at('first-run'),
  }
}

/** As `findDir`. */
export function findFolder(given: string | undefined): PlaneFolder {
  return planeFolder(findDir(given))
}

/** The files that come with the program. */
export const starterFolder: string = path.join(path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url)))), 'starter')

/** Where the key of a new log comes from. */
export interface FirstKey {
  /** Whether it lies in the folder. */
  readonly isFile: boolean
  make(name: string): Promise<NoteKey>
}

/**
 * Makes the files of a first run, or checks that those of an earlier one are all there. Nothing is ever made again over
 * existing data.
 * @param store file of the embedded store; undefined where the log lives in a database
 * @param first makes the key that a new log begins with, or asks the process that holds it
 * @throws {CliError} naming the file that is missing or wrong
 */
export async function openFolder(folder: PlaneFolder, store: string | undefined, first: FirstKey): Promise<{ isNew: boolean }> {
  const essential = [...(first.isFile ? [folder.logKey] : []), folder.verifierKey, ...(store === undefined ? [] : [store])]
  const found = essential.filter((file) => fs.existsSync(file))
  const isNew = found.length === 0 || fs.existsSync(folder.firstRun)
  if (!isNew && found.length < essential.length) {
    const missing = essential.filter((file) => !found.includes(file))
    throw new CliError(`${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} missing, while ${found.join(' and ')} ${found.length === 1 ? 'is' : 'are'} there`, {
      hint: `restore it from a backup; to begin a new log, move ${folder.dir} away`,
    })
  }
  if (!isNew && store !== undefined && fs.statSync(store).size === 0 && !fs.existsSync(`${store}-wal`)) {
    throw new CliError(`store ${store} is empty, while its log key has signed a log before`, { hint: `restore it from a backup; to begin a new log, move ${folder.dir} away` })
  }
  fs.mkdirSync(folder.dir, { recursive: true, mode: 0o700 })
  if ((fs.statSync(folder.dir).mode & 0o022) !== 0) throw new CliError(`${folder.dir} can be written by others`, { hint: `run \`chmod 700 ${folder.dir}\`` })
  if (isNew) {
    writeOnce(folder.firstRun, '')
    // The host part is random: an embedded plane has no name that anybody else could know.
    if (!fs.existsSync(folder.verifierKey)) {
      writeOnce(folder.verifierKey, `${formatLogKey(await first.make(`${hostOf(folder)}/${folder.tenant}`))}\n`)
    }
    if (!fs.existsSync(folder.policies)) fs.cpSync(path.join(starterFolder, 'policies'), folder.policies, { recursive: true })
    const schema = path.join(folder.policies, 'schema.cedarschema')
    if (!fs.existsSync(schema)) fs.copyFileSync(path.join(starterFolder, 'schema.cedarschema'), schema)
  }
  if (!fs.existsSync(folder.token)) writeOnce(folder.token, `${randomBytes(32).toString('base64url')}\n`)
  return { isNew }
}

/** All logs of one plane have its host in their origins. */
function hostOf({ dir, tenant }: PlaneFolder): string {
  const own = tenant === TENANT ? undefined : planeFolder(planeDirOf(dir)).verifierKey
  const name = own !== undefined && fs.existsSync(own) ? readVerifierKey(own).name : ''
  return name.endsWith(`/${TENANT}`) ? name.slice(0, -TENANT.length - 1) : `${randomBytes(8).toString('hex')}.local`
}

function writeOnce(file: string, text: string): void {
  const descriptor = fs.openSync(file, fs.existsSync(file) ? 'r+' : 'wx', 0o600)
  try {
    if (text !== '') fs.writeSync(descriptor, text)
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** A secret in a file that only its owner may read. @throws {CliError} */
export function readSecret(file: string): string {
  const { mode } = fs.statSync(file)
  if ((mode & 0o077) !== 0) throw new CliError(`${file} can be read by others (mode ${(mode & 0o777).toString(8)})`, { hint: `run \`chmod 600 ${file}\`` })
  return fs.readFileSync(file, 'utf8').trim()
}

/** The log key as a signer, checked against the public key that gates trust. @throws {CliError} */
export function loadLogKey(folder: PlaneFolder): { key: NoteKey; sign: (message: Uint8Array) => Uint8Array } {
  const { publicKey, sign } = loadKeyFile(folder.logKey, false)
  const key = readVerifierKey(folder.verifierKey)
  if (!equalBytes(key.publicKey, publicKey)) throw new CliError(`${folder.logKey} and ${folder.verifierKey} do not belong together`, { hint: 'restore both from the same backup' })
  return { key, sign }
}

/** @throws {CliError} */
export function readVerifierKey(fileOrKey: string): NoteKey {
  const text = fs.existsSync(fileOrKey) ? fs.readFileSync(fileOrKey, 'utf8').trim() : fileOrKey
  try {
    return parseLogKey(text, nodeCryptography.sha256)
  } catch {
    throw new CliError(`${fileOrKey.length > 64 ? 'the key' : fileOrKey} is neither a verifier key nor a file that holds one`, { hint: 'a verifier key looks like NAME+ID+BASE64; `.sealwrit/log.vkey` holds that of the local plane' })
  }
}
