import { StoreOpenError } from '../open-error.ts'
import { ALREADY_THERE, codeOf, type Connection } from './connection.ts'

/**
 * Forward only; the index in this list plus one is the version a store has after it. Each statement can be run again, since
 * a crash may leave any of them done: DDL and its version are not one transaction on every PostgreSQL-wire database.
 */
const MIGRATIONS: readonly (readonly string[])[] = [
  [
    'CREATE TABLE IF NOT EXISTS sealwrit_meta (tenant TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (tenant, key))',
    'CREATE TABLE IF NOT EXISTS sealwrit_head (tenant TEXT PRIMARY KEY, size BIGINT NOT NULL, checkpoint TEXT)',
    'CREATE TABLE IF NOT EXISTS sealwrit_group (tenant TEXT NOT NULL, first_seq BIGINT NOT NULL, count INTEGER NOT NULL, entries TEXT NOT NULL, bodies TEXT NOT NULL, PRIMARY KEY (tenant, first_seq))',
    'CREATE TABLE IF NOT EXISTS sealwrit_tile (tenant TEXT NOT NULL, level INTEGER NOT NULL, idx BIGINT NOT NULL, hashes BYTEA NOT NULL, PRIMARY KEY (tenant, level, idx))',
    'CREATE TABLE IF NOT EXISTS sealwrit_spent (tenant TEXT NOT NULL, key TEXT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (tenant, key))',
    'CREATE TABLE IF NOT EXISTS sealwrit_execution (tenant TEXT NOT NULL, jti TEXT NOT NULL, seq BIGINT NOT NULL, ending BIGINT, deadline_ms BIGINT NOT NULL, expiry BIGINT, PRIMARY KEY (tenant, jti))',
  ],
  [
    'ALTER TABLE sealwrit_execution ADD COLUMN IF NOT EXISTS parent TEXT',
    'CREATE INDEX IF NOT EXISTS sealwrit_execution_parent ON sealwrit_execution (tenant, parent, seq)',
  ],
]

/** How long one plane may hold the lock row, and how long another waits for it, in milliseconds. */
const LOCK_MS = 60_000
const POLL_MS = 50

/**
 * Brings the database to the newest version, one plane at a time: whoever holds the lock row.
 * @param holder names this process, unique
 * @throws {StoreOpenError} when it is newer than this program, or another plane holds the lock for too long
 */
export async function migrate(connection: Connection, holder: string): Promise<void> {
  await createVersionTable(connection)
  await connection.write('INSERT INTO sealwrit_version (id, version, holder, expires_ms) VALUES (1, 0, NULL, 0) ON CONFLICT (id) DO NOTHING')
  for (let waitedMs = 0; (await version(connection)) < MIGRATIONS.length; waitedMs += POLL_MS) {
    if (await lock(connection, holder)) {
      await run(connection, holder)
    } else {
      if (waitedMs > LOCK_MS) throw new StoreOpenError('another plane has been migrating the database for a minute; look at the row of sealwrit_version')
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }
}

/** `IF NOT EXISTS` does not keep creators at the same moment apart: each but the first may fail, and then it is there. */
async function createVersionTable(connection: Connection): Promise<void> {
  const statement = 'CREATE TABLE IF NOT EXISTS sealwrit_version (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, holder TEXT, expires_ms BIGINT NOT NULL)'
  try {
    await connection.write(statement)
  } catch (error) {
    if (!ALREADY_THERE.includes(codeOf(error) ?? '')) throw error
    await connection.write(statement)
  }
}

/** @throws {StoreOpenError} */
async function version(connection: Connection): Promise<number> {
  const { rows } = await connection.write<{ version: number }>('SELECT version FROM sealwrit_version WHERE id = 1')
  const found = Number(rows[0]?.version ?? 0) // where INTEGER has 64 bits it comes as a text
  if (found > MIGRATIONS.length) throw new StoreOpenError(`the database was written by a newer version of sealwrit (format ${found}); use that version`)
  return found
}

/** The database's own clock decides when a holder is taken for dead. */
async function lock(connection: Connection, holder: string): Promise<boolean> {
  const now = 'CAST(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000 AS BIGINT)'
  const { count } = await connection.write(`UPDATE sealwrit_version SET holder = $1, expires_ms = ${now} + $2 WHERE id = 1 AND (holder IS NULL OR expires_ms < ${now})`, [holder, LOCK_MS])
  return count === 1
}

async function run(connection: Connection, holder: string): Promise<void> {
  for (let next = await version(connection); next < MIGRATIONS.length; next++) {
    for (const statement of MIGRATIONS[next] as readonly string[]) await connection.write(statement)
    await connection.write('UPDATE sealwrit_version SET version = $1 WHERE id = 1 AND version = $2', [next + 1, next])
  }
  await connection.write('UPDATE sealwrit_version SET holder = NULL WHERE id = 1 AND holder = $1', [holder])
}
