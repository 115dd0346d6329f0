import { Denied, isObject, type JsonObject, type JsonValue, MAX_DEPTH, parseStrict, utf8 } from '@sealwrit/protocol'
import { deniedAnswer, resultAnswer } from './client/answers.ts'
import type { Answer, Asked, ClientPort, Reply, Seat } from './client/seat.ts'
import { LISTS } from './govern/lists.ts'
import { type Filter, readFilter } from './govern/subscriptions.ts'
import { MAX_SERVER_LINE } from './messages.ts'
import { isQualifier, qualified, qualifiedUri, split, splitUri } from './qualified.ts'
import { REVISIONS, SERVER_META, SESSIONS, STATELESS, SUBSCRIPTION_META } from './revision.ts'

/** Servers behind one hub. */
export const MAX_SERVERS = 32
/** Pages of one server's list that are followed for a client, which gets them as one. */
const MAX_PAGES = 100
/** Characters of one server's list, all its pages; what is beyond is not shown. */
export const MAX_LIST_TEXT = 8_388_608
/** How long the others wait for one server to open, to list, or to agree to a subscription, in milliseconds. */
export const MEMBER_MS = 30_000
const LIMITS = { maxBytes: MAX_SERVER_LINE, maxDepth: MAX_DEPTH, maxMembers: 200_000 }

/** One server of several, under a name that no other has. */
export interface Member {
  readonly name: string
  readonly openSeat: (port: ClientPort) => Seat
}

export interface HubOptions {
  readonly members: readonly Member[]
  /** What the whole of them is called. */
  readonly info: { readonly name: string; readonly version: string }
  /** Records what was refused before any member saw it. */
  readonly refused: (denied: Denied) => void
  /** {@link MEMBER_MS} where it is not given. */
  readonly memberMs?: number
}

/** Methods that are about one thing of one server, and where that thing is named. */
const NAMED: Readonly<Record<string, 'name' | 'uri'>> = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri', 'resources/subscribe': 'uri', 'resources/unsubscribe': 'uri' }
/** Members of lists, and what of each item is qualified. */
const LISTED: Readonly<Record<string, readonly [list: string, member: 'name' | 'uri' | 'uriTemplate']>> = {
  'tools/list': ['tools', 'name'],
  'prompts/list': ['prompts', 'name'],
  'resources/list': ['resources', 'uri'],
  'resources/templates/list': ['resourceTemplates', 'uriTemplate'],
}
const CAPABILITIES = ['tools', 'prompts', 'resources', 'completions', 'logging'] as const

/**
 * Several servers for one client. What they offer is named `<server>__<name>` and `<server>+<uri>`, so that no two of them can ever
 * be taken for one another (ATK-092); each is governed by its own gateway, as the server that it is.
 */
export class Hub implements Seat {
  readonly #options: HubOptions
  readonly #port: ClientPort
  readonly #seats = new Map<string, Seat>()
  /** Names of tools as their servers list them, for an answer that helps whoever leaves the server out. */
  readonly #unqualified = new Set<string>()

  /** @throws {Denied} `limit_exceeded`, `request_malformed` for names that could be mistaken */
  constructor(options: HubOptions, port: ClientPort) {
    this.#options = options
    this.#port = port
    const { members } = options
    if (members.length === 0 || members.length > MAX_SERVERS) throw new Denied('limit_exceeded', `1 to ${MAX_SERVERS} servers`)
    for (const { name, openSeat } of members) {
      if (!isQualifier(name) || this.#seats.has(name)) throw new Denied('request_malformed', `server names are letters, digits, dots and dashes, each once: ${name}`)
      this.#seats.set(name, openSeat(this.#portOf(name)))
    }
  }

  async request(asked: Asked): Promise<Answer> {
    try {
      return await this.#answer(asked)
    } catch (error) {
      const denied = error instanceof Denied ? error : new Denied('unavailable')
      this.#options.refused(denied)
      return deniedAnswer(denied, asked.method, asked.client.revision)
    }
  }

  notification(method: string, params: JsonObject): void {
    for (const seat of this.#seats.values()) seat.notification(method, params)
  }

  close(reason: string): void {
    for (const seat of this.#seats.values()) seat.close(reason)
    this.#seats.clear()
  }

  async #answer(asked: Asked): Promise<Answer> {
    const { method, params } = asked
    if (method === 'ping' && asked.client.revision === SESSIONS) return resultAnswer({})
    if (method === 'initialize' || method === 'server/discover') return this.#open(asked)
    if (LISTS.has(method)) return this.#list(asked)
    if (method === 'logging/setLevel') return this.#all(asked)
    if (method === 'subscriptions/listen') return this.#listen(asked)
    if (method === 'completion/complete') return this.#complete(asked)
    const member = Object.hasOwn(NAMED, method) ? NAMED[method] : undefined
    if (member === undefined) throw new Denied('method_unknown')
    if (params['task'] !== undefined) throw new Denied('request_malformed', 'no tasks are offered here: nobody could ask about one')
    const { seat, own } = this.#addressed(params[member], member)
    return seat.request({ ...asked, params: { ...params, [member]: own } })
  }

  /** @throws {Denied} `tool_ambiguous` for a name without its server, `tool_not_pinned` for a server that is not here */
  #addressed(value: JsonValue | undefined, member: 'name' | 'uri'): { readonly name: string; readonly seat: Seat; readonly own: string } {
    if (typeof value !== 'string') throw new Denied('request_malformed', member)
    const parts = member === 'name' ? split(value) : splitUri(value)
    const seat = parts === undefined ? undefined : this.#seats.get(parts.server)
    if (parts !== undefined && seat !== undefined) return { name: parts.server, seat, own: parts.own }
    throw this.#unqualified.has(value) ? new Denied('tool_ambiguous', 'the server is not named') : new Denied('tool_not_pinned', 'no server here has that')
  }

  /** All that can be opened; the client is told which could not be. @throws {Denied} `unavailable` where none could be */
  async #open(asked: Asked): Promise<Answer> {
    const opened = await Promise.all([...this.#seats].map(async ([name, seat]) => {
      const answer = await this.#inTime(seat.request(asked))
      return { name, answer, result: answer === undefined ? undefined : this.#resultOf(answer) }
    }))
    const answered = opened.flatMap(({ name, result }) => (result === undefined ? [] : [{ name, result }]))
    const first = opened.find(({ answer }) => answer?.member === 'error')?.answer
    if (answered.length === 0) return first ?? deniedAnswer(new Denied('unavailable', 'no server opens'), asked.method, asked.client.revision)
    const capabilities = Object.fromEntries(CAPABILITIES.flatMap((name) => (answered.some(({ result }) => isObject(capabilityOf(result, name))) ? [[name, merged(answered.map(({ result }) => capabilityOf(result, name)))]] : [])))
    const instructions = answered.flatMap(({ name, result }) => (typeof result['instructions'] === 'string' ? [`${name}: ${result['instructions']}`] : [])).join('\n\n')
    const missing = opened.filter(({ result }) => result === undefined).map(({ name }) => name)
    const said = [instructions, missing.length === 0 ? '' : `Not available: ${missing.join(', ')}.`].filter((text) => text !== '').join('\n\n')
    const common = { capabilities, ...(said === '' ? {} : { instructions: said }) }
    const info = { ...this.#options.info }
    if (asked.client.revision === SESSIONS) return resultAnswer({ ...common, protocolVersion: SESSIONS, serverInfo: info })
    return resultAnswer({ ...common, resultType: 'complete', supportedVersions: [...REVISIONS], ttlMs: 0, cacheScope: 'private', _meta: { [SERVER_META]: info } })
  }

  /** One list of all, in one page. */
  async #list(asked: Asked): Promise<Answer> {
    if (asked.params['cursor'] !== undefined) throw new Denied('request_malformed', 'cursor')
    const [list, member] = LISTED[asked.method] as readonly [string, 'name' | 'uri' | 'uriTemplate']
    const lists = await Promise.all([...this.#seats].map(async ([name, seat]) => ({ name, items: await this.#pages(asked, seat, list) })))
    const items = lists.flatMap(({ name, items: own }) =>
      own.flatMap((item) => {
        const value = item[member]
        if (typeof value !== 'string') return []
        if (asked.method === 'tools/list') this.#unqualified.add(value)
        const shown = member === 'name' ? qualified(name, value) : qualifiedUri(name, value)
        return shown === undefined ? [] : [{ ...item, [member]: shown }]
      }),
    )
    return resultAnswer({ [list]: items, ...(asked.client.revision === STATELESS ? { resultType: 'complete', ttlMs: 0, cacheScope: 'private' } : {}) })
  }

  async #pages(asked: Asked, seat: Seat, list: string): Promise<readonly JsonObject[]> {
    const items: JsonObject[] = []
    let [isOver, length] = [false, 0]
    const read = async (): Promise<void> => {
      let { params } = asked
      for (let page = 0; page < MAX_PAGES; page++) {
        const answer = await seat.request({ ...asked, params })
        length += answer.text.length
        const result = isOver || length > MAX_LIST_TEXT ? undefined : this.#resultOf(answer)
        if (result === undefined) return // it has no such list, says too much, or is gone: the others are shown
        const found = result[list]
        if (Array.isArray(found)) for (const item of found as readonly JsonValue[]) if (isObject(item)) items.push(item)
        const next = result['nextCursor']
        if (typeof next !== 'string') return
        params = { ...params, cursor: next }
      }
    }
    await this.#inTime(read())
    isOver = true
    return items
  }

  async #all(asked: Asked): Promise<Answer> {
    await Promise.all([...this.#seats.values()].map((seat) => this.#inTime(seat.request(asked))))
    return resultAnswer({})
  }

  /** Undefined where one server lets the others wait too long. */
  async #inTime<T>(answer: Promise<T>): Promise<T | undefined> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), this.#options.memberMs ?? MEMBER_MS)
    })
    return Promise.race([answer, late]).finally(() => clearTimeout(timer))
  }

  /** The result of an answer; undefined where it is none, or cannot be read again: that is one server's, and no reason to deny the others. */
  #resultOf(answer: Answer): JsonObject | undefined {
    if (answer.member === 'error') return undefined
    try {
      const value = parseStrict(utf8(answer.text), LIMITS)
      return isObject(value) ? value : {}
    } catch (error) {
      this.#options.refused(error instanceof Denied ? error : new Denied('unavailable'))
      return undefined
    }
  }

  #complete(asked: Asked): Promise<Answer> {
    const { ref } = asked.params as { ref?: JsonValue }
    const member = isObject(ref) && ref['type'] === 'ref/resource' ? 'uri' : 'name'
    const { seat, own } = this.#addressed(isObject(ref) ? ref[member] : undefined, member)
    return seat.request({ ...asked, params: { ...asked.params, ref: { ...(ref as JsonObject), [member]: own } } })
  }

  /** One stream for the client, one at each server that it is about; it is acknowledged once, with what all agreed to. */
  async #listen(asked: Asked): Promise<Answer> {
    const { resourceSubscriptions = [], ...lists } = readFilter(asked.params)
    const uris = resourceSubscriptions.map((uri) => this.#addressed(uri, 'uri'))
    const agreed = new Map<string, Filter>()
    const { size } = this.#seats
    const acknowledge = (name: string, filter: Filter): void => {
      if (agreed.has(name)) return
      agreed.set(name, filter)
      if (agreed.size === size) asked.notify('notifications/subscriptions/acknowledged', { _meta: { [SUBSCRIPTION_META]: asked.id }, notifications: union([...agreed]) })
    }
    await Promise.all(
      [...this.#seats].map(async ([name, seat]) => {
        const own = uris.filter((one) => one.name === name).map((one) => one.own)
        const notify = (method: string, params: JsonObject): void => {
          if (method === 'notifications/subscriptions/acknowledged') return acknowledge(name, readFilter(params))
          asked.notify(method, requalified(name, method, params))
        }
        const listening = seat.request({ ...asked, notify, params: { ...asked.params, notifications: { ...lists, ...(own.length === 0 ? {} : { resourceSubscriptions: own }) } } })
        await this.#inTime(listening)
        acknowledge(name, {}) // it agrees to nothing, or not in time
        await listening
      }),
    )
    return resultAnswer({ resultType: 'complete' })
  }

  #portOf(name: string): ClientPort {
    return {
      notify: (method, params) => this.#port.notify(method, requalified(name, method, params)),
      ask: (method, params, signal): Promise<Reply> => this.#port.ask(method, params, signal),
      ended: (reason) => {
        this.#seats.delete(name)
        if (this.#seats.size === 0) this.#port.ended(`${name}: ${reason}`)
      },
    }
  }
}

function requalified(server: string, method: string, params: JsonObject): JsonObject {
  const { uri } = params as { uri?: JsonValue }
  return method === 'notifications/resources/updated' && typeof uri === 'string' ? { ...params, uri: qualifiedUri(server, uri) as string } : params
}

const capabilityOf = (result: JsonObject, name: string): JsonValue | undefined => (isObject(result['capabilities']) ? result['capabilities'][name] : undefined)

/** What any of several capabilities has. */
function merged(capabilities: readonly (JsonValue | undefined)[]): JsonObject {
  return Object.assign({}, ...capabilities.map((capability) => (isObject(capability) ? capability : {}))) as JsonObject
}

function union(agreed: readonly (readonly [string, Filter])[]): JsonObject {
  const uris = agreed.flatMap(([name, { resourceSubscriptions = [] }]) => resourceSubscriptions.map((uri) => qualifiedUri(name, uri) as string))
  const { resourceSubscriptions: _, ...lists } = Object.assign({}, ...agreed.map(([, filter]) => filter)) as Filter
  return { ...lists, ...(uris.length === 0 ? {} : { resourceSubscriptions: uris }) }
}
