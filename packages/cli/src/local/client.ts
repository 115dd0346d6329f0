import * as net from 'node:net'
import { Denied, isDenialCode, isObject, type JsonLimits, type JsonObject, type JsonValue, LineReader, MAX_BUNDLE_LINE, parseStrict } from '@sealwrit/protocol'
import { CliError, EXIT, fromDenied } from '../errors.ts'
import { selfLine } from '../self.ts'
import type { PlaneFolder } from './folder.ts'

const LIMITS: JsonLimits = Object.freeze({ maxBytes: MAX_BUNDLE_LINE, maxDepth: 64, maxMembers: 1_000_000 })
const DEADLINE_MS = 60_000

/**
 * Asks the local plane one thing over its socket.
 * @throws {CliError} exit 14 when no plane answers; else what the plane refused with
 */
export function askPlane(folder: PlaneFolder, method: string, params: JsonValue): Promise<JsonValue> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path: folder.socket })
    const timer = setTimeout(() => fail(), DEADLINE_MS)
    const done = (settle: () => void): void => {
      clearTimeout(timer)
      socket.destroy()
      settle()
    }
    const fail = (): void => done(() => reject(unreachable(folder)))
    const reader = new LineReader(LIMITS.maxBytes, (bytes) => {
      try {
        const answer = parseStrict(bytes, LIMITS)
        if (!isObject(answer)) throw new Denied('unavailable')
        const { result, error } = answer as { result?: JsonValue; error?: JsonValue }
        if (result !== undefined) return done(() => resolve(result))
        const data = isObject(error) ? error['data'] : undefined
        const code = isObject(data) ? data['code'] : undefined
        throw new Denied(isDenialCode(code) ? code : 'unavailable')
      } catch (error) {
        done(() => reject(error instanceof Denied ? fromDenied(error) : unreachable(folder)))
      }
    })
    socket.once('connect', () => socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })}\n`))
    socket.on('data', (chunk) => reader.push(chunk))
    socket.once('error', fail)
    socket.once('close', fail)
  })
}

/** Pages that are asked for at the most. */
const MAX_PAGES = 10_000

/** Everything that a list holds, page by page. @throws {CliError} as {@link askPlane} */
export async function allPages(folder: PlaneFolder, method: string, member: string, params: JsonObject = {}): Promise<JsonObject[]> {
  const all: JsonObject[] = []
  for (let cursor: JsonObject = {}, page = 0; page < MAX_PAGES; page++) {
    const answer = (await askPlane(folder, method, { ...params, ...cursor, limit: 1_000 })) as JsonObject
    all.push(...(answer[member] as readonly JsonObject[]))
    if (answer['next'] === undefined) break
    cursor = { cursor: answer['next'] }
  }
  return all
}

export function unreachable(folder: PlaneFolder): CliError {
  return new CliError(`no plane answers on ${folder.socket}; nothing ran`, { exit: EXIT.unreachable, code: 'unavailable', hint: 'start it with `npm start`, or name its folder with --dir' })
}

/** The plane's answer about `id`, or what to do when there is nothing of that name. */
export async function found<T>(id: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof CliError && error.code === 'request_malformed') throw new CliError(`the log holds no entry or execution \`${id.slice(0, 64)}\``, { hint: `list what there is: ${selfLine('log')}` })
    throw error
  }
}
