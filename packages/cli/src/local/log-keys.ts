import * as fs from 'node:fs'
import * as path from 'node:path'
import type { Keychain, LogKey } from '@sealwrit/control-plane'
import { nodeCryptography } from '@sealwrit/gate'
import { equalBytes, formatLogKey, type NoteKey, noteKey, pqKey, sameKey } from '@sealwrit/protocol'
import { loadKeyFile } from '../adapters/key-file.ts'
import { RemoteSigner } from '../adapters/remote-signer.ts'
import { CliError } from '../errors.ts'
import type { readConfig } from './config.ts'
import { type FirstKey, type PlaneFolder, readVerifierKey } from './folder.ts'

type Configured = ReturnType<typeof readConfig>

/** What a plane signs its log with, and how it comes to another key. */
export interface LogKeys {
  readonly logKey: LogKey
  readonly nextLogKey: LogKey | undefined
  readonly keychain: Keychain
}

/** Where the key lies that is taking over, or is to. */
const successorFile = (folder: PlaneFolder): string => path.join(path.dirname(folder.logKey), 'log.successor.pem')
/** The ML-DSA-65 half beside an Ed25519 key. */
const pqFile = (file: string): string => file.replace(/\.pem$/, '.pq.pem')

/** Whether the configuration asks for both signatures on every checkpoint. */
export function wantsHybrid(configured: Configured): boolean {
  return configured?.config.keys?.checkpoints === 'hybrid'
}

/** Whether the log key lies there as older versions left it. */
export function isPlain({ logKey }: PlaneFolder): boolean {
  return fs.existsSync(logKey) && !loadKeyFile(logKey, false).isEncrypted
}

/** What a first run begins with: a process that the configuration names, or new files. */
export function firstKey(folder: PlaneFolder, configured: Configured): FirstKey {
  const socket = socketOf(configured, 'signer')
  return {
    isFile: socket === undefined,
    make: async (name) => (socket === undefined ? fileKey(name, folder.logKey, true, wantsHybrid(configured)) : await remoteKey(name, socket)).key,
  }
}

/** @throws {CliError | KeyFileError | SignerError} */
export async function openLogKeys(folder: PlaneFolder, configured: Configured): Promise<LogKeys> {
  finishAdoption(folder)
  const trusted = readVerifierKey(folder.verifierKey)
  const { name } = trusted
  const [signer, next] = [socketOf(configured, 'signer'), socketOf(configured, 'next')]
  const found: LogKey[] = []
  if (signer === undefined) {
    found.push(fileKey(name, folder.logKey, false))
    if (fs.existsSync(successorFile(folder))) found.push(fileKey(name, successorFile(folder), false))
  } else found.push(await remoteKey(name, signer))
  if (next !== undefined) found.push(await remoteKey(name, next))
  const logKey = found.find(({ key }) => sameKey(key, trusted))
  if (logKey === undefined) throw new CliError(`${signer ?? folder.logKey} and ${folder.verifierKey} do not belong together`, { hint: 'restore both from the same backup' })
  const nextLogKey = found.find((one) => one !== logKey)
  return { logKey, nextLogKey, keychain: keychain(folder, name, nextLogKey, configured) }
}

/** Where a key is remote, its successor is configured beside it: no key is made here. */
function keychain(folder: PlaneFolder, name: string, prepared: LogKey | undefined, configured: Configured): Keychain {
  return {
    next: async () => {
      if (prepared !== undefined) return prepared
      if (socketOf(configured, 'signer') !== undefined) throw new CliError('the key that is to take over has no signer', { hint: 'name its socket with keys.log.next in sealwrit.yaml, and start the plane again' })
      return fileKey(name, successorFile(folder), true, wantsHybrid(configured))
    },
    adopt: (key) => adopt(folder, key),
  }
}

function fileKey(name: string, file: string, create: boolean, isHybrid: boolean = fs.existsSync(pqFile(file))): LogKey {
  const pq = isHybrid ? loadKeyFile(pqFile(file), create, 'encrypted', 'ml-dsa-65') : undefined // first: one without the other is none
  const { publicKey, sign, isEncrypted } = loadKeyFile(file, create)
  return { ...logKeyOf(name, publicKey, sign, pq?.publicKey, pq?.sign), custody: isEncrypted ? 'encrypted' : 'plain' }
}

async function remoteKey(name: string, socket: string): Promise<LogKey> {
  const signer = await RemoteSigner.connect(socket)
  return { ...logKeyOf(name, signer.publicKey, (message) => signer.sign(message), signer.pqPublicKey, (message) => signer.sign(message, 'ML-DSA-65')), custody: 'apart' }
}

function logKeyOf(name: string, publicKey: Uint8Array, sign: LogKey['sign'], pq: Uint8Array | undefined, signPq: LogKey['sign'] | undefined): LogKey {
  const { sha256 } = nodeCryptography
  const key = noteKey(name, publicKey, sha256)
  return pq === undefined || signPq === undefined ? { key, sign } : { key: { ...key, pq: pqKey(name, pq, sha256) }, sign, signPq }
}

function socketOf(configured: Configured, which: 'signer' | 'next'): string | undefined {
  const socket = configured?.config.keys?.log?.[which]
  return configured === undefined || socket === undefined ? undefined : path.resolve(path.dirname(configured.file), socket)
}

const adoptedFile = (folder: PlaneFolder): string => `${folder.verifierKey}.next`

/** `key` is the only one that signs from here on: its files take the place of those before, which are kept aside. */
function adopt(folder: PlaneFolder, key: NoteKey): void {
  const known = readVerifierKey(folder.verifierKey)
  if (sameKey(known, key)) return
  fs.writeFileSync(adoptedFile(folder), `${formatLogKey(key)}\n`, { mode: 0o600, flush: true })
  const file = successorFile(folder)
  if (fs.existsSync(file) && equalBytes(loadKeyFile(file, false).publicKey, key.publicKey)) {
    for (const one of [folder.logKey, pqFile(folder.logKey)]) if (fs.existsSync(one)) fs.copyFileSync(one, `${one}.${known.id}.retired`)
    fs.renameSync(file, folder.logKey)
    takePq(folder)
  }
  fs.renameSync(adoptedFile(folder), folder.verifierKey)
}

/** The ML-DSA-65 half of the key that took over, or that it has none. */
function takePq(folder: PlaneFolder): void {
  const made = pqFile(successorFile(folder))
  if (fs.existsSync(made)) fs.renameSync(made, pqFile(folder.logKey))
  else if (readVerifierKey(adoptedFile(folder)).pq === undefined) fs.rmSync(pqFile(folder.logKey), { force: true })
}

/** What was cut off after the key took its place, and before its public half did. */
function finishAdoption(folder: PlaneFolder): void {
  const made = adoptedFile(folder)
  if (!fs.existsSync(made)) return
  const key = readVerifierKey(made)
  if (!fs.existsSync(folder.logKey) || !equalBytes(loadKeyFile(folder.logKey, false).publicKey, key.publicKey)) return
  takePq(folder)
  fs.renameSync(made, folder.verifierKey)
}
