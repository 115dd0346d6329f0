import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import type { Fields } from '../json/fields.ts'
import { present } from '../json/present.ts'
import { readBy } from '../log/entries.ts'

/** Largest definition of a tool that is kept, bytes of its canonical JSON. */
export const MAX_TOOL_DEFINITION = 65_536
/** Definitions of one tool that may wait to be pinned; a server that changes it faster is not written down any more. */
export const MAX_SEEN_DEFINITIONS = 16

/** A definition of a tool was seen, or somebody pinned one, or took the pin away. @see spec/entries.md#tools */
export interface ToolEntry {
  readonly kind: 'tool'
  /** Absent: a gate saw the definition, which permits nothing. */
  readonly event?: 'pinned' | 'unpinned'
  readonly target: string
  readonly name: string
  /** SHA-256 of the canonical definition, as it stands in actions. */
  readonly digest: Digest
  /** Commitment to the definition itself, where it was seen and is kept. */
  readonly definition_commit?: Digest
  /** The definition that was pinned until here; where there was one. */
  readonly previous?: Digest
  /** Who pinned it, or took the pin away. */
  readonly by?: string
}

/** Where a definition was seen last, and whether it was kept there. */
export interface SeenDefinition {
  readonly seq: number
  readonly isKept: boolean
}

/** A tool as the log says now. */
export interface ToolStanding {
  readonly target: string
  readonly name: string
  /** Definitions that can be pinned, the newest last: those seen since the pin last changed, and the pinned one. */
  readonly seen: ReadonlyMap<Digest, SeenDefinition>
  readonly pinned?: { readonly digest: Digest; readonly seq: number; readonly by: string }
  /** Leaf index at which the pin was taken away, where none came after it. */
  readonly unpinned?: number
}

export function readTool(fields: Fields): ToolEntry {
  const entry = present<ToolEntry>({
    kind: 'tool',
    event: fields.optional('event', (name) => fields.oneOf<NonNullable<ToolEntry['event']>>(name, ['pinned', 'unpinned'])),
    target: fields.text('target'),
    name: fields.text('name'),
    digest: fields.digest('digest'),
    definition_commit: fields.optional('definition_commit', (name) => fields.digest(name)),
    previous: fields.optional('previous', (name) => fields.digest(name)),
    by: readBy(fields),
  })
  const { event, definition_commit: commit, previous, by } = entry
  const isWrong = (event === undefined) !== (by === undefined) || (commit !== undefined && event !== undefined) || (previous !== undefined && event !== 'pinned')
  if (isWrong) throw new Denied('artifact_malformed', 'tool: event and members disagree')
  return entry
}

/**
 * What is pinned was seen, each pin names the one that it replaces, and only what is pinned is unpinned.
 * @throws {Denied} `tool_not_pinned`, `tool_changed`, `overloaded`
 */
export function verifyTool(known: ToolStanding | undefined, { event, digest, previous }: ToolEntry): void {
  const seen = known?.seen.has(digest) === true
  const pinned = known?.pinned?.digest
  if (event === undefined) {
    if (!seen && (known?.seen.size ?? 0) >= MAX_SEEN_DEFINITIONS) throw new Denied('overloaded', 'too many definitions of this tool wait to be pinned')
  } else if (event === 'pinned') {
    if (!seen) throw new Denied('tool_not_pinned', 'no such definition was seen')
    if (previous !== pinned || digest === pinned) throw new Denied('tool_changed', 'another definition is pinned')
  } else if (digest !== pinned) throw new Denied('tool_not_pinned', 'this definition is not pinned')
}

/** What `entry` makes of the tool. */
export function withTool(known: ToolStanding | undefined, { event, target, name, digest, definition_commit: commit, by = '', seq }: ToolEntry & { readonly seq: number }): ToolStanding {
  if (event === undefined) {
    const seen = new Map(known?.seen)
    seen.delete(digest) // what is seen anew is the newest
    return { ...known, target, name, seen: seen.set(digest, { seq, isKept: commit !== undefined }) }
  }
  const seen = new Map([[digest, known?.seen.get(digest) ?? { seq, isKept: false }]])
  return event === 'pinned' ? { target, name, seen, pinned: { digest, seq, by } } : { target, name, seen, unpinned: seq }
}

/** One text for each tool: where the target ends is said, so no name can pretend to be part of it. */
export function toolKey({ target, name }: Pick<ToolEntry, 'target' | 'name'>): string {
  return `${target.length} ${target} ${name}`
}
