import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { fromBase64Url } from '@sealwrit/protocol'
import { givenPassphrase, machineSecret, machineSecretFile, PassphraseError, promptedPassphrase } from './passphrase.ts'
import { writeSecret } from './secret-file.ts'

export interface KeyFile {
  /** 32 bytes; of an ML-DSA-65 key 1,952. */
  readonly publicKey: Uint8Array
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly isEncrypted: boolean
}

/** A key file that cannot be used; the message names the file and the way out. */
export class KeyFileError extends Error {}

/** Whether a new key is encrypted where it lies. A plain one is for whoever it is handed to. */
export type Protection = 'encrypted' | 'plain'
export type KeyAlgorithm = 'ed25519' | 'ml-dsa-65'

/**
 * Loads a private key (PKCS #8 PEM, mode 0600, encrypted or not), or makes one when there is none and `create` is set. An
 * existing file is never replaced. The key stays a `KeyObject`: its bytes are in no string.
 * @throws {KeyFileError} for a wider mode, another owner, another kind of key, a passphrase that does not open it, or a missing file
 *   when `create` is not set
 */
export function loadKeyFile(file: string, create: boolean, protection: Protection = 'encrypted', algorithm: KeyAlgorithm = 'ed25519'): KeyFile {
  if (create && !fs.existsSync(file)) {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
    const { privateKey } = algorithm === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ml-dsa-65')
    writeSecret(file, explained(() => exported(privateKey, protection)))
  }
  const { key, isEncrypted } = readKey(file)
  if (key.asymmetricKeyType !== algorithm) throw notOne(file, algorithm)
  const { x, pub } = createPublicKey(key).export({ format: 'jwk' }) as { x?: string; pub?: string }
  return { publicKey: fromBase64Url(x ?? pub ?? ''), sign: (message) => sign(null, message, key), isEncrypted }
}

/** Writes a key file anew, encrypted; an old file or the new one is there, whenever it is cut off. @throws {KeyFileError} */
export function encryptKeyFile(file: string): void {
  const { key } = readKey(file)
  const made = `${file}.encrypted`
  fs.rmSync(made, { force: true })
  writeSecret(made, explained(() => exported(key, 'encrypted')))
  fs.renameSync(made, file)
}

function exported(key: KeyObject, protection: Protection): string {
  if (protection === 'plain') return key.export({ type: 'pkcs8', format: 'pem' }) as string
  const passphrase = givenPassphrase() ?? machineSecret(true)
  if (passphrase === undefined) throw new PassphraseError('no passphrase')
  return key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: passphrase as unknown as string }) as string
}

function readKey(file: string): { key: KeyObject; isEncrypted: boolean } {
  let pem: Buffer
  try {
    const stat = fs.lstatSync(file)
    if (!stat.isFile()) throw new KeyFileError(`key ${file} is not a regular file`)
    if ((stat.mode & 0o077) !== 0) {
      throw new KeyFileError(`key ${file} can be read by others (mode ${(stat.mode & 0o777).toString(8)}): run \`chmod 600 ${file}\``)
    }
    if (process.getuid !== undefined && stat.uid !== process.getuid()) throw new KeyFileError(`key ${file} belongs to another user`)
    pem = fs.readFileSync(file)
  } catch (error) {
    if (error instanceof KeyFileError) throw error
    throw new KeyFileError(`key ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  try {
    if (!pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')) return { key: createPrivateKey(pem), isEncrypted: false }
  } catch {
    throw notOne(file, 'ed25519')
  } finally {
    if (!pem.includes('ENCRYPTED')) pem.fill(0)
  }
  return { key: explained(() => decrypted(file, pem)), isEncrypted: true }
}

function decrypted(file: string, pem: Buffer): KeyObject {
  for (const passphrase of [givenPassphrase, () => machineSecret(false), () => promptedPassphrase(file)]) {
    try {
      const secret = passphrase()
      if (secret !== undefined) return createPrivateKey({ key: pem, passphrase: secret })
    } catch (error) {
      if (error instanceof PassphraseError) throw error
    }
  }
  throw new KeyFileError(`key ${file} is encrypted, and nothing here opens it: give SEALWRIT_KEY_PASSPHRASE_FILE, or restore ${machineSecretFile()} of the machine that made it`)
}

function explained<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw error instanceof PassphraseError ? new KeyFileError(error.message) : error
  }
}

function notOne(file: string, algorithm: KeyAlgorithm): KeyFileError {
  return new KeyFileError(`key ${file} is not an ${algorithm === 'ed25519' ? 'Ed25519' : 'ML-DSA-65'} private key in PEM form; restore it from a backup`)
}
