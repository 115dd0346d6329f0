import pg from 'pg'
import { StoreFailure } from '../store.ts'

/** Time to connect, and for one statement, in milliseconds. Gates give up after two seconds; a statement may be lost later. */
const CONNECT_TIMEOUT_MS = 2_000
const STATEMENT_TIMEOUT_MS = 5_000
/** Connections of one plane: one writes, the others read. */
const MAX_CONNECTIONS = 4
/** Times that a statement is tried again after a serialization failure. */
const MAX_RETRIES = 10

const SERIALIZATION_FAILURE = '40001'
const DEADLOCK = '40P01'
export const UNIQUE_VIOLATION = '23505'
/** What the second of two creators of one object may be told, whatever it said about existence: by a key of the catalogue, its type, or its table. */
export const ALREADY_THERE: readonly string[] = [UNIQUE_VIOLATION, '42710', '42P07']
/** Classes after which a later attempt may succeed: connection, resources, operator intervention, read-only server, system. */
const RECOVERABLE = ['08', '53', '57', '25', '58']

/** A pool of connections to one PostgreSQL-wire database. Every failure is a {@link StoreFailure}. */
export class Connection {
  readonly #pool: pg.Pool

  constructor(url: string) {
    this.#pool = new pg.Pool({
      connectionString: url,
      max: MAX_CONNECTIONS,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: STATEMENT_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      keepAlive: true,
      application_name: 'sealwrit',
    })
    // An idle connection that ends is replaced at its next use; without a listener its error would end the process.
    this.#pool.on('error', () => undefined)
  }

  /**
   * Runs one statement, again where the database asks for that.
   * @throws {StoreFailure} · {@link pg.DatabaseError} with a code of {@link ALREADY_THERE} only
   */
  async query<R extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<{ rows: R[]; count: number }> {
    for (let attempt = 0; ; attempt++) {
      try {
        const { rows, rowCount } = await this.#pool.query<R>({ text, values: [...values] })
        return { rows, count: rowCount ?? 0 }
      } catch (error) {
        const code = codeOf(error)
        if (code !== undefined && ALREADY_THERE.includes(code)) throw error
        if ((code !== SERIALIZATION_FAILURE && code !== DEADLOCK) || attempt >= MAX_RETRIES) throw failure(error)
        await new Promise((resolve) => setTimeout(resolve, 2 ** Math.min(attempt, 6)))
      }
    }
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

function failure(error: unknown): StoreFailure {
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : 'unknown error'
  // No code: the connection failed, and with it perhaps only the answer.
  const recoverable = code === undefined || code === SERIALIZATION_FAILURE || code === DEADLOCK || RECOVERABLE.some((prefix) => code.startsWith(prefix))
  return new StoreFailure(`database: ${code === undefined ? '' : `${code} `}${message}`, recoverable)
}
