import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { type Gate, nodeClock, nodeRng } from '@sealwrit/gate'
import type { OpenSeat } from '@sealwrit/mcp-gateway'
import { CliError, EXIT } from '../errors.ts'
import { type GlobalOptions, json, plain } from '../output.ts'
import { type PlaneFolder, readSecret } from './folder.ts'

const TOKEN_BYTES = 32

export interface ListenOptions {
  readonly listen?: string
  readonly allowHost?: readonly string[]
  readonly allowOrigin?: readonly string[]
}

/** Where clients are served. */
export interface Listen {
  readonly host: string
  readonly port: number
}

/** @throws {CliError} */
export function readListen({ listen, allowHost, allowOrigin }: ListenOptions): Listen | undefined {
  if (listen === undefined) {
    if (allowHost !== undefined || allowOrigin !== undefined) throw new CliError('--allow-host and --allow-origin are for clients over HTTP (--listen)', { exit: EXIT.usage })
    return undefined
  }
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(listen) ?? []
  if (host === undefined || Number(port) > 65_535) throw new CliError('--listen takes HOST:PORT', { exit: EXIT.usage, hint: 'as in --listen 127.0.0.1:4181' })
  if (!/^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])$/.test(host)) throw new CliError('--listen on other addresses than those of this machine is not offered without --oauth-issuer', { exit: EXIT.usage, hint: 'listen on 127.0.0.1, and let a reverse proxy in front do TLS' })
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}

/** Serves clients over HTTP until this process is told to stop. @throws {CliError} */
export async function serveClients({ host, port }: Listen, { gate, name, folder, options, openSeat }: { readonly gate: Gate; readonly name: string; readonly folder: PlaneFolder; readonly options: ListenOptions & GlobalOptions; readonly openSeat: OpenSeat }): Promise<{ reason: string; serverFailed: boolean }> {
  const { HttpFront, localToken, Places } = await import('@sealwrit/mcp-gateway/client-http')
  const tokenFile = path.join(folder.gates, name, 'token')
  const front = new HttpFront({
    openSeat,
    authorize: localToken(madeToken(tokenFile), `user:${os.userInfo().uid}`),
    places: usable(() => new Places(options.allowHost, options.allowOrigin)),
    refused: (denied) => void gate.reporter.denial(denied, {}).catch(() => undefined),
    clock: nodeClock,
    rng: nodeRng,
  })
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal))
  })
  let url: string
  try {
    const at = await front.listen(host, port)
    url = `http://${at.family === 'IPv6' ? `[${at.address}]` : at.address}:${at.port}/mcp`
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CliError(`cannot listen on ${host}:${port}: ${code ?? 'refused'}`, { hint: code === 'EADDRINUSE' ? 'something listens there already; take another port' : 'take another address' })
  }
  if (options.json === true) json({ endpoint: url, name, token_file: tokenFile })
  else process.stderr.write(`sealwrit: ${plain(name)} is governed at ${url}\nsealwrit: clients send the header \`Authorization: Bearer TOKEN\`; the token is in ${plain(tokenFile)}\n`)
  const reason = await stopped
  await front.close('the gateway stops')
  return { reason, serverFailed: false }
}

/** The token of this gateway, made when it first listens; only its owner can read it. */
function madeToken(file: string): string {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
    fs.writeFileSync(file, `${randomBytes(TOKEN_BYTES).toString('base64url')}\n`, { flag: 'wx', mode: 0o600, flush: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const token = readSecret(file)
  if (!/^[A-Za-z0-9_-]{43,}$/.test(token)) throw new CliError(`${file} holds no token`, { hint: 'delete it; a new one is made at the next start' })
  return token
}

function usable<T>(make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw new CliError((error as Error).message, { exit: EXIT.usage })
  }
}
