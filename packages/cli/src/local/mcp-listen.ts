import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { type Gate, nodeClock, nodeRng, verifyBearer } from '@sealwrit/gate'
import type { OpenSeat } from '@sealwrit/mcp-gateway'
import { toBase64Url } from '@sealwrit/protocol'
import { writeSecret } from '../adapters/secret-file.ts'
import { CliError, EXIT } from '../errors.ts'
import { type GlobalOptions, json, plain } from '../output.ts'
import { type PlaneFolder, readSecret } from './folder.ts'

const TOKEN_BYTES = 32

export interface ListenOptions {
  readonly listen?: string
  readonly allowHost?: readonly string[]
  readonly allowOrigin?: readonly string[]
  readonly oauthIssuer?: readonly string[]
  readonly resource?: string
  readonly scope?: readonly string[]
}

/** Where clients are served. */
export interface Listen {
  readonly host: string
  readonly port: number
}

/** @throws {CliError} */
export function readListen({ listen, allowHost, allowOrigin, oauthIssuer, resource, scope }: ListenOptions): Listen | undefined {
  if (listen === undefined) {
    if ([allowHost, allowOrigin, oauthIssuer, resource, scope].some((given) => given !== undefined)) throw new CliError('--allow-host, --allow-origin, --oauth-issuer, --resource and --scope are for clients over HTTP', { exit: EXIT.usage, hint: 'add --listen 127.0.0.1:4181' })
    return undefined
  }
  if ((oauthIssuer === undefined) !== (resource === undefined) || (scope !== undefined && resource === undefined)) throw new CliError('--oauth-issuer and --resource belong together', { exit: EXIT.usage, hint: 'as in --oauth-issuer https://login.example.com --resource https://mcp.example.com/mcp' })
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(listen) ?? []
  if (host === undefined || Number(port) > 65_535) throw new CliError('--listen takes HOST:PORT', { exit: EXIT.usage, hint: 'as in --listen 127.0.0.1:4181' })
  if (oauthIssuer === undefined && !/^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])$/.test(host)) throw new CliError('--listen on other addresses than those of this machine needs --oauth-issuer: one token for everybody tells nobody apart', { exit: EXIT.usage, hint: 'listen on 127.0.0.1, or add --oauth-issuer and --resource' })
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}

/** Serves clients over HTTP until this process is told to stop. @throws {CliError} */
export async function serveClients({ host, port }: Listen, { gate, name, folder, options, openSeat }: { readonly gate: Gate; readonly name: string; readonly folder: PlaneFolder; readonly options: ListenOptions & GlobalOptions; readonly openSeat: OpenSeat }): Promise<{ reason: string; serverFailed: boolean }> {
  const { HttpFront, localToken, oauth, Places } = await import('@sealwrit/mcp-gateway/client-http')
  const { oauthIssuer: issuers, resource, scope: scopes = [], allowHost = [], allowOrigin } = options
  const tokenFile = path.join(folder.gates, name, 'token')
  const admission = issuers === undefined || resource === undefined
    ? { authorize: localToken(madeToken(tokenFile), `user:${os.userInfo().uid}`), documents: new Map(), hosts: allowHost }
    : usable(() => {
        const { authorize, documents, host: own } = oauth({ issuers, resource, scopes, verify: (token, audience) => verifyBearer(gate, token, audience), clock: nodeClock })
        return { authorize, documents, hosts: [own, ...allowHost] }
      })
  const front = new HttpFront({
    openSeat,
    authorize: admission.authorize,
    documents: admission.documents,
    places: usable(() => new Places(admission.hosts, allowOrigin)),
    refused: (denied) => void gate.reporter.denial(denied, {}).catch(() => undefined),
    lost: (reason) => void process.stderr.write(`sealwrit: ${plain(name)}: a client lost its server: ${plain(reason)}\n`),
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
  if (options.json === true) json({ endpoint: url, name, ...(resource === undefined ? { token_file: tokenFile } : { resource }) })
  else process.stderr.write(`sealwrit: ${plain(name)} is governed at ${url}\nsealwrit: ${resource === undefined ? `clients send the header \`Authorization: Bearer TOKEN\`; the token is in ${plain(tokenFile)}` : `clients know it as ${resource}, and get their tokens from ${issuers?.join(' or ')}`}\n`)
  const reason = await stopped
  await front.close('the gateway stops')
  return { reason, serverFailed: false }
}

/** The token of this gateway, made when it first listens; only its owner can read it. */
function madeToken(file: string): string {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
    writeSecret(file, `${toBase64Url(nodeRng.bytes(TOKEN_BYTES))}\n`)
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
