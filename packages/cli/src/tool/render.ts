import type { ShownTool } from '@sealwrit/control-plane'
import { canonicalText, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import { foreign, visible } from '../approval/render.ts'

/** Characters of a description that are shown of a tool that is to be pinned; the rest is counted. */
const MAX_SHOWN = 400
/** Arguments that are shown of one tool. */
const MAX_ARGUMENTS = 32

/** What differs at one place of a definition, as canonical JSON; a side that is not there has no such place. */
export interface Change {
  /** JSON pointer. */
  readonly path: string
  readonly before?: JsonValue
  readonly after?: JsonValue
}

/** What somebody sees before they pin a tool: everything in it is a stranger's, so nothing of it is interpreted, and nothing stays invisible (ATK-093). */
export function renderTool({ name, digest, state, definition }: ShownTool): string[] {
  const lines = [`${shown(name)}  ${digest.slice(0, 19)}…${state === 'unpinned' ? '  (its pin was taken away)' : ''}`]
  if (definition === undefined) return [...lines, '  its definition is not kept: nobody can be shown what this pins']
  const { title, description, annotations } = definition
  if (title !== undefined) lines.push(`  title        ${cut(title)}`)
  lines.push(`  description  ${description === undefined ? 'none' : cut(description)}`, ...argumentsOf(definition['inputSchema']))
  if (annotations !== undefined) lines.push(`  says of itself ${cut(annotations)}`)
  const others = foreign(definition)
  if (others !== undefined) lines.push(`  not ASCII    ${others}`)
  return [...lines, `  ${canonicalText(definition).length} characters in all: \`tool show\` has the whole of it`]
}

function argumentsOf(schema: JsonValue | undefined): string[] {
  const properties = isObject(schema) ? schema['properties'] : undefined
  const names = isObject(properties) ? Object.keys(properties) : []
  if (!isObject(schema) || !isObject(properties) || names.length === 0) return ['  arguments    none that it names']
  const required = Array.isArray(schema['required']) ? schema['required'] : []
  const listed = names.slice(0, MAX_ARGUMENTS).map((name) => {
    const property = properties[name]
    const type = isObject(property) && property['type'] !== undefined ? `: ${cut(property['type'], 60)}` : ''
    return `${shown(name)}${required.includes(name) ? '' : '?'}${type}`
  })
  return [`  arguments    ${listed.join(', ')}${names.length > MAX_ARGUMENTS ? ` and ${names.length - MAX_ARGUMENTS} more` : ''}`]
}

/** Both sides of every place that differs, a line each. */
export function renderDiff(before: JsonObject, after: JsonObject): string[] {
  const changes = changesOf(before, after)
  if (changes.length === 0) return ['nothing differs']
  const side = (mark: string, value: JsonValue | undefined): string[] => (value === undefined ? [] : visible(value).map((line) => `  ${mark} ${line}`))
  const lines = changes.flatMap((change) => [shown(change.path === '' ? '(all of it)' : change.path), ...side('-', change.before), ...side('+', change.after)])
  const others = foreign(changes.flatMap(({ after: value }) => (value === undefined ? [] : [value])))
  return others === undefined ? lines : [...lines, `not ASCII in what is new: ${others}`]
}

/** What differs between two definitions, member by member: objects are followed, everything else is one value. */
export function changesOf(before: JsonValue, after: JsonValue, path = ''): Change[] {
  if (isObject(before) && isObject(after)) {
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((name): Change[] => {
      const at = `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
      const [old, now] = [own(before, name), own(after, name)]
      if (old === undefined || now === undefined) return [{ path: at, ...(old === undefined ? {} : { before: old }), ...(now === undefined ? {} : { after: now }) }]
      return changesOf(old, now, at)
    })
  }
  return canonicalText(before) === canonicalText(after) ? [] : [{ path, before, after }]
}

const own = (object: JsonObject, name: string): JsonValue | undefined => (Object.hasOwn(object, name) ? object[name] : undefined)

/** One line of text, without the quotation marks. */
export function shown(text: string): string {
  return visible(text)[0]?.slice(1, -1) ?? ''
}

function cut(value: JsonValue, length = MAX_SHOWN): string {
  const text = visible(value).map((line) => line.trimStart()).join(' ')
  return text.length <= length ? text : `${text.slice(0, length)}… (${text.length - length} more characters)`
}
