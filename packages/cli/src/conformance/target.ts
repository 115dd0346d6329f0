import * as fs from 'node:fs'
import * as path from 'node:path'
import { type Action, Denied, type NoteKey, parseAction } from '@sealwrit/protocol'
import { CliError, EXIT, fromDenied } from '../errors.ts'
import { findDir } from '../local/places.ts'
import { planeFolder, readSecret, readVerifierKey } from '../local/folder.ts'
import { readJson } from '../read-json.ts'
import type { Control } from './plane/side.ts'
import { HttpWire, type PlaneWire, SocketWire } from './plane/wire.ts'

export interface TargetOptions {
  readonly dir?: string
  readonly target?: string
  readonly tokenFile?: string
  readonly key?: string
  readonly action?: string
  readonly agent?: string
}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '[::1]'])

/** A gate that clients reach over HTTP is named by the path of its endpoint; undefined: the target names none. @throws {CliError} */
export function gateEndpoint(target: string, { tokenFile }: TargetOptions): { readonly url: URL; readonly token: string | undefined } | undefined {
  const url = URL.canParse(target) ? new URL(target) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '' || url.pathname === '/' || url.search !== '' || url.hash !== '') return undefined
  return { url, token: tokenFile === undefined ? undefined : secretIn(tokenFile) }
}

/** The plane that a target names: `unix:PATH`, or the URL of its HTTP API. @throws {CliError} */
export function planeWire(target: string, options: TargetOptions): PlaneWire {
  if (target.startsWith('unix:')) {
    const file = path.resolve(target.slice('unix:'.length))
    if (!fs.existsSync(file)) throw new CliError(`there is no socket ${file}`, { exit: EXIT.unreachable, code: 'unavailable', hint: 'the local plane’s is plane.sock in its folder' })
    return new SocketWire(file)
  }
  const url = URL.canParse(target) ? new URL(target) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.username !== '' || url.password !== '' || url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new CliError(`\`${target.slice(0, 64)}\` names no plane`, { exit: EXIT.usage, hint: 'as in http://127.0.0.1:4180 or unix:.sealwrit/plane.sock; a gate is named by its endpoint, as in http://127.0.0.1:4181/mcp' })
  }
  return new HttpWire(url, tokenFor(url, options))
}

/** The token of the local plane goes to this machine alone. @throws {CliError} */
function tokenFor({ hostname }: URL, { tokenFile, dir }: TargetOptions): string | undefined {
  const own = planeFolder(findDir(dir)).token
  const file = tokenFile ?? (LOOPBACK.has(hostname) && fs.existsSync(own) ? own : undefined)
  return file === undefined ? undefined : secretIn(file)
}

export function secretIn(file: string): string {
  if (!fs.existsSync(file)) throw new CliError(`there is no token ${file}`, { exit: EXIT.usage })
  return readSecret(file)
}

/** The verifier key that seals are judged by: the given one, or that of the local plane where it is the plane's. @throws {CliError} */
export function keyFor({ key, dir }: TargetOptions): (origin: string) => NoteKey | undefined {
  const own = planeFolder(findDir(dir)).verifierKey
  const known = key !== undefined ? readVerifierKey(key) : fs.existsSync(own) ? readVerifierKey(own) : undefined
  return (origin) => {
    if (key !== undefined && known?.name !== origin) throw new CliError(`the key is that of ${known?.name ?? ''}, and the plane’s log is ${origin}`, { exit: EXIT.usage })
    return known?.name === origin ? known : undefined
  }
}

/** What the plane permits; undefined: what the starter policies do. @throws {CliError} */
export function controlFrom({ action, agent }: TargetOptions): Control | undefined {
  if (action === undefined && agent === undefined) return undefined
  if (action === undefined || agent === undefined) throw new CliError('--action and --agent go together: what is permitted, and to whom', { exit: EXIT.usage })
  return { action: readAction(action), agent }
}

function readAction(file: string): Action {
  try {
    return parseAction(readJson(file))
  } catch (error) {
    throw error instanceof Denied ? fromDenied(error) : error
  }
}
