import * as fs from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { StoreOpenError } from '../open-error.ts'
import { StoreFailure } from '../store.ts'

/** The one file that knows `node:sqlite`'s class, which is to be renamed. */
export type Database = DatabaseSync
export type Statement = StatementSync

/** 3.7.0 to 3.51.2 can corrupt a WAL that two connections share. @see https://sqlite.org/wal.html */
const MIN_SQLITE = [3, 51, 3] as const
const SQLITE_BUSY = 5
const SQLITE_FULL = 13

/**
 * Opens the one writing connection: WAL, every commit flushed, no memory-mapped I/O, and an exclusive lock, so that a
 * second plane on the same file cannot start (ATK-069).
 * @throws {StoreOpenError}
 */
export function openDatabase(file: string): Database {
  let database: Database
  try {
    database = new DatabaseSync(file, { enableForeignKeyConstraints: true, enableDoubleQuotedStringLiterals: false })
  } catch (error) {
    throw new StoreOpenError(`store ${file} cannot be opened: ${message(error)}`)
  }
  try {
    const { version } = database.prepare('SELECT sqlite_version() AS version').get() as { version: string }
    if (isOlder(version)) throw new StoreOpenError(`this Node carries SQLite ${version}, which can corrupt a store; ${MIN_SQLITE.join('.')} or later is needed`)
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON')
    database.exec('BEGIN IMMEDIATE; COMMIT') // takes the lock now rather than at the first write
  } catch (error) {
    database.close()
    if (error instanceof StoreOpenError) throw error
    const isLocked = code(error) === SQLITE_BUSY
    throw new StoreOpenError(isLocked ? `store ${file} is in use by another plane` : `store ${file} is not a usable SQLite database: ${message(error)}`, isLocked)
  }
  return database
}

/** Runs a write; a full disk may heal, any other failure may have lost a flush, so the writer must stop. */
export function write<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof StoreFailure) throw error
    const recoverable = code(error) === SQLITE_FULL || code(error) === SQLITE_BUSY
    throw new StoreFailure(message(error), recoverable)
  }
}

/**
 * Where the files of an open database stand. SQLite goes on writing into a file that was deleted or replaced under it, and
 * what it wrote there is gone with the process (ATK-081).
 */
export class Files {
  readonly #known: { readonly name: string; id: string | undefined }[]

  constructor(file: string) {
    this.#known = [file, `${file}-wal`].map((name) => ({ name, id: idOf(name) }))
  }

  /**
   * INVARIANT: I3, looked at before and after every write, so before it is acknowledged.
   * @param isWritten what was written and cannot be found any more stops the writer; before that, it may be found again
   * @throws {StoreFailure}
   */
  verify(isWritten: boolean): void {
    for (const known of this.#known) {
      const id = idOf(known.name, !isWritten)
      known.id ??= id // the log of writes comes with the first of them
      if (id === undefined || id !== known.id) throw new StoreFailure(`${known.name} was deleted or replaced while it was open`, false)
    }
  }
}

function idOf(file: string, mayHeal = false): string | undefined {
  try {
    const stat = fs.statSync(file, { throwIfNoEntry: false })
    return stat === undefined ? undefined : `${stat.dev} ${stat.ino}`
  } catch (error) {
    throw new StoreFailure(message(error), mayHeal) // a folder that is closed to this user
  }
}

/** SQLite's primary result code. */
function code(error: unknown): number {
  const extended = (error as { errcode?: unknown }).errcode
  return typeof extended === 'number' ? extended & 0xff : -1
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown error'
}

function isOlder(version: string): boolean {
  const parts = version.split('.').map(Number)
  for (let i = 0; i < MIN_SQLITE.length; i++) {
    const difference = (parts[i] ?? 0) - (MIN_SQLITE[i] as number)
    if (difference !== 0) return difference < 0
  }
  return false
}
