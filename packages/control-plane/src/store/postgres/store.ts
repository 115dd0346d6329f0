import { randomUUID } from 'node:crypto'
import { decodeBodies, encodeBodies } from '../bodies.ts'
import { StoreOpenError } from '../open-error.ts'
import type { Appended, ExecutionRow, Group, Head, Store, StoredBody, StoredRow } from '../store.ts'
import { StoreFailure } from '../store.ts'
import { codeOf, Connection, type Statement, UNIQUE_VIOLATION } from './connection.ts'
import { migrate } from './migrations.ts'

export { addressesOf } from './addresses.ts'

/**
 * Opens a log in a PostgreSQL-wire database; any number of planes may do so at once.
 * @param url `postgres://…`, perhaps with several hosts, of which the one that takes writes is used
 * @throws {StoreOpenError} when it cannot be reached or is newer than this program
 */
export async function openPostgresStore(url: string, tenant: string): Promise<Store> {
  const connection = new Connection(url)
  try {
    await migrate(connection, randomUUID())
    const { server } = await connection.write('INSERT INTO sealwrit_head (tenant, size, checkpoint) VALUES ($1, 0, NULL) ON CONFLICT (tenant) DO NOTHING', [tenant])
    return new PostgresStore(connection, tenant, server)
  } catch (error) {
    await connection.close()
    throw error instanceof StoreFailure ? new StoreOpenError(`the store cannot be reached: ${error.message}`) : error
  }
}

/** Entries whose groups are looked at together, and rows read at once by a check of the whole store. */
const PAGE = 4_096
const AUDIT_PAGE = 256

interface GroupRow {
  first_seq: string
  count: number
  entries: string
  bodies: string
}

const HEAD: Statement = { name: 'sealwrit_head_1', text: 'SELECT size, checkpoint FROM sealwrit_head WHERE tenant = $1' }

/**
 * One statement, so one transaction and one round trip: the head moves if it stands where the writer thinks, under the very
 * checkpoint that the writer knows, and only then is anything else written. A second spending of a key fails the whole statement.
 */
const APPEND: Statement = { name: 'sealwrit_append_1', text: `
WITH cas AS (
  UPDATE sealwrit_head SET size = CAST($2 AS BIGINT) + $3, checkpoint = COALESCE($4, checkpoint) WHERE tenant = $1 AND size = $2 AND (CAST($11 AS TEXT) IS NULL OR checkpoint = $11) RETURNING tenant
), packed AS (
  INSERT INTO sealwrit_group (tenant, first_seq, count, entries, bodies) SELECT tenant, CAST($2 AS BIGINT), CAST($3 AS INTEGER), $5, $6 FROM cas RETURNING first_seq
), tiles AS (
  INSERT INTO sealwrit_tile (tenant, level, idx, hashes) SELECT cas.tenant, t.level, t.idx, t.hashes FROM cas, unnest(CAST($7 AS INTEGER[]), CAST($8 AS BIGINT[]), CAST($9 AS BYTEA[])) AS t (level, idx, hashes) RETURNING idx
), spent AS (
  INSERT INTO sealwrit_spent (tenant, key, seq) SELECT cas.tenant, s.key, CAST($2 AS BIGINT) FROM cas, unnest(CAST($10 AS TEXT[])) AS s (key) RETURNING seq
)
SELECT count(*) AS moved FROM cas` }

/** By the table, or by its constraint where the database does not name tables. */
function isOfSpent({ table, constraint }: { table?: string; constraint?: string }): boolean {
  return table === 'sealwrit_spent' || constraint === 'sealwrit_spent_pkey'
}

class PostgresStore implements Store {
  readonly isShared = true
  readonly #connection: Connection
  readonly #tenant: string
  /** The session in which the head was read last: nothing is written in a later one before the head is read again. */
  #server: number

  constructor(connection: Connection, tenant: string, server: number) {
    this.#server = server
    this.#connection = connection
    this.#tenant = tenant
  }

  async head(): Promise<Head> {
    const { rows, server } = await this.#connection.write<{ size: string; checkpoint: string | null }>(HEAD, [this.#tenant])
    const [row] = rows
    if (row === undefined) throw new StoreFailure('the head of the log is gone', false)
    this.#server = server
    return { size: Number(row.size), checkpoint: row.checkpoint ?? undefined, server }
  }

  async append(group: Group): Promise<Appended> {
    const { tiles } = group
    const values = [
      this.#tenant, group.firstSeq, group.entries.length, group.checkpoint ?? null, group.entries.join('\n'), encodeBodies(group.bodies),
      tiles.map((t) => t.level), tiles.map((t) => t.index), tiles.map((t) => Buffer.from(t.hashes)), group.spent, group.after ?? null,
    ]
    try {
      const written = await this.#connection.write<{ moved: string }>(APPEND, values, this.#server)
      return Number(written?.rows[0]?.moved) === 1 ? 'appended' : 'lost'
    } catch (error) {
      if (codeOf(error) !== UNIQUE_VIOLATION) throw error
      return isOfSpent(error as { table?: string; constraint?: string }) ? 'spent' : 'lost'
    }
  }

  async putCheckpoint(size: number, note: string): Promise<boolean> {
    const written = await this.#connection.write('UPDATE sealwrit_head SET checkpoint = $3 WHERE tenant = $1 AND size = $2', [this.#tenant, size, note], this.#server)
    return written?.count === 1
  }

  async entries(from: number, count: number): Promise<readonly string[]> {
    const out: string[] = []
    for (const row of await this.#groups(from, count, 'entries')) {
      const texts = row.entries.split('\n')
      for (let i = Math.max(0, from - Number(row.first_seq)); i < texts.length && out.length < count; i++) out.push(texts[i] as string)
    }
    return out
  }

  async bodies(from: number, count = 1): Promise<readonly StoredBody[]> {
    const rows = await this.#groups(from, count, 'bodies')
    return rows.flatMap((row) => decodeBodies(row.bodies)).filter(({ seq }) => seq >= from && seq < from + count)
  }

  /** The groups that hold any of `count` leaves from `from` on. */
  async #groups(from: number, count: number, column: 'entries' | 'bodies'): Promise<readonly GroupRow[]> {
    if (count <= 0) return []
    const { rows } = await this.#connection.read<GroupRow>(
      `SELECT first_seq, count, ${column} FROM sealwrit_group WHERE tenant = $1 AND first_seq < $3
         AND first_seq >= COALESCE((SELECT max(first_seq) FROM sealwrit_group WHERE tenant = $1 AND first_seq <= $2), 0) ORDER BY first_seq`,
      [this.#tenant, from, from + count],
    )
    return rows
  }

  async tile(level: number, index: number): Promise<Uint8Array | undefined> {
    const { rows } = await this.#connection.read<{ hashes: Uint8Array }>('SELECT hashes FROM sealwrit_tile WHERE tenant = $1 AND level = $2 AND idx = $3', [this.#tenant, level, index])
    return rows[0] === undefined ? undefined : new Uint8Array(rows[0].hashes)
  }

  /** The old row version stays on disk until the database vacuums: see LIMITATIONS. */
  async eraseBodies(from: number, to: number): Promise<number> {
    let erased = 0
    for (let at = from; at < to; at += PAGE) {
      for (const row of await this.#groups(at, Math.min(PAGE, to - at), 'bodies')) erased += await this.#eraseIn(row, from, to)
    }
    return erased
  }

  async #eraseIn(row: GroupRow, from: number, to: number): Promise<number> {
    const bodies = decodeBodies(row.bodies)
    const kept = bodies.filter(({ seq }) => seq < from || seq >= to)
    if (kept.length === bodies.length) return 0
    // Another plane may erase in the same group at the same moment.
    const { count } = await this.#connection.write('UPDATE sealwrit_group SET bodies = $3 WHERE tenant = $1 AND first_seq = $2 AND bodies = $4', [this.#tenant, row.first_seq, encodeBodies(kept), row.bodies])
    if (count === 1) return bodies.length - kept.length
    const [again] = await this.#groups(Number(row.first_seq), 1, 'bodies')
    return again === undefined ? 0 : this.#eraseIn(again, from, to)
  }

  async *audit(): AsyncGenerator<StoredRow> {
    const { size, checkpoint } = await this.head()
    yield { kind: 'head', size, checkpoint }
    for await (const row of this.#rows('SELECT first_seq, count, entries, bodies FROM sealwrit_group WHERE tenant = $1 AND first_seq > $2 ORDER BY first_seq', ['first_seq'], [-1])) {
      yield { kind: 'group', firstSeq: Number(row['first_seq']), count: Number(row['count']), entries: String(row['entries']), bodies: String(row['bodies']), checkpoint: undefined }
    }
    for await (const row of this.#rows('SELECT level, idx, hashes FROM sealwrit_tile WHERE tenant = $1 AND (level > $2 OR (level = $2 AND idx > $3)) ORDER BY level, idx', ['level', 'idx'], [-1, -1])) {
      yield { kind: 'tile', level: Number(row['level']), index: Number(row['idx']), hashes: new Uint8Array(row['hashes'] as Buffer) }
    }
    for await (const row of this.#rows('SELECT key, seq FROM sealwrit_spent WHERE tenant = $1 AND key > $2 ORDER BY key', ['key'], [''])) yield { kind: 'spent', key: String(row['key']), seq: Number(row['seq']) }
    for await (const row of this.#rows('SELECT jti, seq, ending, deadline_ms, expiry, parent FROM sealwrit_execution WHERE tenant = $1 AND jti > $2 ORDER BY jti', ['jti'], [''])) yield { kind: 'execution', ...readExecution(row) }
    for await (const row of this.#rows('SELECT key, value FROM sealwrit_meta WHERE tenant = $1 AND key > $2 ORDER BY key', ['key'], [''])) yield { kind: 'meta', key: String(row['key']), value: String(row['value']) }
  }

  /** All rows of a statement, a page at a time, each page after the last key of the one before. */
  async *#rows(text: string, key: readonly string[], first: readonly unknown[]): AsyncGenerator<Record<string, unknown>> {
    for (let after = first; ; ) {
      const { rows } = await this.#connection.read<Record<string, unknown>>(`${text} LIMIT ${AUDIT_PAGE}`, [this.#tenant, ...after])
      yield* rows
      const last = rows.at(-1)
      if (last === undefined || rows.length < AUDIT_PAGE) return
      after = key.map((name) => last[name])
    }
  }

  async spentAt(key: string): Promise<number | undefined> {
    const { rows } = await this.#connection.read<{ seq: string }>('SELECT seq FROM sealwrit_spent WHERE tenant = $1 AND key = $2', [this.#tenant, key])
    return rows[0] === undefined ? undefined : Number(rows[0].seq)
  }

  async getMeta(key: string): Promise<string | undefined> {
    const { rows } = await this.#connection.read<{ value: string }>('SELECT value FROM sealwrit_meta WHERE tenant = $1 AND key = $2', [this.#tenant, key])
    return rows[0]?.value
  }

  async putMeta(key: string, value: string): Promise<void> {
    await this.#connection.write('INSERT INTO sealwrit_meta (tenant, key, value) VALUES ($1, $2, $3) ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value', [this.#tenant, key, value])
  }

  async indexedSize(): Promise<number> {
    return Number((await this.getMeta('indexed_size')) ?? '0')
  }

  async putIndex(size: number, rows: readonly ExecutionRow[]): Promise<void> {
    const column = <K extends keyof ExecutionRow>(name: K): (ExecutionRow[K] | null)[] => rows.map((row) => row[name] ?? null)
    await this.#connection.write(
      `WITH rows AS (
         INSERT INTO sealwrit_execution (tenant, jti, seq, ending, deadline_ms, expiry, parent)
         SELECT $1, r.jti, r.seq, r.ending, r.deadline_ms, r.expiry, r.parent FROM unnest(CAST($2 AS TEXT[]), CAST($3 AS BIGINT[]), CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), CAST($8 AS TEXT[])) AS r (jti, seq, ending, deadline_ms, expiry, parent)
         ON CONFLICT (tenant, jti) DO UPDATE SET ending = excluded.ending, expiry = excluded.expiry RETURNING jti
       )
       INSERT INTO sealwrit_meta (tenant, key, value) VALUES ($1, 'indexed_size', $7)
       ON CONFLICT (tenant, key) DO UPDATE SET value = CAST(GREATEST(CAST(sealwrit_meta.value AS BIGINT), CAST(excluded.value AS BIGINT)) AS TEXT)`,
      [this.#tenant, column('jti'), column('seq'), column('ending'), column('deadlineMs'), column('expiry'), String(size), column('parent')],
    )
  }

  async execution(jti: string): Promise<ExecutionRow | undefined> {
    const { rows } = await this.#connection.read<Record<string, string | null>>('SELECT jti, seq, ending, deadline_ms, expiry, parent FROM sealwrit_execution WHERE tenant = $1 AND jti = $2', [this.#tenant, jti])
    return rows[0] === undefined ? undefined : readExecution(rows[0])
  }

  async children(parent: string, after: number, limit: number): Promise<readonly ExecutionRow[]> {
    const { rows } = await this.#connection.read<Record<string, string | null>>('SELECT jti, seq, ending, deadline_ms, expiry, parent FROM sealwrit_execution WHERE tenant = $1 AND parent = $2 AND seq > $3 ORDER BY seq LIMIT $4', [this.#tenant, parent, after, limit])
    return rows.map(readExecution)
  }

  async clockMs(): Promise<number> {
    const { rows } = await this.#connection.read<{ now: string }>('SELECT CAST(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000 AS BIGINT) AS now')
    return Number(rows[0]?.now)
  }

  close(): Promise<void> {
    return this.#connection.close()
  }
}

function readExecution(row: Record<string, unknown>): ExecutionRow {
  const optional = (value: unknown): number | undefined => (value === null || value === undefined ? undefined : Number(value))
  return { jti: String(row['jti']), seq: Number(row['seq']), ending: optional(row['ending']), deadlineMs: Number(row['deadline_ms']), expiry: optional(row['expiry']), parent: row['parent'] === null ? undefined : String(row['parent']) }
}
