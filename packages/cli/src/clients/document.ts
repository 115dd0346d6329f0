/** Largest configuration that is read, in bytes: that of Claude Code holds a history beside its servers. */
export const MAX_CONFIG_BYTES = 33_554_432
/** Deepest nesting of a configuration. */
export const MAX_CONFIG_DEPTH = 64
/** Servers of one configuration. */
export const MAX_SERVERS = 1_000

/** A value as a configuration holds it, whatever its format; tables keep every name, `__proto__` as well. */
export type Value = string | number | boolean | null | readonly Value[] | Table
export type Table = ReadonlyMap<string, Value>

/** A server in a configuration file. */
export interface Listed {
  /** Where it stands: the names on the way to it. */
  readonly at: readonly string[]
  readonly name: string
  readonly entry: Table
  /** Where its text begins and ends. */
  readonly start: number
  readonly end: number
  /** Why this program cannot edit the way it is written. */
  readonly uneditable?: string
}

/** What an entry is to become: what starts the gateway in the place of what is there now. */
export interface Rewrite {
  readonly command: string
  /** Arguments that come before those that stay. */
  readonly args: readonly string[]
  /** Members that go. */
  readonly removed: readonly string[]
  /** Whether the arguments that are there stay, after the new ones. */
  readonly keepsArgs: boolean
  /** Variables that the client gives to the gateway beside those that are there. */
  readonly env: Table
  /** Variables that the client is to hand on from its own environment, where its format has a list of them. */
  readonly passed: readonly string[]
  /** What `type` says afterwards; undefined where the format has none. */
  readonly type?: string | undefined
}

/** A configuration file that can be read and edited in place: whatever is not edited keeps its bytes. */
export interface ConfigDocument {
  readonly text: string
  readonly servers: readonly Listed[]
  /** The text of one server's entry, rewritten. @throws {ConfigError} when it is written in a way that cannot be edited */
  rewritten(server: Listed, rewrite: Rewrite): string
  /** What the text of an entry says. @throws {ConfigError} */
  entryOf(server: Pick<Listed, 'name'>, text: string): Table
}

/** What is wrong with a configuration; names the line. */
export class ConfigError extends Error {}

/** A piece of a text and what takes its place. */
export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** `text` with pieces replaced, none of which overlap. */
export function edited(text: string, edits: readonly Edit[]): string {
  let out = ''
  let at = 0
  for (const edit of [...edits].sort((a, b) => a.start - b.start)) {
    if (edit.start < at) throw new TypeError('edits overlap')
    out += text.slice(at, edit.start) + edit.text
    at = edit.end
  }
  return out + text.slice(at)
}

export function lineOf(text: string, at: number): number {
  let lines = 1
  for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) lines++
  return lines
}

export function isTable(value: Value | undefined): value is Table {
  return value instanceof Map
}

export function isTexts(value: Value | undefined): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

/** Whether two values say the same, however they are written and in whatever order. */
export function isSame(a: Value | undefined, b: Value | undefined): boolean {
  if (isTable(a) && isTable(b)) return a.size === b.size && [...a].every(([name, value]) => b.has(name) && isSame(value, b.get(name)))
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => isSame(item as Value, b[i] as Value))
  return a === b
}
