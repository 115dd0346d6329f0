import * as fs from 'node:fs'
import * as net from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'

/** A message of the PostgreSQL protocol from the client: its type and its bytes, length included. */
export interface Message {
  readonly type: string
  readonly bytes: Buffer
}

/** A moment around a statement: nothing of it was done yet, or all of it was and nobody knows. */
export type Window = 'before it is sent' | 'before its answer'

/** What becomes of a connection from the next statement on. */
export type Toxic =
  | { readonly kind: 'none' }
  /** Ends it when a statement that holds `text` is asked for: before it is sent, or when its answer arrives. `at` is called right then. */
  | { readonly kind: 'cut'; readonly text: string; readonly when: Window; readonly at?: () => void }
  /** Nothing passes any more, and nothing ends. */
  | { readonly kind: 'silent' }
  /** Answers a statement that holds `text` with this SQLSTATE, once, in place of the server. */
  | { readonly kind: 'refuse'; readonly text: string; readonly sqlstate: string }

/**
 * A proxy between planes and PostgreSQL on a Unix socket of its own, which understands so much of the protocol that it can
 * fail at a chosen statement. It reads whole messages from the client, so that a cut is before or after a statement and never
 * inside of one.
 * @see https://www.postgresql.org/docs/18/protocol-message-formats.html
 */
export class ToxicProxy {
  toxic: Toxic = { kind: 'none' }
  /** How often the fault landed. */
  landed = 0
  readonly #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-toxic-'))
  readonly #sockets = new Set<net.Socket>()
  readonly #server: net.Server

  constructor(target: string) {
    this.#server = net.createServer((client) => this.#serve(client, net.connect({ path: path.join(target, '.s.PGSQL.5432') })))
    this.#server.listen(path.join(this.#folder, '.s.PGSQL.5432'))
  }

  /** The same database, through this proxy. */
  url(url: string): string {
    const through = new URL(url)
    through.searchParams.set('host', this.#folder)
    return through.toString()
  }

  /** Ends every connection there is, as a router does with idle ones. */
  reset(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  close(): Promise<void> {
    this.reset()
    return new Promise((resolve) => this.#server.close(() => {
      fs.rmSync(this.#folder, { recursive: true, force: true })
      resolve()
    }))
  }

  #serve(client: net.Socket, server: net.Socket): void {
    const end = (): void => {
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.on('error', end).on('close', () => {
        this.#sockets.delete(socket)
        end()
      })
    }
    const names = new Map<string, string>() // statements that were parsed under a name
    let isStarted = false
    let cut: (() => void) | undefined
    let refused: string | undefined
    let unread = Buffer.alloc(0)
    client.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      for (let message = take(); message !== undefined; message = take()) onMessage(message)
    })
    server.on('data', (chunk: Buffer) => {
      if (this.toxic.kind === 'silent') return
      if (cut !== undefined) return cut()
      client.write(chunk)
    })
    /** The startup message has no type. */
    const take = (): Message | undefined => {
      const at = isStarted ? 1 : 0
      if (unread.length < at + 4) return undefined
      const length = at + unread.readUInt32BE(at)
      if (unread.length < length) return undefined
      const bytes = unread.subarray(0, length)
      unread = unread.subarray(length)
      const type = isStarted ? String.fromCharCode(bytes[0] as number) : ''
      isStarted = true
      return { type, bytes }
    }
    const onMessage = ({ type, bytes }: Message): void => {
      const { toxic } = this
      if (toxic.kind === 'silent') {
        this.landed++
        return
      }
      const text = statementOf(type, bytes, names)
      if (toxic.kind === 'cut' && text?.includes(toxic.text) === true) {
        this.landed++
        this.toxic = { kind: 'none' }
        cut = (): void => {
          toxic.at?.()
          end()
        }
        if (toxic.when === 'before it is sent') return cut()
      }
      if (toxic.kind === 'refuse' && text?.includes(toxic.text) === true) {
        this.landed++
        this.toxic = { kind: 'none' }
        refused = toxic.sqlstate
      }
      if (refused === undefined) server.write(bytes)
      else if (type === 'S' || type === 'Q') {
        client.write(Buffer.concat([errorResponse(refused), READY]))
        refused = undefined
      }
    }
  }
}

/** The text that a Query, Parse or Bind message is about: a named statement is parsed once and bound often. */
function statementOf(type: string, bytes: Buffer, names: Map<string, string>): string | undefined {
  const strings = bytes.subarray(5).toString('latin1').split('\0')
  if (type === 'Q') return strings[0]
  if (type === 'P') {
    if (strings[0] !== '') names.set(strings[0] as string, strings[1] as string)
    else names.set('', strings[1] as string)
    return strings[1]
  }
  return type === 'B' ? names.get(strings[1] as string) : undefined
}

const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]) // ReadyForQuery, idle

function errorResponse(sqlstate: string): Buffer {
  const fields = Buffer.from(`SERROR\0VERROR\0C${sqlstate}\0Minjected\0\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeUInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}
