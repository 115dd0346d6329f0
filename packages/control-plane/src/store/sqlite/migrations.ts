import { StoreOpenError } from '../open-error.ts'
import type { Database } from './database.ts'

/** Forward only; the index in this list plus one is the version a store has after it. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
   CREATE TABLE commit_group (first_seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, entries TEXT NOT NULL, bodies TEXT NOT NULL, checkpoint TEXT);
   CREATE TABLE tile (level INTEGER NOT NULL, idx INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (level, idx)) WITHOUT ROWID;
   CREATE TABLE execution (jti TEXT PRIMARY KEY, seq INTEGER NOT NULL, ending INTEGER, deadline_ms INTEGER NOT NULL, expiry INTEGER) WITHOUT ROWID;
   CREATE INDEX execution_open ON execution (deadline_ms) WHERE ending IS NULL;`,
  'CREATE TABLE spent (key TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;',
  'ALTER TABLE execution ADD COLUMN parent TEXT; CREATE INDEX execution_parent ON execution (parent, seq) WHERE parent IS NOT NULL;',
]

/** Brings a store to the newest version. @throws {StoreOpenError} when it is newer than this program */
export function migrate(database: Database, file: string): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > MIGRATIONS.length) throw new StoreOpenError(`store ${file} was written by a newer version of sealwrit (format ${version}); use that version`)
  for (let next = version; next < MIGRATIONS.length; next++) {
    try {
      database.exec(`BEGIN IMMEDIATE; ${MIGRATIONS[next] as string}; PRAGMA user_version = ${next + 1}; COMMIT`)
    } catch (error) {
      throw new StoreOpenError(`store ${file} cannot be brought to format ${next + 1}: ${error instanceof Error ? error.message : 'unknown error'}`)
    }
  }
}
