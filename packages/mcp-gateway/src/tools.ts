import { type Definition, readDefinition } from './tools/definition.ts'
import { canonicalize, Denied, type Digest, digestOf, isObject, type JsonObject, type JsonValue, MAX_TOOLS, type Sha256 } from '@sealwrit/protocol'

/** Names that may be shown and called; look-alikes and invisible characters do not fit in. */
const TOOL_NAME = /^[A-Za-z0-9_.-]{1,128}$/
/** Pages of a tool list that the gateway follows by itself. */
const MAX_PAGES = 100

/** Asks the server; resolves with its result. */
export type AskServer = (method: string, params: JsonObject) => Promise<JsonObject>

/**
 * The tools that this server listed, each with the digest of its present definition. Their descriptions never influence a
 * decision; the digest is part of every action.
 */
export class ToolRegistry {
  readonly #sha256: Sha256
  readonly #definitions = new Map<string, Definition>()
  readonly #record: (tools: readonly { name: string; digest: Digest }[]) => Promise<unknown>
  #listed = false
  #listing: Promise<void> | undefined

  /** @param record has the plane record what is new; a definition that changed is refused there (`tool_changed`) */
  constructor(sha256: Sha256, record: (tools: readonly { name: string; digest: Digest }[]) => Promise<unknown>) {
    this.#sha256 = sha256
    this.#record = record
  }

  /** The server said that its list changed: it is read again before the next call. */
  invalidate(): void {
    this.#listed = false
  }

  /**
   * The tool's definition as the server lists it now.
   * @throws {Denied} `tool_not_pinned` when the server does not list it
   */
  async definitionOf(name: string, ask: AskServer): Promise<Definition> {
    if (!TOOL_NAME.test(name)) throw new Denied('tool_not_pinned', 'name')
    if (!this.#listed) {
      this.#listing ??= this.#list(ask).finally(() => {
        this.#listing = undefined
      })
      await this.#listing
    }
    const definition = this.#definitions.get(name)
    if (definition === undefined) throw new Denied('tool_not_pinned', 'the server does not list it')
    return definition
  }

  /** Whether results of this tool are checked against a schema by its callers. */
  hasOutputSchema(name: JsonValue | undefined): boolean {
    return typeof name === 'string' && this.#definitions.get(name)?.hasOutputSchema === true
  }

  /** The arguments of this tool that are mirrored in headers. */
  mirroredBy(name: string): Definition['mirrored'] {
    return this.#definitions.get(name)?.mirrored ?? []
  }

  /** Takes a page of tools that passes through to the client; hides those whose names cannot be told apart. */
  observe(result: JsonObject): JsonObject {
    const { tools } = result as { tools?: JsonValue }
    if (!Array.isArray(tools)) return result
    const shown = tools.filter((tool: JsonValue) => this.#take(tool))
    return { ...result, tools: shown }
  }

  #take(tool: JsonValue): boolean {
    const name = isObject(tool) ? tool['name'] : undefined
    if (typeof name !== 'string' || !TOOL_NAME.test(name)) return false
    const digest = digestOf(canonicalize(tool), this.#sha256)
    if (this.#definitions.get(name)?.digest === digest) return true
    if (this.#definitions.size >= MAX_TOOLS && !this.#definitions.has(name)) return false
    const definition = readDefinition(tool as JsonObject, digest)
    if (definition === undefined) this.#definitions.delete(name)
    else this.#definitions.set(name, definition)
    return definition !== undefined
  }

  async #list(ask: AskServer): Promise<void> {
    this.#listed = true // a change that is announced while listing asks for another list
    this.#definitions.clear()
    let cursor: string | undefined
    for (let page = 0; page < MAX_PAGES; page++) {
      const result = await ask('tools/list', cursor === undefined ? {} : { cursor })
      this.observe(result)
      const next = result['nextCursor']
      if (typeof next !== 'string') break
      cursor = next
    }
    const tools = [...this.#definitions].map(([name, { digest }]) => ({ name, digest }))
    try {
      await this.#record(tools)
    } catch (error) {
      this.#listed = false
      throw error
    }
  }
}
