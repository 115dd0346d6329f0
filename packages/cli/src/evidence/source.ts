import * as fs from 'node:fs'
import * as http from 'node:http'
import * as https from 'node:https'
import * as path from 'node:path'
import { Denied, fromUtf8, MAX_ENTRY, type TileName, tilePath, TILE_WIDTH } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { PlaneConnection } from '../local/client.ts'
import type { PlaneFolder } from '../local/folder.ts'

/** Where the read path of a log can be read. @see c2sp.org/tlog-tiles */
export interface LogSource {
  checkpoint(): Promise<string>
  tile(tile: TileName): Promise<Uint8Array>
}

/** Largest resource: a full bundle of entries of the largest size. */
const MAX_RESOURCE_BYTES: number = TILE_WIDTH * (MAX_ENTRY + 2)
const REQUEST_TIMEOUT_MS = 15_000

/** A mirror, or any copy of one. */
export class FolderSource implements LogSource {
  readonly #folder: string
  constructor(folder: string) {
    this.#folder = folder
  }
  async checkpoint(): Promise<string> {
    return fromUtf8(this.#read('checkpoint'))
  }
  async tile(tile: TileName): Promise<Uint8Array> {
    return this.#read(tilePath(tile))
  }
  #read(name: string): Uint8Array {
    const file = path.join(this.#folder, name)
    try {
      if (fs.statSync(file).size > MAX_RESOURCE_BYTES) throw new Denied('limit_exceeded', `${name} is larger than any of its kind`)
      return fs.readFileSync(file)
    } catch (error) {
      if (error instanceof Denied) throw error
      throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`, { exit: EXIT.unverified })
    }
  }
}

/** The local plane, over one connection to its socket, until it is closed. */
export class PlaneSource implements LogSource {
  readonly #plane: PlaneConnection
  constructor(folder: PlaneFolder) {
    this.#plane = new PlaneConnection(folder)
  }
  async checkpoint(): Promise<string> {
    return (await this.#plane.ask('log.checkpoint', {})).checkpoint
  }
  async tile(tile: TileName): Promise<Uint8Array> {
    return tileBytes((await this.#plane.ask('log.tile', { path: tilePath(tile) })).bytes)
  }
  close(): void {
    this.#plane.close()
  }
}

/** As `fromBase64`, by the runtime, which is faster with something that large: what comes out is written again and compared. */
function tileBytes(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') !== text) throw new Denied('encoding_invalid', 'not base64')
  return bytes
}

/** A plane, a mirror behind a file server, or a cache: whatever serves the read path under `prefix`. */
export class HttpSource implements LogSource {
  readonly #prefix: URL
  readonly #token: string | undefined
  readonly #agent: http.Agent

  /** @param token sent as a bearer token, to this one address only: redirects are not followed */
  constructor(prefix: string, token: string | undefined) {
    this.#prefix = new URL(prefix.endsWith('/') ? prefix : `${prefix}/`)
    if (this.#prefix.protocol !== 'http:' && this.#prefix.protocol !== 'https:') throw new CliError('--url takes an http or https address', { exit: EXIT.usage })
    this.#token = token
    this.#agent = this.#prefix.protocol === 'https:' ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true })
  }
  async checkpoint(): Promise<string> {
    return fromUtf8(await this.#get('checkpoint'))
  }
  tile(tile: TileName): Promise<Uint8Array> {
    return this.#get(tilePath(tile))
  }

  #get(name: string): Promise<Uint8Array> {
    const url = new URL(name, this.#prefix)
    const get = url.protocol === 'https:' ? https.get : http.get
    const headers = { 'accept-encoding': 'identity', ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }) }
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new CliError(`${url.href}: ${why}`, { exit: EXIT.unreachable }))
      const request = get(url, { headers, agent: this.#agent, timeout: REQUEST_TIMEOUT_MS }, (response) => {
        if (response.statusCode !== 200) {
          response.resume()
          return fail(response.statusCode === 401 ? 'the entries of this log are private; give the token with --token-file' : `answered ${response.statusCode}`)
        }
        const chunks: Buffer[] = []
        let bytes = 0
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          chunks.push(chunk)
          if (bytes > MAX_RESOURCE_BYTES) request.destroy(new Error('larger than any of its kind'))
        })
        response.once('end', () => resolve(new Uint8Array(Buffer.concat(chunks))))
        response.once('error', (error) => fail(error.message))
      })
      request.once('timeout', () => request.destroy(new Error('no answer in time')))
      request.once('error', (error) => fail(error.message))
    })
  }
}
