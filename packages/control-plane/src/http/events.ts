import type { ServerResponse } from 'node:http'
import type { EntryKind } from '@sealwrit/protocol'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Denied } from '@sealwrit/protocol'
import type { Plane } from '../plane.ts'
import type { Admitted } from './access.ts'

/** Streams at once. */
export const MAX_STREAMS = 128
/** Time between two checkpoints on a stream: who hears none for longer has lost it. */
const HEARTBEAT_MS = 1_000
/** Entries read at a time. */
const PAGE = 256
/** Bytes that a reader may leave unread before it is dropped. */
const MAX_UNREAD_BYTES = 1_048_576

/** What a stream tells, each as an event of its kind; its id is the leaf index. */
const KINDS: ReadonlySet<EntryKind> = new Set(['revocation', 'kill', 'policy', 'hold', 'approval', 'key', 'gate', 'agent', 'tool'])

/**
 * Server-sent events: revocations, kills, policy epochs, holds, approvals and registrations as they are logged, and checkpoints. It can be
 * resumed: `Last-Event-ID`, or `?from=INDEX`. It ends within a heartbeat of the credential that it was opened with.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export class Streams {
  readonly #open = new Set<ServerResponse>()

  async serve({ plane, holds }: Admitted, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if (this.#open.size >= MAX_STREAMS) throw new Denied('overloaded')
    const { from } = request.query as { from?: string }
    const last = request.headers['last-event-id']
    const start = typeof last === 'string' ? last : from
    if (start !== undefined && !/^\d{1,15}$/.test(start)) throw new Denied('request_malformed', 'from is a leaf index')
    reply.hijack()
    const { raw } = reply
    raw.writeHead(200, { ...(reply.getHeaders() as Record<string, string>), 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    raw.flushHeaders()
    this.#open.add(raw)
    const next = start === undefined ? plane.log.size : Number(start) + (typeof last === 'string' ? 1 : 0)
    await stream(raw, next, plane, holds).finally(() => this.#open.delete(raw))
  }

  close(): void {
    for (const raw of this.#open) raw.destroy()
  }
}

async function stream(raw: ServerResponse, from: number, plane: Plane, holds: () => boolean): Promise<void> {
  let wake = (): void => undefined
  const unwatch = plane.log.watch(() => wake())
  raw.once('close', () => wake())
  const send = (event: string, data: string, id?: number): void => void raw.write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`)
  try {
    for (let next = from; !raw.destroyed; ) {
      if (!holds()) return void raw.destroy()
      await plane.log.latest() // another plane may write to the same log
      while (next < plane.log.size && !raw.destroyed) {
        const run = await plane.log.readRun(next, PAGE)
        for (const { entry, text, seq } of run) if (KINDS.has(entry.kind)) send(entry.kind, text, seq)
        next += run.length
        if (run.length === 0) break
        if (raw.writableLength > MAX_UNREAD_BYTES) return void raw.destroy()
      }
      send('checkpoint', JSON.stringify({ checkpoint: plane.log.checkpoint.note, size: plane.log.checkpoint.size }))
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, HEARTBEAT_MS)
        wake = () => (clearTimeout(timer), resolve())
      })
    }
  } catch {
    raw.destroy() // the store failed: a stream that ends is one that is resumed
  } finally {
    unwatch()
  }
}
