import type { ExecutionRow, Group, Store, StoredBody } from '../store.ts'
import { StoreFailure } from '../store.ts'
import { type Database, openDatabase, type Statement, write } from './database.ts'
import { migrate } from './migrations.ts'

/** Opens the embedded store. @throws {StoreOpenError} */
export function openSqliteStore(file: string): Store {
  const database = openDatabase(file)
  try {
    migrate(database, file)
    return new SqliteStore(database)
  } catch (error) {
    database.close()
    throw error
  }
}

interface GroupRow {
  first_seq: number
  count: number
  entries: string
  bodies: string
  checkpoint: string | null
}

class SqliteStore implements Store {
  readonly #database: Database
  readonly #insertGroup: Statement
  readonly #insertTile: Statement
  readonly #groupAt: Statement
  readonly #groupFrom: Statement
  readonly #selectTile: Statement
  readonly #putExecution: Statement
  #size: number
  #lastFirstSeq: number

  constructor(database: Database) {
    this.#database = database
    this.#insertGroup = database.prepare('INSERT INTO commit_group (first_seq, count, entries, bodies, checkpoint) VALUES (?, ?, ?, ?, ?)')
    this.#insertTile = database.prepare('INSERT INTO tile (level, idx, hashes) VALUES (?, ?, ?)')
    this.#groupAt = database.prepare('SELECT * FROM commit_group WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1')
    this.#groupFrom = database.prepare('SELECT * FROM commit_group WHERE first_seq = ?')
    this.#selectTile = database.prepare('SELECT hashes FROM tile WHERE level = ? AND idx = ?')
    this.#putExecution = database.prepare(
      'INSERT INTO execution (jti, seq, ending, deadline_ms, expiry) VALUES (?, ?, ?, ?, ?) ON CONFLICT (jti) DO UPDATE SET ending = excluded.ending, expiry = excluded.expiry',
    )
    const last = this.#groupAt.get(Number.MAX_SAFE_INTEGER) as GroupRow | undefined
    this.#lastFirstSeq = last?.first_seq ?? -1
    this.#size = last === undefined ? 0 : last.first_seq + last.count
  }

  size(): number {
    return this.#size
  }

  checkpoint(): string | undefined {
    const row = this.#database.prepare('SELECT checkpoint FROM commit_group WHERE checkpoint IS NOT NULL ORDER BY first_seq DESC LIMIT 1').get() as { checkpoint: string } | undefined
    return row?.checkpoint
  }

  append(group: Group): void {
    // The primary key is the compare-and-swap: a second group at this place is refused by the store itself.
    if (group.firstSeq !== this.#size) throw new StoreFailure('the log is longer than this writer knows', false)
    const insert = (): void => {
      this.#insertGroup.run(group.firstSeq, group.entries.length, group.entries.join('\n'), encodeBodies(group.bodies), group.checkpoint ?? null)
    }
    write(() => {
      if (group.tiles.length === 0) return insert()
      this.#transaction(() => {
        insert()
        for (const tile of group.tiles) this.#insertTile.run(tile.level, tile.index, tile.hashes)
      })
    })
    this.#lastFirstSeq = group.firstSeq
    this.#size += group.entries.length
  }

  putCheckpoint(note: string): void {
    write(() => this.#database.prepare('UPDATE commit_group SET checkpoint = ? WHERE first_seq = ?').run(note, this.#lastFirstSeq))
  }

  entries(from: number, count: number): readonly string[] {
    const out: string[] = []
    for (const row of this.#groups(from, count)) {
      const texts = row.entries.split('\n')
      for (let i = Math.max(0, from - row.first_seq); i < texts.length && out.length < count; i++) out.push(texts[i] as string)
    }
    return out
  }

  /** The groups that hold any of `count` leaves from `from` on. */
  *#groups(from: number, count: number): Generator<GroupRow> {
    if (count <= 0) return
    let row = this.#groupAt.get(from) as GroupRow | undefined
    while (row !== undefined && row.first_seq < from + count) {
      yield row
      row = this.#groupFrom.get(row.first_seq + row.count) as GroupRow | undefined
    }
  }

  tile(level: number, index: number): Uint8Array | undefined {
    const row = this.#selectTile.get(level, index) as { hashes: Uint8Array } | undefined
    return row?.hashes
  }

  bodies(from: number, count = 1): readonly StoredBody[] {
    const out: StoredBody[] = []
    for (const row of this.#groups(from, count)) out.push(...decodeBodies(row.bodies).filter(({ seq }) => seq >= from && seq < from + count))
    return out
  }

  getMeta(key: string): string | undefined {
    const row = this.#database.prepare('SELECT value FROM meta WHERE key = ?').get(key) as { value: string } | undefined
    return row?.value
  }

  putMeta(key: string, value: string): void {
    write(() => this.#database.prepare('INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value').run(key, value))
  }

  indexedSize(): number {
    return Number(this.getMeta('indexed_size') ?? '0')
  }

  putIndex(size: number, rows: readonly ExecutionRow[]): void {
    write(() =>
      this.#transaction(() => {
        for (const row of rows) this.#putExecution.run(row.jti, row.seq, row.ending ?? null, row.deadlineMs, row.expiry ?? null)
        this.putMeta('indexed_size', String(size))
      }),
    )
  }

  execution(jti: string): ExecutionRow | undefined {
    const row = this.#database.prepare('SELECT * FROM execution WHERE jti = ?').get(jti)
    return row === undefined ? undefined : readExecution(row)
  }

  openExecutions(): readonly ExecutionRow[] {
    return this.#database.prepare('SELECT * FROM execution WHERE ending IS NULL').all().map(readExecution)
  }

  close(): void {
    this.#database.close()
  }

  #transaction(run: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      run()
      this.#database.exec('COMMIT')
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
  }
}

/** One line a body: five fields without spaces, then the canonical text, which holds no newline. */
function encodeBodies(bodies: readonly StoredBody[]): string {
  return bodies.map((b) => `${b.seq} ${b.purpose} ${b.commit} ${b.salt} ${b.digest} ${b.text ?? ''}`).join('\n')
}

function decodeBodies(column: string): StoredBody[] {
  if (column === '') return []
  return column.split('\n').map((line) => {
    const [seq, purpose, commit, salt, digest] = line.split(' ', 5) as [string, StoredBody['purpose'], string, string, string]
    const text = line.slice(seq.length + purpose.length + commit.length + salt.length + digest.length + 5)
    return { seq: Number(seq), purpose, commit, salt, digest, text: text === '' ? undefined : text }
  })
}
