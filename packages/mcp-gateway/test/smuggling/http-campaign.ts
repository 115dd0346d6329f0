import * as net from 'node:net'
import type { JsonObject } from '@sealwrit/protocol'
import { Through } from '../http/through.ts'
import type { Got } from '../http/server.ts'
import { isHonest, UNSIGNED } from './campaign.ts'
import { ServerJudge } from './judge.ts'
import { chunks } from './mutate.ts'
import { Random } from './random.ts'
import { request, REQUESTS } from './requests.ts'
import { clientFrame, type Era } from './traffic.ts'

/** Sockets at once. */
const SOCKETS = 16
/** How long a socket waits for an answer to what may be none, in milliseconds. */
const PATIENCE_MS = 60
/** Headers that a server may get, and none twice. */
const HEADERS = /^(?:host|connection|content-type|content-length|accept|authorization|user-agent|mcp-session-id|mcp-protocol-version|mcp-method|mcp-name)$/

export interface HttpOutcome {
  readonly made: number
  readonly arrived: number
  readonly kinds: ReadonlySet<string>
  readonly faults: readonly string[]
}

/** Sends mutated requests over real sockets through a gateway, and judges every request that the server got: headers and body. */
export async function runOverHttp({ seed, count, client, server }: { readonly seed: number; readonly count: number; readonly client: Era; readonly server: Era }): Promise<HttpOutcome> {
  const random = new Random(seed)
  const judge = new ServerJudge(false)
  const kinds = new Set<string>()
  const faults: string[] = []
  const through = await Through.start(server, {
    sign: () => UNSIGNED,
    decide: (action) => {
      if (!isHonest(action)) return 'policy_denied'
      judge.permit(action)
      return 'permit'
    },
  })
  const session = client === '2025-11-25' ? await through.at.session() : ''
  let made = 0
  let before = request(client, session, clientFrame(client, 1, random))
  const work = async (): Promise<void> => {
    while (made < count) {
      const sent = request(client, session, clientFrame(client, 1_000 + made++, random))
      const kind = random.pick(Object.keys(REQUESTS))
      kinds.add(kind)
      const bytes = (REQUESTS[kind] as (typeof REQUESTS)[string])(sent, random, before)
      before = sent
      await deliver(through.at.port, chunks(bytes, random))
    }
  }
  await Promise.all(Array.from({ length: SOCKETS }, work))
  await new Promise((resolve) => setTimeout(resolve, 200)) // what is under way
  for (const got of through.server.server.got) {
    const fault = headerFault(got) ?? (got.body === '' ? undefined : judge.fault(got.body))
    if (fault !== undefined) faults.push(`${fault} (seed ${seed}, ${client} → ${server}): ${got.rawHeaders.join(' ').slice(0, 300)} ${got.body.slice(0, 300)}`)
  }
  await through.end()
  return { made, arrived: judge.arrived, kinds, faults }
}

/** What a server is told beside a message must be what the message says, and the operator's: nothing of a client's own gets there. */
function headerFault({ method, headers, rawHeaders, message }: Got): string | undefined {
  const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())
  if (names.some((name) => !HEADERS.test(name)) || new Set(names).size !== names.length) return 'a header that nobody permitted, or one twice'
  if (headers.authorization !== 'Bearer of-the-operator') return 'another credential than the operator’s'
  if (method !== 'POST') return undefined
  const { method: called, params } = message as { method?: string; params?: JsonObject }
  if ('mcp-method' in headers && headers['mcp-method'] !== called) return 'Mcp-Method is not what the body says'
  if ('mcp-name' in headers && headers['mcp-name'] !== (params?.['name'] ?? params?.['uri'])) return 'Mcp-Name is not what the body says'
  return undefined
}

/** Sends bytes over a socket of their own, and waits for an answer, an end, or long enough. */
function deliver(port: number, parts: readonly Buffer[]): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.setNoDelay(true)
      for (const part of parts) socket.write(part)
    })
    const timer = setTimeout(() => socket.destroy(), PATIENCE_MS)
    socket.on('data', () => setTimeout(() => socket.destroy(), 2))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
