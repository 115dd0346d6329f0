import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { writeSecret } from './secret-file.ts'

/** Bytes of the secret of a machine. */
const SECRET_BYTES = 32
const MAX_PASSPHRASE = 1_024

/** A passphrase that cannot be had; the message says from where it was to come. */
export class PassphraseError extends Error {}

let given: Buffer | undefined

/**
 * What `SEALWRIT_KEY_PASSPHRASE_FILE` or `SEALWRIT_KEY_PASSPHRASE` say, once; the variable is gone from then on, so that no child gets it.
 * @throws {PassphraseError}
 */
export function givenPassphrase(): Buffer | undefined {
  const { SEALWRIT_KEY_PASSPHRASE: text, SEALWRIT_KEY_PASSPHRASE_FILE: file } = process.env
  if (given === undefined && file !== undefined) given = readSecretFile(file)
  else if (given === undefined && text !== undefined && text !== '') given = Buffer.from(text)
  delete process.env['SEALWRIT_KEY_PASSPHRASE']
  return given
}

/** Where the secret of this machine and user lies: outside of every plane's folder, so that a copy of one opens nothing. */
export function machineSecretFile(): string {
  const state = process.env['XDG_STATE_HOME']
  return path.join(state !== undefined && path.isAbsolute(state) ? state : path.join(os.homedir(), '.local', 'state'), 'sealwrit', 'key-secret')
}

/** The secret of this machine; made where there is none and `create` is set. @throws {PassphraseError} */
export function machineSecret(create: boolean): Buffer | undefined {
  const file = machineSecretFile()
  try {
    if (!fs.existsSync(file)) {
      if (!create) return undefined
      fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
      const made = `${file}.${process.pid}.${randomBytes(4).toString('hex')}.new`
      writeSecret(made, `${randomBytes(SECRET_BYTES).toString('base64url')}\n`)
      try {
        fs.linkSync(made, file) // whoever is first: two processes that begin at once must have one secret
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      } finally {
        fs.rmSync(made, { force: true })
      }
    }
  } catch (error) {
    throw new PassphraseError(`the secret that encrypts keys cannot be kept in ${file} (${(error as NodeJS.ErrnoException).code ?? 'unknown error'}): name a file with SEALWRIT_KEY_PASSPHRASE_FILE`)
  }
  return readSecretFile(file)
}

function readSecretFile(file: string): Buffer {
  try {
    const stat = fs.statSync(file)
    if ((stat.mode & 0o077) !== 0) throw new PassphraseError(`${file} can be read by others (mode ${(stat.mode & 0o777).toString(8)}): run \`chmod 600 ${file}\``)
    if (stat.size > MAX_PASSPHRASE) throw new PassphraseError(`${file} is longer than ${MAX_PASSPHRASE} bytes`)
    const bytes = fs.readFileSync(file)
    const end = bytes.indexOf(0x0a)
    const secret = end < 0 ? bytes : bytes.subarray(0, end)
    if (secret.length === 0) throw new PassphraseError(`${file} is empty`)
    return secret
  } catch (error) {
    if (error instanceof PassphraseError) throw error
    throw new PassphraseError(`passphrase file ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}

/** Asks at the terminal, without showing what is typed; undefined where nobody can answer. */
export function promptedPassphrase(file: string): Buffer | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined
  process.stderr.write(`passphrase of ${file}: `)
  spawnSync('stty', ['-echo'], { stdio: ['inherit', 'ignore', 'ignore'] })
  try {
    const typed = Buffer.alloc(MAX_PASSPHRASE)
    let length = 0
    while (length < typed.length && fs.readSync(0, typed, length, 1, null) === 1 && typed[length] !== 0x0a) length++
    return typed.subarray(0, length)
  } finally {
    spawnSync('stty', ['echo'], { stdio: ['inherit', 'ignore', 'ignore'] })
    process.stderr.write('\n')
  }
}
