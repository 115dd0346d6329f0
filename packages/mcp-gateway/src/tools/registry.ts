import { type Clock, Denied, escapeControls, type JsonObject, type JsonValue, present, type Scope, type SeenTool, type Sha256 } from '@sealwrit/protocol'
import type { Definition } from './definition.ts'
import { Listing, type Pins } from './listing.ts'
import type { ValidationThread } from './schema/thread.ts'

/** Pages of a tool list that the gateway follows by itself. */
const MAX_PAGES = 100
/** How long a list counts that the server did not say was changed, in milliseconds: a change that it keeps quiet about shows then. */
export const MAX_LISTING_MS = 60_000
/** How long what is pinned is remembered, in milliseconds. What is called is judged by the plane; this is for what is shown. */
export const PINS_MS = 1_000
/** Tools whose hiding is recorded for one client; a server that makes up names is not written down for ever. */
export const MAX_HIDDEN_RECORDED = 64
/** Characters of a hidden tool's name that are recorded. */
const MAX_HIDDEN_NAME = 128

/** Asks the server; resolves with its result. */
export type AskServer = (method: string, params: JsonObject) => Promise<JsonObject>

export interface RegistryPorts {
  readonly sha256: Sha256
  readonly clock: Clock
  readonly target: string
  /** Where arguments are validated that could take long. */
  readonly thread: ValidationThread
  /** Tells the plane what is listed, and answers with what is pinned. */
  readonly record: (tools: readonly SeenTool[]) => Promise<Pins>
  /** Whether tools that nobody pinned are shown too: the gate observes, and what is called is judged and marked. */
  readonly showsUnpinned?: boolean
  /** Records a refusal. */
  readonly refused: (denied: Denied, scope: Scope) => void
}

/**
 * The tools that one server lists, as one client meets them: shown are those whose very definition somebody pinned (ATK-090, ATK-091). Their
 * descriptions never influence a decision; the digest is part of every action, and the plane decides what of it is pinned.
 */
export class ToolRegistry {
  readonly #ports: RegistryPorts
  #listing: Listing
  #listedAtMs: number | undefined
  #reading: Promise<void> | undefined
  #pins: Pins = new Map()
  #pinsAtMs: number | undefined
  /** Whether the plane has the texts of this listing. */
  #isTold = false
  #changes = 0
  readonly #recorded = new Set<string>()

  constructor(ports: RegistryPorts) {
    this.#ports = ports
    this.#listing = new Listing(ports.sha256, ports.thread)
  }

  /** The server said that its list changed: it is read again before it is used. */
  invalidate(): void {
    this.#listedAtMs = undefined
    this.#changes++
  }

  /** How often the list was said to have changed: a list that was asked for before that is not the newest. */
  get changes(): number {
    return this.#changes
  }

  /**
   * The tool's definition as the server lists it now. Whether it is pinned is for the plane.
   * @throws {Denied} `tool_not_pinned`, `tool_ambiguous` for what is not listed, or hidden
   */
  async definitionOf(name: string, ask: AskServer): Promise<Definition> {
    await this.#listed(ask)
    if (!this.#isTold) await this.#tell()
    return this.#listing.get(name)
  }

  /** Whether results of this tool are checked against a schema by its callers. */
  hasOutputSchema(name: JsonValue | undefined): boolean {
    return typeof name === 'string' && this.#listing.find(name)?.hasOutputSchema === true
  }

  /** The arguments of this tool that are mirrored in headers. */
  mirroredBy(name: string): Definition['mirrored'] {
    return this.#listing.find(name)?.mirrored ?? []
  }

  /**
   * A page of tools on its way to the client, with those that are pinned as they are listed here. What cannot be told apart is seen over all
   * pages, so the others are read first where this is not the only one.
   * @param asked whether without a cursor, and {@link ToolRegistry.changes} of then
   * @throws {Denied} where server or plane do not answer: then nothing is shown
   */
  async shown(result: JsonObject, asked: { readonly isFirst: boolean; readonly changes: number }, ask: AskServer): Promise<JsonObject> {
    const { tools } = result as { tools?: JsonValue }
    if (!Array.isArray(tools)) return { ...result, tools: [] }
    if (asked.isFirst && typeof result['nextCursor'] !== 'string') {
      const listing = new Listing(this.#ports.sha256, this.#ports.thread)
      listing.take(tools)
      this.#use(listing, asked.changes)
    } else await this.#listed(ask)
    if (!tools.every((tool: JsonValue) => this.#listing.holds(tool) || this.#isHidden(tool))) this.invalidate() // it is another one now
    if (!this.#isTold || this.#pinsAtMs === undefined || this.#nowMs >= this.#pinsAtMs + PINS_MS) await this.#tell()
    return { ...result, tools: tools.filter((tool: JsonValue) => this.#listing.holds(tool) && this.#isPinned(this.#listing.get(tool['name'] as string))) }
  }

  #isHidden(tool: JsonValue): boolean {
    const { name } = tool as { name?: JsonValue }
    return typeof name !== 'string' || this.#listing.find(name) === undefined
  }

  #isPinned({ name, digest }: Definition): boolean {
    return this.#ports.showsUnpinned === true || this.#pins.get(name) === digest
  }

  async #listed(ask: AskServer): Promise<void> {
    if (this.#listedAtMs !== undefined && this.#nowMs < this.#listedAtMs + MAX_LISTING_MS) return
    this.#reading ??= this.#read(ask).finally(() => {
      this.#reading = undefined
    })
    await this.#reading
  }

  async #read(ask: AskServer): Promise<void> {
    const changes = this.#changes
    const listing = new Listing(this.#ports.sha256, this.#ports.thread)
    let cursor: string | undefined
    for (let page = 0; page < MAX_PAGES; page++) {
      const result = await ask('tools/list', cursor === undefined ? {} : { cursor })
      listing.take(result['tools'])
      const next = result['nextCursor']
      if (typeof next !== 'string') break
      cursor = next
    }
    this.#use(listing, changes)
  }

  /** @param changes before it was asked for: what was announced since has it read once more */
  #use(listing: Listing, changes: number): void {
    this.#listing = listing
    this.#listedAtMs = changes === this.#changes ? this.#nowMs : undefined
    this.#isTold = false
    for (const { name, denied } of listing.hidden) this.#hidden(name, denied)
  }

  /** Each name is recorded once, with what cannot be seen in it made visible. */
  #hidden(name: string, denied: Denied): void {
    const shown = escapeControls(name).slice(0, MAX_HIDDEN_NAME) || '(none)'
    if (this.#recorded.size >= MAX_HIDDEN_RECORDED || this.#recorded.has(shown)) return
    this.#recorded.add(shown)
    this.#ports.refused(denied, { type: 'mcp.tool_call', target: this.#ports.target, name: shown })
  }

  /** The texts go along once a listing: what the plane has seen it knows by its digest. */
  async #tell(): Promise<void> {
    const [listing, isTold] = [this.#listing, this.#isTold]
    const tools = listing.visible.map(({ name, digest }): SeenTool => present<SeenTool>({ name, digest, definition: isTold ? undefined : listing.textOf(name) }))
    const pins = tools.length === 0 ? new Map<string, never>() : await this.#ports.record(tools)
    if (listing !== this.#listing) return
    listing.forgetTexts()
    ;[this.#pins, this.#isTold, this.#pinsAtMs] = [pins, true, this.#nowMs]
  }

  get #nowMs(): number {
    return this.#ports.clock.monotonicMs()
  }
}
