import { Denied, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import type { Asked, Reply } from '../client/seat.ts'
import { STATELESS, SUBSCRIPTION_META } from '../revision.ts'
import type { ServerFacts } from '../server/opening.ts'
import type { Sending, Upstream } from '../server/upstream.ts'

/** Streams of notifications that one client may have open. */
export const MAX_WATCHES = 64
/** Resources that one stream may be about. */
export const MAX_WATCHED = 128

/** What somebody wants to hear of. @see MCP 2026-07-28, basic/patterns/subscriptions "Notification Filter" */
export interface Filter {
  readonly toolsListChanged?: true
  readonly promptsListChanged?: true
  readonly resourcesListChanged?: true
  readonly resourceSubscriptions?: readonly string[]
}
const CHANGES = {
  'notifications/tools/list_changed': 'toolsListChanged',
  'notifications/prompts/list_changed': 'promptsListChanged',
  'notifications/resources/list_changed': 'resourcesListChanged',
} as const
const UPDATED = 'notifications/resources/updated'
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged'

/** @throws {Denied} `request_malformed`, `limit_exceeded` */
export function readFilter(params: JsonObject): Filter {
  const wanted = params['notifications']
  if (!isObject(wanted)) throw new Denied('request_malformed', 'notifications is not an object')
  const filter: { -readonly [K in keyof Filter]: Filter[K] } = {}
  for (const [name, value] of Object.entries(wanted)) {
    if (name === 'resourceSubscriptions') filter.resourceSubscriptions = readUris(value)
    else if (Object.values(CHANGES).includes(name as 'toolsListChanged') && typeof value === 'boolean') {
      if (value) filter[name as 'toolsListChanged'] = true
    } else throw new Denied('request_malformed', 'notifications: an unknown member')
  }
  return filter
}

function readUris(value: JsonValue | undefined): readonly string[] {
  if (!Array.isArray(value)) throw new Denied('request_malformed', 'resourceSubscriptions')
  if (value.length > MAX_WATCHED) throw new Denied('limit_exceeded', 'resourceSubscriptions')
  return value.map((uri: JsonValue) => {
    if (typeof uri !== 'string' || uri.length > 2_048) throw new Denied('request_malformed', 'resourceSubscriptions')
    return uri
  })
}

interface Watch {
  readonly filter: Filter
  readonly deliver: (method: string, params: JsonObject) => void
}

/** Who hears of what a server announces: only what was asked for, and only without content. */
export class Subscriptions {
  readonly #upstream: Upstream
  readonly #server: ServerFacts
  readonly #sending: Omit<Sending, 'signal'>
  readonly #watches = new Set<Watch>()

  constructor(upstream: Upstream, server: ServerFacts, sending: Omit<Sending, 'signal'>) {
    this.#upstream = upstream
    this.#server = server
    this.#sending = sending
  }

  /**
   * Hears of what `filter` names until `signal` fires or the server ends it.
   * @returns what the server agreed to, and when it ended
   * @throws {Denied} `overloaded`, `unavailable`
   */
  async watch(filter: Filter, deliver: Watch['deliver'], signal: AbortSignal): Promise<{ readonly agreed: Filter; readonly ended: Promise<void> }> {
    if (this.#watches.size >= MAX_WATCHES) throw new Denied('overloaded', 'too many subscriptions')
    const watch: Watch = { filter, deliver }
    this.#watches.add(watch)
    const over = (): void => void this.#watches.delete(watch)
    signal.addEventListener('abort', over, { once: true })
    const end = (): void => {
      over()
      signal.removeEventListener('abort', over)
    }
    try {
      const watched = this.#server.revision === STATELESS ? await this.#listen(watch, signal) : await this.#subscribe(watch, signal)
      void watched.ended.finally(end)
      return watched
    } catch (error) {
      end()
      throw error
    }
  }

  /** What the server announces by itself, where it has sessions. @returns false for what is no announcement, or of interest to nobody */
  announce(method: string, params: JsonObject): boolean {
    if (!Object.hasOwn(CHANGES, method) && method !== UPDATED) return false
    for (const { filter, deliver } of this.#watches) if (isWanted(filter, method, params)) deliver(method, withoutContent(method, params))
    return true
  }

  /** One stream at the server for this one here. */
  #listen({ filter, deliver }: Watch, signal: AbortSignal): Promise<{ agreed: Filter; ended: Promise<void> }> {
    return new Promise((resolve, reject) => {
      const notified = (method: string, params: JsonObject): void => {
        if (method === ACKNOWLEDGED) return resolve({ agreed: agreedOf(params, filter), ended })
        if (isWanted(filter, method, params)) deliver(method, withoutContent(method, params))
      }
      const sent = this.#upstream.request('subscriptions/listen', { notifications: { ...filter } as JsonObject }, { ...this.#sending, signal, notified, isStream: true })
      const ended = sent.then(
        (reply: Reply) => reject(new Denied('unavailable', 'error' in reply ? 'the server refuses subscriptions' : 'the server ended it before it was acknowledged')),
        (error: unknown) => reject(error instanceof Error ? error : new Denied('unavailable')),
      )
    })
  }

  /** Sessions: lists are announced unasked, resources where they are subscribed to. */
  async #subscribe(watch: Watch, signal: AbortSignal): Promise<{ agreed: Filter; ended: Promise<void> }> {
    const { filter } = watch
    const agreed: string[] = []
    const leave = (): void => {
      this.#watches.delete(watch)
      for (const uri of agreed) if (!this.#isSubscribedElsewhere(uri, 0)) void this.#upstream.request('resources/unsubscribe', { uri }, this.#sending).catch(() => undefined)
    }
    try {
      for (const uri of filter.resourceSubscriptions ?? []) {
        const reply = this.#isSubscribedElsewhere(uri) ? { result: {} } : await this.#upstream.request('resources/subscribe', { uri }, this.#sending)
        if ('result' in reply) agreed.push(uri)
        if (signal.aborted) throw signal.reason instanceof Denied ? signal.reason : new Denied('unavailable', 'ended')
      }
    } catch (error) {
      leave()
      throw error
    }
    const ended = new Promise<void>((resolve) => signal.addEventListener('abort', () => (leave(), resolve()), { once: true }))
    const { resourceSubscriptions: _, ...lists } = filter
    return { agreed: { ...lists, ...(filter.resourceSubscriptions === undefined ? {} : { resourceSubscriptions: agreed }) }, ended }
  }

  #isSubscribedElsewhere(uri: string, own = 1): boolean {
    return [...this.#watches].filter(({ filter }) => filter.resourceSubscriptions?.includes(uri) === true).length > own
  }
}

/** Marks a notification with the request whose stream it is on. */
export function onStream(asked: Asked): (method: string, params: JsonObject) => void {
  return (method, params) => asked.notify(method, { ...params, _meta: { [SUBSCRIPTION_META]: asked.id } })
}

export function acknowledge(asked: Asked, agreed: Filter): void {
  onStream(asked)(ACKNOWLEDGED, { notifications: { ...agreed } as JsonObject })
}

function isWanted(filter: Filter, method: string, params: JsonObject): boolean {
  if (method === UPDATED) return typeof params['uri'] === 'string' && filter.resourceSubscriptions?.includes(params['uri']) === true
  const name = CHANGES[method as keyof typeof CHANGES] as keyof Filter | undefined
  return name !== undefined && filter[name] === true
}

function withoutContent(method: string, params: JsonObject): JsonObject {
  return method === UPDATED ? { uri: params['uri'] as string } : {}
}

/** What was asked for and agreed to: a server cannot agree to more. */
function agreedOf(params: JsonObject, asked: Filter): Filter {
  const { notifications } = params as { notifications?: JsonValue }
  const said: JsonObject = isObject(notifications) ? notifications : {}
  const uris = Array.isArray(said['resourceSubscriptions']) ? (said['resourceSubscriptions'] as readonly JsonValue[]) : []
  return Object.fromEntries(
    Object.entries(asked).flatMap(([name, value]) => {
      if (name === 'resourceSubscriptions') return [[name, asked.resourceSubscriptions?.filter((uri) => uris.includes(uri)) ?? []]]
      return said[name] === true ? [[name, value]] : []
    }),
  ) as Filter
}

/** All lists: what a client with a session hears of without asking. */
export const ALL_LISTS: Filter = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true }
