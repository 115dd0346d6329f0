import type { Gate } from '@sealwrit/gate'
import { type Agent, canonicalText, isObject, type JsonObject, type JsonValue, type PermissibleScope } from '@sealwrit/protocol'
import type { Asked, ClientFacts } from '../client/seat.ts'
import { IDENTITY_META } from '../meta/identity.ts'
import { SERVER_META } from '../revision.ts'
import { metaOf } from '../tracing.ts'
import { askable } from './bridge.ts'

/** How long it is remembered what a client could be asked for, in milliseconds: whatever is asked is judged anyway. */
const OFFER_MS = 10_000

/** Which action each item of a list is for. */
const OF_LIST: Readonly<Record<string, readonly [list: string, type: PermissibleScope['type'], name: string | undefined]>> = {
  'tools/list': ['tools', 'mcp.tool_call', undefined],
  'prompts/list': ['prompts', 'mcp.prompt_get', undefined],
  'resources/list': ['resources', 'mcp.resource_read', 'resources/read'],
  'resources/templates/list': ['resourceTemplates', 'mcp.resource_read', 'resources/read'],
}
/** Which action each thing is that a client can be asked for. */
const OF_CAPABILITY: Readonly<Record<string, PermissibleScope>> = {
  roots: { type: 'mcp.roots', name: 'roots/list' },
  sampling: { type: 'mcp.sampling', name: 'sampling/createMessage' },
  elicitation: { type: 'mcp.elicitation', name: 'elicitation/create' },
}

/** What one client could be permitted at all: the rest it is not shown, and not told of. */
export class Reach {
  readonly #gate: Gate
  readonly #target: string
  readonly #agentOf: (client: ClientFacts) => Agent
  readonly #identify: Asked['identify']
  #offer: { readonly untilMs: number; readonly of: string; readonly capabilities: Promise<JsonObject> } | undefined

  constructor(options: { readonly gate: Gate; readonly target: string; readonly identify?: Asked['identify'] }, agentOf: (client: ClientFacts) => Agent) {
    this.#gate = options.gate
    this.#target = options.target
    this.#identify = options.identify
    this.#agentOf = agentOf
  }

  /** A page of a list with what could be permitted of it. @throws {Denied} where the plane does not say */
  async shown(result: JsonObject, asked: Asked): Promise<JsonObject> {
    const [list, type, fixed] = OF_LIST[asked.method] as NonNullable<(typeof OF_LIST)[string]>
    const items = result[list]
    const page = pageOf(result)
    const named = (Array.isArray(items) ? items : []).filter((item: JsonValue): item is JsonObject => isObject(item) && typeof item['name'] === 'string')
    if (fixed !== undefined) {
      const [isOpen] = named.length === 0 ? [true] : await this.#ask([{ type, name: fixed }], asked)
      return { ...page, [list]: isOpen === true ? named : [] }
    }
    const open = await this.#ask(named.map((item) => ({ type, name: item['name'] as string })), asked)
    return { ...page, [list]: named.filter((_, i) => open[i] === true) }
  }

  /** What of its capabilities a server may be told, since it could be permitted to ask for it. @throws {Denied} where the plane does not say */
  offered(asked: Asked): Promise<JsonObject> {
    const capabilities = askable(asked.client.capabilities)
    const names = Object.keys(capabilities)
    if (names.length === 0) return Promise.resolve({})
    const of = canonicalText([this.#agentOf(asked.client).name, capabilities, metaOf(asked.params)?.[IDENTITY_META] ?? null])
    const nowMs = this.#gate.ports.clock.monotonicMs()
    if (this.#offer === undefined || this.#offer.of !== of || nowMs >= this.#offer.untilMs) {
      const asking = this.#ask(names.map((name) => OF_CAPABILITY[name] as PermissibleScope), asked).then((open) => Object.fromEntries(names.flatMap((name, i) => (open[i] === true ? [[name, capabilities[name] as JsonValue]] : []))))
      this.#offer = { untilMs: nowMs + OFFER_MS, of, capabilities: asking }
      asking.catch(() => {
        this.#offer = undefined
      })
    }
    return this.#offer.capabilities
  }

  #ask(scopes: readonly PermissibleScope[], { client, identify }: Asked): Promise<readonly boolean[]> {
    if (scopes.length === 0) return Promise.resolve([])
    return this.#gate.permissible({ agent: this.#agentOf(client), target: this.#target, scopes, identify: identify ?? this.#identify })
  }
}

/** What is around the items of a list. Nothing else passes: what is not filtered is not shown. */
function pageOf({ resultType, nextCursor, ttlMs, _meta }: Readonly<Partial<Record<'resultType' | 'nextCursor' | 'ttlMs' | '_meta', JsonValue>>>): JsonObject {
  const server = isObject(_meta) ? _meta[SERVER_META] : undefined
  return {
    ...(resultType === 'complete' ? { resultType } : {}),
    ...(typeof nextCursor === 'string' ? { nextCursor } : {}),
    ...(typeof ttlMs === 'number' ? { ttlMs } : {}),
    ...(isObject(server) ? { _meta: { [SERVER_META]: server } } : {}),
  }
}
