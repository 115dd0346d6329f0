import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeRng } from '@sealwrit/gate'
import { equalBytes, toHex } from '@sealwrit/protocol'
import { writeSecret } from '../adapters/secret-file.ts'
import { CliError } from '../errors.ts'
import { MAX_CONFIG_BYTES } from './document.ts'

/** What a configuration was when it was read. */
export interface Read {
  readonly file: string
  readonly bytes: Uint8Array
  readonly text: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** Beside the file: what it was before the first change. */
export const BACKUP = '.sealwrit-original'

/**
 * Reads a configuration. Links are not followed: what a project calls its own may be somebody else's file.
 * @param within the folder that it may not lead out of
 * @returns undefined when there is none
 * @throws {CliError} for what is no plain file, is too large or no text
 */
export function readConfigFile(file: string, within?: string): Read | undefined {
  let descriptor: number
  try {
    if (within !== undefined && fs.realpathSync(path.dirname(file)) !== path.join(fs.realpathSync(within), path.relative(within, path.dirname(file)))) throw new CliError(`${path.dirname(file)} is a link to another folder`, { hint: 'name the file itself with --config' })
    descriptor = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (code === 'ELOOP') throw new CliError(`${file} is a link`, { hint: 'name the file that it leads to with --config' })
    throw error instanceof CliError ? error : new CliError(`${file} cannot be read (${code ?? 'unknown error'})`)
  }
  try {
    const stat = fs.fstatSync(descriptor)
    if (!stat.isFile()) throw new CliError(`${file} is no plain file`)
    if (stat.size > MAX_CONFIG_BYTES) throw new CliError(`${file} is larger than ${MAX_CONFIG_BYTES} bytes`)
    const bytes = new Uint8Array(fs.readFileSync(descriptor))
    return { file, bytes, text: textOf(file, bytes), mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid }
  } finally {
    fs.closeSync(descriptor)
  }
}

function textOf(file: string, bytes: Uint8Array): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    if (!text.startsWith('\ufeff')) return text
  } catch {
    // said below
  }
  throw new CliError(`${file} is no UTF-8 text without a byte order mark`)
}

/**
 * Puts a text in the place of what was read, whole or not at all, with the same owner and mode. If we crash before the rename,
 * the old file is there; after it, the new one.
 * @throws {CliError} when the file is another than the one that was read: nothing is written then
 */
export function replaceConfig(read: Read, text: string): void {
  const made = `${read.file}.sealwrit-${toHex(nodeRng.bytes(6))}`
  const descriptor = fs.openSync(made, 'wx', 0o600)
  try {
    try {
      fs.writeFileSync(descriptor, text)
      const { uid, gid } = fs.fstatSync(descriptor)
      if (uid !== read.uid || gid !== read.gid) fs.fchownSync(descriptor, read.uid, read.gid)
      fs.fchmodSync(descriptor, read.mode)
      fs.fsyncSync(descriptor)
    } finally {
      fs.closeSync(descriptor)
    }
    const now = readConfigFile(read.file)
    if (now === undefined || !equalBytes(now.bytes, read.bytes)) throw new CliError(`${read.file} was changed meanwhile; nothing was written`, { hint: 'close the client, and try again' })
    fs.renameSync(made, read.file)
  } catch (error) {
    fs.rmSync(made, { force: true })
    throw error instanceof CliError ? error : new CliError(`${read.file} cannot be replaced (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  syncFolder(path.dirname(read.file))
}

/** Keeps what was read beside the file, once: a later change never replaces it. */
export function keepOriginal(read: Read): string {
  const backup = `${read.file}${BACKUP}`
  if (!fs.existsSync(backup)) writeSecret(backup, read.bytes)
  return backup
}

/** Removes the kept original when the file is that again. @returns where it still is */
export function dropOriginal(file: string, text: string): string | undefined {
  const backup = `${file}${BACKUP}`
  const kept = readConfigFile(backup)
  if (kept === undefined) return undefined
  if (kept.text !== text) return backup
  fs.rmSync(backup)
  return undefined
}

/** Replaces a file of our own folder, whole or not at all. */
export function replaceSecret(file: string, text: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  const made = `${file}.new`
  fs.rmSync(made, { force: true })
  writeSecret(made, text)
  fs.renameSync(made, file)
  syncFolder(path.dirname(file))
}

export function shortDigest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}

function syncFolder(folder: string): void {
  if (process.platform === 'win32') return
  const descriptor = fs.openSync(folder, 'r')
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}
