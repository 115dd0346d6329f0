import { canonicalText, commitment, Denied, type Digest, digestOf, isObject, type JsonObject, MAX_SEEN_DEFINITIONS, MAX_TOOL_DEFINITION, parseStrictText, type PinnedTool, present, type SeenTool, toBase64Url, TOKEN_BYTES, type ToolEntry, toolKey, type ToolsRequest, type ToolStanding, utf8, verifyTool } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'
import type { LogState } from '../log/state.ts'
import { MAX_RECORDED_TOOLS } from '../log/tools.ts'
import { type Page, pageOf, type Paged } from '../page.ts'
import type { PlanePorts } from '../ports.ts'
import type { Store, StoredBody } from '../store/store.ts'

/** `seen`: nobody pinned it yet. `changed`: another definition than the pinned one was seen since. `unpinned`: the pin was taken away. */
export const TOOL_STATES = ['seen', 'pinned', 'changed', 'unpinned'] as const
export type ToolState = (typeof TOOL_STATES)[number]

/** A tool as it stands: what was seen of it, and what may be called. */
export interface ListedTool {
  readonly target: string
  readonly name: string
  readonly state: ToolState
  /** The definition that was seen last, and the entry that shows it. */
  readonly digest: Digest
  readonly seq: number
  /** The definition that calls may name, who pinned it, and the entry that says so. */
  readonly pinned?: Digest
  readonly by?: string
  readonly pinned_seq?: number
}
/** With the definitions themselves, as far as they were kept and not erased. Their texts are a stranger's. */
export interface ShownTool extends ListedTool {
  readonly definition?: JsonObject
  readonly pinned_definition?: JsonObject
}
/** Which of them: all where nothing is said. */
export interface ToolFilter {
  readonly target?: string | undefined
  readonly state?: ToolState | undefined
}

export interface PinRequest {
  readonly target: string
  /** Exactly what whoever asks has seen: another definition of the name is not pinned by it. */
  readonly tools: readonly { readonly name: string; readonly digest: Digest }[]
}

/** The tools of MCP servers: what gates saw, and what people pinned of it. A definition is shown to people and reaches no decision. */
export class Tools {
  readonly #log: Sequencer
  readonly #ports: PlanePorts

  constructor(log: Sequencer, ports: PlanePorts) {
    this.#log = log
    this.#ports = ports
  }

  /**
   * Writes down the definitions that were not seen before, each as an entry with its text beside it, and answers with what is pinned. What
   * a server changes faster than people look is not written down any more, and can then not be pinned either.
   * @throws {Denied} `overloaded`, and what a definition fails that is not the text behind its digest
   */
  async record({ target, tools }: ToolsRequest): Promise<readonly PinnedTool[]> {
    const bodies = tools.map((tool) => this.#definition(tool))
    if (this.#ports.store.isShared) await this.#log.latest() // pinned at another plane of this log
    await Promise.all(
      tools.map(async ({ name, digest }, i) => {
        const [key, body] = [toolKey({ target, name }), bodies[i]]
        if (isShown(this.#log.state, key, digest, body)) return
        await this.#log.ensure((state) => {
          if (isShown(state, key, digest, body)) return undefined
          if (!state.tools.has(key) && state.tools.size >= MAX_RECORDED_TOOLS) throw new Denied('overloaded', 'too many tools')
          return { body: present<ToolEntry>({ kind: 'tool', target, name, digest, definition_commit: body?.commit }), bodies: body === undefined ? [] : [body] }
        })
      }),
    )
    return tools.map(({ name }) => present<PinnedTool>({ name, pinned: this.#log.state.tools.get(toolKey({ target, name }))?.pinned?.digest }))
  }

  /** @throws {Denied} `limit_exceeded`, `arguments_not_canonical`, `action_mismatch` */
  #definition({ name, digest, definition }: SeenTool): Omit<StoredBody, 'seq'> | undefined {
    if (definition === undefined) return undefined
    const { sha256 } = this.#ports.crypto
    const bytes = utf8(definition)
    if (bytes.length > MAX_TOOL_DEFINITION) throw new Denied('limit_exceeded', 'the definition of a tool')
    if (digestOf(bytes, sha256) !== digest) throw new Denied('action_mismatch', 'the definition is not that of its digest')
    const value = parseStrictText(definition)
    if (!isObject(value) || value['name'] !== name) throw new Denied('action_mismatch', 'the definition is of another tool')
    if (canonicalText(value) !== definition) throw new Denied('arguments_not_canonical', 'the definition of a tool')
    const salt = toBase64Url(this.#ports.rng.bytes(TOKEN_BYTES))
    return { purpose: 'definition', commit: commitment('definition', salt, digest, sha256), salt, digest, text: definition }
  }

  /**
   * Pins exactly these definitions: from here on calls may name them. Each is an entry; where one is refused, the others stay.
   * @param by who looked at them
   * @throws {Denied} `tool_not_pinned` for what was not seen
   */
  async pin({ target, tools }: PinRequest, by: string): Promise<{ readonly pinned: readonly { readonly name: string; readonly digest: Digest; readonly seq: number }[] }> {
    const seqs = await this.#change(tools, ({ name, digest }, known) => {
      if (known?.pinned?.digest === digest) return { repeat: known.pinned.seq }
      return present<ToolEntry>({ kind: 'tool', event: 'pinned', target, name, digest, previous: known?.pinned?.digest, by })
    }, target)
    return { pinned: tools.map(({ name, digest }, i) => ({ name, digest, seq: seqs[i] as number })) }
  }

  /** Takes pins away: no call of these tools is permitted any more. What runs goes on; `kill` ends that. @throws {Denied} `tool_not_pinned` */
  async unpin(target: string, names: readonly string[], by: string): Promise<{ readonly unpinned: readonly { readonly name: string; readonly seq: number }[] }> {
    const seqs = await this.#change(names.map((name) => ({ name })), ({ name }, known) => {
      const digest = known?.pinned?.digest
      if (digest === undefined) throw new Denied('tool_not_pinned', 'nothing is pinned under this name')
      return { kind: 'tool', event: 'unpinned', target, name, digest, by }
    }, target)
    return { unpinned: names.map((name, i) => ({ name, seq: seqs[i] as number })) }
  }

  /** @returns leaf indices, in the order of `tools` */
  async #change<T extends { readonly name: string }>(tools: readonly T[], entryFor: (tool: T, known: ToolStanding | undefined) => ToolEntry | { readonly repeat: number }, target: string): Promise<readonly number[]> {
    const settled = await Promise.allSettled(
      tools.map((tool) =>
        this.#log.submit((state) => {
          const known = state.tools.get(toolKey({ target, name: tool.name }))
          const body = entryFor(tool, known)
          if ('repeat' in body) return body
          verifyTool(known, body)
          return { body, bodies: [] }
        }),
      ),
    )
    return settled.map((one) => {
      if (one.status === 'rejected') throw one.reason
      return one.value.seq
    })
  }

  /** Tools in the order in which they were first seen. */
  list(asked: Page, { target, state }: ToolFilter = {}): Paged<'tools', ListedTool> {
    const { page, ...rest } = pageOf(this.#matching(target, state), ({ at }) => at, asked)
    return { tools: page.map(({ tool }) => tool), ...rest }
  }

  *#matching(target: string | undefined, state: ToolState | undefined): Generator<{ readonly at: number; readonly tool: ListedTool }> {
    let at = -1
    for (const standing of this.#log.state.tools.values()) {
      at++
      if (target !== undefined && standing.target !== target) continue
      const tool = listed(standing)
      if (state === undefined || tool.state === state) yield { at, tool }
    }
  }

  /** One tool with its definitions. @throws {Denied} `tool_not_pinned` where it was never seen */
  async show(target: string, name: string): Promise<ShownTool> {
    const known = this.#log.state.tools.get(toolKey({ target, name }))
    if (known === undefined) throw new Denied('tool_not_pinned', 'no gate saw such a tool')
    const tool = listed(known)
    const [definition, pinned] = await Promise.all([tool.digest, tool.pinned].map((digest) => (digest === undefined ? undefined : this.#text(known, digest))))
    return present<ShownTool>({ ...tool, definition, pinned_definition: pinned })
  }

  async #text({ seen }: ToolStanding, digest: Digest): Promise<JsonObject | undefined> {
    const at = seen.get(digest)
    return at?.isKept === true ? definitionAt(at.seq, this.#ports.store) : undefined
  }
}

/** The definition beside the entry at `seq`; undefined where it was erased. */
async function definitionAt(seq: number, store: Store): Promise<JsonObject | undefined> {
  const text = (await store.bodies(seq)).find(({ purpose }) => purpose === 'definition')?.text
  const value = text === undefined ? undefined : parseStrictText(text)
  return isObject(value) ? value : undefined
}

/** Whether there is nothing new to write down. What retention took is written down anew: people are to see what they pinned. */
function isShown({ tools, retainedFrom }: LogState, key: string, digest: Digest, body: unknown): boolean {
  const known = tools.get(key)
  const seen = known?.seen.get(digest)
  if (seen === undefined) return known !== undefined && known.seen.size >= MAX_SEEN_DEFINITIONS
  return body === undefined || (seen.isKept && seen.seq >= retainedFrom)
}

function listed({ target, name, seen, pinned, unpinned }: ToolStanding): ListedTool {
  const [digest, { seq }] = [...seen].at(-1) as [Digest, { seq: number }]
  const state = pinned === undefined ? (unpinned === undefined ? 'seen' : 'unpinned') : pinned.digest === digest ? 'pinned' : 'changed'
  return present<ListedTool>({ target, name, state, digest, seq, pinned: pinned?.digest, by: pinned?.by, pinned_seq: pinned?.seq })
}
