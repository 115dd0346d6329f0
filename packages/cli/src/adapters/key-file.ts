import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { fromBase64Url } from '@sealwrit/protocol'

export interface KeyFile {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** A key file that cannot be used; the message names the file and the way out. */
export class KeyFileError extends Error {}

/**
 * Loads an Ed25519 private key (PKCS #8 PEM, mode 0600), or makes one when there is none and `create` is set. An existing
 * file is never replaced.
 * @throws {KeyFileError} for a wider mode, another owner, another kind of key, or a missing file when `create` is not set
 */
export function loadKeyFile(file: string, create: boolean): KeyFile {
  if (create && !fs.existsSync(file)) {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
    const { privateKey } = generateKeyPairSync('ed25519')
    const descriptor = fs.openSync(file, 'wx', 0o600)
    try {
      fs.writeSync(descriptor, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)
      fs.fsyncSync(descriptor)
    } finally {
      fs.closeSync(descriptor)
    }
  }
  let pem: string
  try {
    const stat = fs.lstatSync(file)
    if (!stat.isFile()) throw new KeyFileError(`key ${file} is not a regular file`)
    if ((stat.mode & 0o077) !== 0) {
      throw new KeyFileError(`key ${file} can be read by others (mode ${(stat.mode & 0o777).toString(8)}): run \`chmod 600 ${file}\``)
    }
    if (process.getuid !== undefined && stat.uid !== process.getuid()) throw new KeyFileError(`key ${file} belongs to another user`)
    pem = fs.readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof KeyFileError) throw error
    throw new KeyFileError(`key ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  try {
    const privateKey = createPrivateKey(pem)
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error('not Ed25519')
    const { x } = createPublicKey(privateKey).export({ format: 'jwk' })
    return { publicKey: fromBase64Url(x as string), sign: (message) => sign(null, message, privateKey) }
  } catch {
    throw new KeyFileError(`key ${file} is not an Ed25519 private key in PEM form; restore it from a backup`)
  }
}
