import * as fs from 'node:fs'
import * as path from 'node:path'
import { isObject, type JsonObject, parseStrict } from '@sealwrit/protocol'
import { CliError } from '../errors.ts'
import { MAX_CONFIG_BYTES, MAX_SERVERS } from './document.ts'
import { readConfigFile, replaceSecret, shortDigest } from './file.ts'

/** One server that stands behind a gateway: the text of its entry before and after. */
export interface Kept {
  readonly at: readonly string[]
  readonly was: string
  readonly now: string
  /** How it is started or reached, in one line: two servers of one name are the same for policies. */
  readonly launch: string
  readonly headerFile?: string
}

/** What this plane changed in one configuration. */
export interface InstallRecord {
  readonly file: string
  readonly client: string
  readonly servers: readonly Kept[]
}

const LIMITS = { maxBytes: MAX_CONFIG_BYTES, maxDepth: 8, maxMembers: 20 * MAX_SERVERS }
/** Configurations that one plane knows. */
const MAX_RECORDS = 1_000

export function recordFolder(dir: string): string {
  return path.join(dir, 'clients')
}

export function headerFileFor(dir: string, file: string, at: readonly string[]): string {
  return path.join(recordFolder(dir), 'headers', shortDigest(JSON.stringify([file, ...at])))
}

/** @throws {CliError} for a record that cannot be read: nothing is changed on a guess */
export function readRecord(dir: string, file: string): InstallRecord | undefined {
  return recordIn(recordFile(dir, file))
}

export function allRecords(dir: string): readonly InstallRecord[] {
  const folder = recordFolder(dir)
  if (!fs.existsSync(folder)) return []
  return fs.readdirSync(folder).filter((name) => name.endsWith('.json')).slice(0, MAX_RECORDS).map((name) => recordIn(path.join(folder, name))).filter((record) => record !== undefined)
}

/** Written before the configuration is: what is recorded and did not happen changes nothing when it is undone. */
export function writeRecord(dir: string, record: InstallRecord): void {
  const file = recordFile(dir, record.file)
  if (record.servers.length === 0) fs.rmSync(file, { force: true })
  else replaceSecret(file, `${JSON.stringify({ v: 1, ...record })}\n`)
}

function recordFile(dir: string, file: string): string {
  return path.join(recordFolder(dir), `${shortDigest(file)}.json`)
}

function recordIn(file: string): InstallRecord | undefined {
  const read = readConfigFile(file)
  if (read === undefined) return undefined
  try {
    const value = parseStrict(read.bytes, LIMITS)
    if (isObject(value) && value['v'] === 1 && typeof value['file'] === 'string' && typeof value['client'] === 'string' && Array.isArray(value['servers'])) {
      return { file: value['file'], client: value['client'], servers: value['servers'].map((one) => keptIn(one as JsonObject)) }
    }
  } catch {
    // said below
  }
  throw new CliError(`${file} is no record of what was changed`, { hint: 'the originals lie beside the configurations' })
}

function keptIn(value: JsonObject): Kept {
  const { at, was, now, launch, headerFile } = value
  if (!Array.isArray(at) || !at.every((name) => typeof name === 'string') || typeof was !== 'string' || typeof now !== 'string' || typeof launch !== 'string') throw new TypeError('not a kept server')
  return { at: at as string[], was, now, launch, ...(typeof headerFile === 'string' ? { headerFile } : {}) }
}
