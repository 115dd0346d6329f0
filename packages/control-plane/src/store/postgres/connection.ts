import pg from 'pg'
import { StoreFailure } from '../store.ts'
import { addressesOf } from './addresses.ts'

/** Time to connect, and for one statement, in milliseconds. Gates give up after two seconds; a statement may be lost later. */
const CONNECT_TIMEOUT_MS = 2_000
const STATEMENT_TIMEOUT_MS = 5_000
/** Connections of one plane that only read; one more writes. */
const MAX_READERS = 3
/** Times that a statement is tried again after a serialization failure. */
const MAX_RETRIES = 10

const SERIALIZATION_FAILURE = '40001'
const DEADLOCK = '40P01'
const READ_ONLY = '25006'
export const UNIQUE_VIOLATION = '23505'
/** What the second of two creators of one object may be told, whatever it said about existence: by a key of the catalogue, its type, or its table. */
export const ALREADY_THERE: readonly string[] = [UNIQUE_VIOLATION, '42710', '42P07']
/** Classes after which a later attempt may succeed: connection, rollback (with an unknown outcome too), resources, operator intervention, read-only server, system. */
const RECOVERABLE = ['08', '40', '53', '57', '25', '58']
/** Classes after which nothing more is asked of that server's connections: connection, operator intervention (of the server), read-only. */
const LOST = ['08', '57P', READ_ONLY]

export interface Result<R> {
  readonly rows: R[]
  readonly count: number
  /** Which session with a server answered, counted; see {@link Head.server}. */
  readonly server: number
}

/** A statement that is parsed once a connection. */
export interface Statement {
  readonly text: string
  readonly name: string
}

/** The connections to one server. Everything that writes, and the head, goes over one of them, in order. */
interface Session {
  readonly number: number
  readonly writer: pg.Pool
  readonly readers: pg.Pool
}

/**
 * Connections to that one of the given servers which takes writes, to one at a time: when any of them fails all are dropped
 * and the next use looks for a server anew, beginning with the last. Every failure is a {@link StoreFailure}.
 */
export class Connection {
  readonly #addresses: readonly string[]
  /** Which of the addresses answered last. */
  #at = 0
  #sessions = 0
  #session: Session | undefined
  #reaching: Promise<Session> | undefined
  #isClosed = false

  /** @throws {StoreOpenError} when `uri` cannot be read */
  constructor(uri: string) {
    this.#addresses = addressesOf(uri)
  }

  /** Runs a statement that only reads, beside others. @throws {StoreFailure} */
  read<R extends pg.QueryResultRow>(statement: Statement | string, values: readonly unknown[] = []): Promise<Result<R>> {
    return this.#run(statement, values, (session) => session.readers) as Promise<Result<R>>
  }

  /**
   * Runs a statement on the one connection that writes.
   * @param only the session that must be under way; in another one nothing is sent and the answer is undefined
   * @throws {StoreFailure} · {@link pg.DatabaseError} with a code of {@link ALREADY_THERE} only
   */
  write<R extends pg.QueryResultRow>(statement: Statement | string, values?: readonly unknown[]): Promise<Result<R>>
  write<R extends pg.QueryResultRow>(statement: Statement | string, values: readonly unknown[], only: number): Promise<Result<R> | undefined>
  write<R extends pg.QueryResultRow>(statement: Statement | string, values: readonly unknown[] = [], only?: number): Promise<Result<R> | undefined> {
    return this.#run<R>(statement, values, (session) => (only === undefined || only === session.number ? session.writer : undefined))
  }

  async #run<R extends pg.QueryResultRow>(statement: Statement | string, values: readonly unknown[], choose: (session: Session) => pg.Pool | undefined): Promise<Result<R> | undefined> {
    for (let attempt = 0; ; attempt++) {
      const session = await this.#reach()
      const pool = choose(session)
      if (pool === undefined) return undefined
      try {
        const { rows, rowCount } = await query<R>(pool, statement, values)
        return { rows, count: rowCount ?? 0, server: session.number }
      } catch (error) {
        const code = codeOf(error)
        if (code !== undefined && ALREADY_THERE.includes(code)) throw error
        if (isLost(code)) this.#leave(session)
        if ((code !== SERIALIZATION_FAILURE && code !== DEADLOCK) || attempt >= MAX_RETRIES) throw failure(error)
        await new Promise((resolve) => setTimeout(resolve, 2 ** Math.min(attempt, 6)))
      }
    }
  }

  async #reach(): Promise<Session> {
    if (this.#session !== undefined) return this.#session
    if (this.#isClosed) throw new StoreFailure('database: closed', false)
    this.#reaching ??= this.#find().finally(() => {
      this.#reaching = undefined
    })
    return this.#reaching
  }

  /** A standby is passed over: what it shows may be behind what was acknowledged. */
  async #find(): Promise<Session> {
    const failures: StoreFailure[] = []
    for (let tried = 0; tried < this.#addresses.length; tried++) {
      const session = this.#open(this.#addresses[this.#at] as string)
      try {
        const { rows } = await query<{ transaction_read_only: string }>(session.writer, 'SHOW transaction_read_only', [])
        if (rows[0]?.transaction_read_only === 'off') return (this.#session = session)
        failures.push(new StoreFailure('database: the server takes no writes', true))
      } catch (error) {
        failures.push(failure(error))
      }
      close(session)
      this.#at = (this.#at + 1) % this.#addresses.length
    }
    throw failures.find(({ recoverable }) => recoverable) ?? failures[0]
  }

  #open(connectionString: string): Session {
    const common: pg.PoolConfig = {
      connectionString,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: STATEMENT_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      idleTimeoutMillis: 0,
      keepAlive: true,
      application_name: 'sealwrit',
    }
    const session = { number: ++this.#sessions, writer: new pg.Pool({ ...common, max: 1 }), readers: new pg.Pool({ ...common, max: MAX_READERS }) }
    for (const pool of [session.writer, session.readers]) {
      pool.on('error', () => this.#leave(session)) // an idle connection ended
      pool.on('connect', (client) => client.on('error', () => undefined)) // one in use rejects its statement; unheard, it would end the process
    }
    return session
  }

  #leave(session: Session): void {
    if (this.#session === session) this.#session = undefined
    close(session)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const session = this.#session ?? (await this.#reaching?.catch(() => undefined))
    this.#session = undefined
    if (session !== undefined) await Promise.all([end(session.writer), end(session.readers)])
  }
}

function close({ writer, readers }: Session): void {
  void end(writer)
  void end(readers)
}

async function end(pool: pg.Pool): Promise<void> {
  if (!pool.ending) await pool.end()
}

/**
 * One statement on one connection of `pool`. A warning is no success: a commit whose wait for the standby was cut short is
 * told by a warning only.
 */
async function query<R extends pg.QueryResultRow>(pool: pg.Pool, statement: Statement | string, values: readonly unknown[]): Promise<pg.QueryResult<R>> {
  const client = await pool.connect()
  let warning: string | undefined
  const onNotice = ({ code, message }: { code?: string | undefined; message?: string | undefined }): void => {
    if (code?.startsWith('01') === true) warning = message
  }
  client.on('notice', onNotice)
  let isLostHere = false
  try {
    const result = await client.query<R>({ ...(typeof statement === 'string' ? { text: statement } : statement), values: [...values] })
    if (warning !== undefined) throw new Error(`warned: ${warning}`)
    return result
  } catch (error) {
    isLostHere = isLost(codeOf(error))
    throw error
  } finally {
    client.off('notice', onNotice)
    client.release(isLostHere)
  }
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

/** No code: the connection failed, and with it perhaps only the answer. */
function isLost(code: string | undefined): boolean {
  return code === undefined || LOST.some((prefix) => code.startsWith(prefix))
}

function failure(error: unknown): StoreFailure {
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : 'unknown error'
  const recoverable = code === undefined || RECOVERABLE.some((prefix) => code.startsWith(prefix))
  return new StoreFailure(`database: ${code === undefined ? '' : `${code} `}${message}`, recoverable)
}
