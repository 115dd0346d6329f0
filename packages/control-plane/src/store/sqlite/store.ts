import { decodeBodies, encodeBodies } from '../bodies.ts'
import type { Appended, ExecutionRow, Group, Head, Store, StoredBody, StoredRow } from '../store.ts'
import { type Database, Files, openDatabase, type Statement, write } from './database.ts'
import { migrate } from './migrations.ts'

/** Opens the embedded store. @throws {StoreOpenError} */
export function openSqliteStore(file: string): Store {
  const database = openDatabase(file)
  try {
    migrate(database, file)
    return new SqliteStore(database, new Files(file))
  } catch (error) {
    database.close()
    throw error
  }
}

/** Rows read at once by a check of the whole store; groups are the large ones. */
const AUDIT_PAGE = 256
const AUDIT_GROUPS = 8

interface GroupRow {
  first_seq: number
  count: number
  entries: string
  bodies: string
  checkpoint: string | null
}

/** The groups that hold any of `count` leaves from `from` on. */
function* groups(from: number, count: number, at: Statement, next: Statement): Generator<Pick<GroupRow, 'first_seq' | 'count' | 'entries'>> {
  if (count <= 0) return
  let row = at.get(from) as GroupRow | undefined
  while (row !== undefined && row.first_seq < from + count) {
    yield row
    row = next.get(row.first_seq + row.count) as GroupRow | undefined
  }
}

class SqliteStore implements Store {
  readonly isShared = false
  readonly #database: Database
  readonly #files: Files
  readonly #insertGroup: Statement
  readonly #insertTile: Statement
  readonly #insertSpent: Statement
  readonly #groupAt: Statement
  readonly #groupFrom: Statement
  readonly #entriesAt: Statement
  readonly #entriesFrom: Statement
  readonly #selectTile: Statement
  readonly #putExecution: Statement
  #size = 0
  #lastFirstSeq = -1

  constructor(database: Database, files: Files) {
    this.#database = database
    this.#files = files
    this.#insertGroup = database.prepare('INSERT INTO commit_group (first_seq, count, entries, bodies, checkpoint) VALUES (?, ?, ?, ?, ?)')
    this.#insertTile = database.prepare('INSERT INTO tile (level, idx, hashes) VALUES (?, ?, ?)')
    this.#insertSpent = database.prepare('INSERT INTO spent (key, seq) VALUES (?, ?) ON CONFLICT (key) DO NOTHING')
    this.#groupAt = database.prepare('SELECT * FROM commit_group WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1')
    this.#groupFrom = database.prepare('SELECT * FROM commit_group WHERE first_seq = ?')
    // Without the bodies, which stand on pages of their own and are several times as large.
    this.#entriesAt = database.prepare('SELECT first_seq, count, entries FROM commit_group WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1')
    this.#entriesFrom = database.prepare('SELECT first_seq, count, entries FROM commit_group WHERE first_seq = ?')
    this.#selectTile = database.prepare('SELECT hashes FROM tile WHERE level = ? AND idx = ?')
    this.#putExecution = database.prepare(
      'INSERT INTO execution (jti, seq, ending, deadline_ms, expiry, parent) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (jti) DO UPDATE SET ending = excluded.ending, expiry = excluded.expiry',
    )
  }

  async head(): Promise<Head> {
    const row = this.#database.prepare('SELECT checkpoint FROM commit_group WHERE checkpoint IS NOT NULL ORDER BY first_seq DESC LIMIT 1').get() as { checkpoint: string } | undefined
    const last = this.#groupAt.get(Number.MAX_SAFE_INTEGER) as GroupRow | undefined
    this.#lastFirstSeq = last?.first_seq ?? -1
    this.#size = last === undefined ? 0 : last.first_seq + last.count
    return { size: this.#size, checkpoint: row?.checkpoint }
  }

  async append(group: Group): Promise<Appended> {
    // One writer holds the file, so its own count is the head; the primary key would refuse a second group at this place.
    if (group.firstSeq !== this.#size) return 'lost'
    const insert = (): void => {
      this.#insertGroup.run(group.firstSeq, group.entries.length, group.entries.join('\n'), encodeBodies(group.bodies), group.checkpoint ?? null)
    }
    const appended = this.#write((): boolean => {
      if (group.tiles.length === 0 && group.spent.length === 0) {
        insert()
        return true
      }
      return this.#transaction(() => {
        for (const key of group.spent) if (this.#insertSpent.run(key, group.firstSeq).changes === 0) return false
        insert()
        for (const tile of group.tiles) this.#insertTile.run(tile.level, tile.index, tile.hashes)
        return true
      })
    })
    if (!appended) return 'spent'
    this.#lastFirstSeq = group.firstSeq
    this.#size += group.entries.length
    return 'appended'
  }

  async putCheckpoint(size: number, note: string): Promise<boolean> {
    if (size !== this.#size) return false
    this.#write(() => this.#database.prepare('UPDATE commit_group SET checkpoint = ? WHERE first_seq = ?').run(note, this.#lastFirstSeq))
    return true
  }

  async entries(from: number, count: number): Promise<readonly string[]> {
    const out: string[] = []
    for (const row of groups(from, count, this.#entriesAt, this.#entriesFrom)) {
      const texts = row.entries.split('\n')
      for (let i = Math.max(0, from - row.first_seq); i < texts.length && out.length < count; i++) out.push(texts[i] as string)
    }
    return out
  }

  #groups(from: number, count: number): Generator<GroupRow> {
    return groups(from, count, this.#groupAt, this.#groupFrom) as Generator<GroupRow>
  }

  async tile(level: number, index: number): Promise<Uint8Array | undefined> {
    const row = this.#selectTile.get(level, index) as { hashes: Uint8Array } | undefined
    return row?.hashes
  }

  async bodies(from: number, count = 1): Promise<readonly StoredBody[]> {
    const out: StoredBody[] = []
    for (const row of this.#groups(from, count)) out.push(...decodeBodies(row.bodies).filter(({ seq }) => seq >= from && seq < from + count))
    return out
  }

  async eraseBodies(from: number, to: number): Promise<number> {
    const erased = this.#write(() => {
      let count = 0
      this.#transaction(() => {
        for (const row of [...this.#groups(from, to - from)]) {
          const bodies = decodeBodies(row.bodies)
          const kept = bodies.filter(({ seq }) => seq < from || seq >= to)
          count += bodies.length - kept.length
          if (kept.length < bodies.length) this.#database.prepare('UPDATE commit_group SET bodies = ? WHERE first_seq = ?').run(encodeBodies(kept), row.first_seq)
        }
        return true
      })
      return count
    })
    // What was overwritten is zeroed in the file (secure_delete); the log of writes must not keep it either.
    if (erased > 0) this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    return erased
  }

  async *audit(): AsyncGenerator<StoredRow> {
    const check = this.#database.prepare('PRAGMA integrity_check(20)').all() as { integrity_check: string }[]
    for (const { integrity_check: what } of check) if (what !== 'ok') yield { kind: 'damage', what }
    for (const row of this.#rows('SELECT * FROM commit_group WHERE first_seq > ? ORDER BY first_seq', ['first_seq'], [Number.MIN_SAFE_INTEGER], AUDIT_GROUPS) as Iterable<GroupRow>) {
      yield { kind: 'group', firstSeq: row.first_seq, count: row.count, entries: String(row.entries), bodies: String(row.bodies), checkpoint: row.checkpoint ?? undefined }
    }
    for (const row of this.#rows('SELECT level, idx, hashes FROM tile WHERE (level, idx) > (?, ?) ORDER BY level, idx', ['level', 'idx'], [-1, -1])) yield { kind: 'tile', level: Number(row['level']), index: Number(row['idx']), hashes: row['hashes'] as Uint8Array }
    for (const row of this.#rows('SELECT key, seq FROM spent WHERE key > ? ORDER BY key', ['key'], [''])) yield { kind: 'spent', key: String(row['key']), seq: Number(row['seq']) }
    for (const row of this.#rows('SELECT * FROM execution WHERE jti > ? ORDER BY jti', ['jti'], [''])) yield { kind: 'execution', ...readExecution(row) }
    for (const row of this.#rows('SELECT key, value FROM meta WHERE key > ? ORDER BY key', ['key'], [''])) yield { kind: 'meta', key: String(row['key']), value: String(row['value']) }
  }

  /** All rows of a statement, a page at a time: a statement that stays open would keep erasures from emptying the log of writes. */
  *#rows(text: string, key: readonly string[], first: readonly (string | number)[], limit = AUDIT_PAGE): Generator<Record<string, unknown>> {
    const statement = this.#database.prepare(`${text} LIMIT ${limit}`)
    for (let after = first; ; ) {
      const rows = statement.all(...after)
      yield* rows
      const last = rows.at(-1)
      if (last === undefined || rows.length < limit) return
      after = key.map((name) => last[name] as string | number)
    }
  }

  #write<T>(run: () => T): T {
    this.#files.verify(false)
    const written = write(run)
    this.#files.verify(true)
    return written
  }

  async spentAt(key: string): Promise<number | undefined> {
    const row = this.#database.prepare('SELECT seq FROM spent WHERE key = ?').get(key) as { seq: number } | undefined
    return row?.seq
  }

  async getMeta(key: string): Promise<string | undefined> {
    return this.#getMeta(key)
  }

  async putMeta(key: string, value: string): Promise<void> {
    this.#write(() => this.#putMeta(key, value))
  }

  #getMeta(key: string): string | undefined {
    const row = this.#database.prepare('SELECT value FROM meta WHERE key = ?').get(key) as { value: string } | undefined
    return row?.value
  }

  #putMeta(key: string, value: string): void {
    this.#database.prepare('INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value').run(key, value)
  }

  async indexedSize(): Promise<number> {
    return Number((await this.getMeta('indexed_size')) ?? '0')
  }

  async putIndex(size: number, rows: readonly ExecutionRow[]): Promise<void> {
    this.#write(() =>
      this.#transaction(() => {
        for (const row of rows) this.#putExecution.run(row.jti, row.seq, row.ending ?? null, row.deadlineMs, row.expiry ?? null, row.parent ?? null)
        this.#putMeta('indexed_size', String(Math.max(size, Number(this.#getMeta('indexed_size') ?? '0'))))
        return true
      }),
    )
  }

  async execution(jti: string): Promise<ExecutionRow | undefined> {
    const row = this.#database.prepare('SELECT * FROM execution WHERE jti = ?').get(jti)
    return row === undefined ? undefined : readExecution(row)
  }

  async children(parent: string, after: number, limit: number): Promise<readonly ExecutionRow[]> {
    return this.#database.prepare('SELECT * FROM execution WHERE parent = ? AND seq > ? ORDER BY seq LIMIT ?').all(parent, after, limit).map(readExecution)
  }

  /** It runs in the plane's own process: there is no other clock. */
  async clockMs(): Promise<undefined> {
    return undefined
  }

  async close(): Promise<void> {
    this.#database.close()
  }

  /** Runs in one transaction; false takes it back. */
  #transaction(run: () => boolean): boolean {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      const done = run()
      this.#database.exec(done ? 'COMMIT' : 'ROLLBACK')
      return done
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }
}

function readExecution(row: Record<string, unknown>): ExecutionRow {
  const optional = (value: unknown): number | undefined => (value === null ? undefined : Number(value))
  return {
    jti: String(row['jti']),
    seq: Number(row['seq']),
    ending: optional(row['ending']),
    deadlineMs: Number(row['deadline_ms']),
    expiry: optional(row['expiry']),
    parent: row['parent'] === null ? undefined : String(row['parent']),
  }
}
