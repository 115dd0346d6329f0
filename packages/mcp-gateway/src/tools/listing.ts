import { canonicalize, Denied, type Digest, digestOf, fromUtf8, isObject, type JsonObject, type JsonValue, MAX_TOOL_DEFINITION, MAX_TOOLS, type Sha256 } from '@sealwrit/protocol'
import { type Definition, readDefinition } from './definition.ts'
import { isToolName, looksOf } from './names.ts'
import type { ValidationThread } from './schema/thread.ts'

/** Why a tool is neither shown nor called, whatever is pinned. */
export interface Hidden {
  readonly name: string
  readonly denied: Denied
}

/** Characters of a name that is none which are remembered, so that it can be recorded. */
const MAX_SHOWN_NAME = 256
/** Bytes of all definitions of one list. */
export const MAX_LISTING_BYTES = 8_388_608

/** One list of a server's tools, all its pages: which can be told apart, and which are hidden and why. */
export class Listing {
  readonly #sha256: Sha256
  readonly #thread: ValidationThread
  readonly #visible = new Map<string, Definition>()
  readonly #hidden = new Map<string, Denied>()
  /** The definitions themselves, until they were told. */
  readonly #texts = new Map<string, string>()
  #bytes = 0
  /** The first name of each look. */
  readonly #looks = new Map<string, string>()

  /** @param thread where arguments are validated that could take long */
  constructor(sha256: Sha256, thread: ValidationThread) {
    this.#sha256 = sha256
    this.#thread = thread
  }

  /** Takes the tools of one page. */
  take(tools: JsonValue | undefined): void {
    if (Array.isArray(tools)) for (const tool of tools) this.#take(tool)
  }

  #take(tool: JsonValue): void {
    if (!isObject(tool) || typeof tool['name'] !== 'string') return // nobody could call it
    const { name } = tool as { readonly name: string }
    if (!isToolName(name)) return this.#hide(shortened(name), new Denied('tool_not_pinned', 'its name has other characters than letters, digits, `_`, `.` and `-`'))
    const bytes = canonicalize(tool)
    const digest = digestOf(bytes, this.#sha256)
    const known = this.#visible.get(name)
    if (known?.digest === digest) return // pages that overlap say the same
    if (known !== undefined || this.#hidden.has(name)) return this.#hide(name, new Denied('tool_ambiguous', 'the server lists two tools of this name'))
    const [looks, definition] = [looksOf(name), readDefinition(tool, name, digest, this.#thread)]
    const like = this.#looks.get(looks)
    this.#looks.set(looks, like ?? name)
    if (like !== undefined) {
      const denied = new Denied('tool_not_pinned', 'the server lists another tool whose name looks like it')
      this.#hide(like, denied)
      return this.#hide(name, denied)
    }
    if (bytes.length > MAX_TOOL_DEFINITION) return this.#hide(name, new Denied('tool_not_pinned', `its definition has more than ${MAX_TOOL_DEFINITION} bytes`))
    if (definition === undefined) return this.#hide(name, new Denied('tool_not_pinned', 'an annotation of its schema is not as the specification has it'))
    this.#bytes += bytes.length
    if (this.#visible.size >= MAX_TOOLS || this.#bytes > MAX_LISTING_BYTES) return this.#hide(name, new Denied('tool_not_pinned', `the server lists more than ${MAX_TOOLS} tools, or more than ${MAX_LISTING_BYTES} bytes of them`))
    this.#visible.set(name, definition)
    this.#texts.set(name, fromUtf8(bytes))
  }

  #hide(name: string, denied: Denied): void {
    this.#visible.delete(name)
    if (this.#hidden.size < MAX_TOOLS && !this.#hidden.has(name)) this.#hidden.set(name, denied)
  }

  get visible(): readonly Definition[] {
    return [...this.#visible.values()]
  }
  get hidden(): readonly Hidden[] {
    return [...this.#hidden].map(([name, denied]) => ({ name, denied }))
  }

  textOf(name: string): string | undefined {
    return this.#texts.get(name)
  }
  forgetTexts(): void {
    this.#texts.clear()
  }

  find(name: string): Definition | undefined {
    return this.#visible.get(name)
  }

  /** @throws {Denied} `tool_not_pinned`, `tool_ambiguous` */
  get(name: string): Definition {
    const tool = this.#visible.get(name)
    if (tool === undefined) throw this.#hidden.get(name) ?? new Denied('tool_not_pinned', 'the server does not list it')
    return tool
  }

  /** Whether `tool`, as it passes through, is this very definition. */
  holds(tool: JsonValue): tool is JsonObject {
    if (!isObject(tool) || typeof tool['name'] !== 'string') return false
    const known = this.#visible.get(tool['name'])
    return known !== undefined && digestOf(canonicalize(tool), this.#sha256) === known.digest
  }
}

/** Of a name that nobody can call as much as is worth remembering, and nothing of the text that it was cut from. */
function shortened(name: string): string {
  return name.length <= MAX_SHOWN_NAME ? name : Array.from(name.slice(0, MAX_SHOWN_NAME)).join('')
}

/** By name, the definition that is pinned. */
export type Pins = ReadonlyMap<string, Digest>
