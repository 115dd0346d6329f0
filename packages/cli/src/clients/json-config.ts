import { ConfigError, type ConfigDocument, edited, type Edit, isTable, type Listed, MAX_SERVERS, type Rewrite, type Table, type Value } from './document.ts'
import { type Member, type Node, readJsonc } from './jsonc.ts'

/**
 * A configuration in JSON.
 * @param places the ways to its tables of servers; `*` stands for every name
 * @throws {ConfigError}
 */
export function jsonConfig(text: string, places: readonly (readonly string[])[]): ConfigDocument {
  const root = readJsonc(text)
  const found = new Map<Listed, Node>()
  for (const place of places) {
    for (const { at, node } of nodesAt(root, place)) {
      for (const { name, node: entry } of node.members) {
        if (found.size === MAX_SERVERS) throw new ConfigError(`it names more than ${MAX_SERVERS} servers`)
        const table = isTable(entry.value) ? entry.value : undefined
        found.set({ at: [...at, name], name, entry: table ?? new Map(), start: entry.start, end: entry.end, ...(table === undefined ? { uneditable: 'it is no object' } : {}) }, entry)
      }
    }
  }
  return {
    text,
    servers: [...found.keys()],
    rewritten: (server, rewrite) => rewritten(text, found.get(server) as Node, rewrite),
    entryOf: (_, one) => tableIn(readJsonc(one).value),
  }
}

function tableIn(value: Value): Table {
  if (!isTable(value)) throw new ConfigError('it is no object')
  return value
}

function nodesAt(node: Node, place: readonly string[]): { at: readonly string[]; node: Node }[] {
  const [name, ...rest] = place
  if (name === undefined) return [{ at: [], node }]
  return node.members.filter((member) => name === '*' || member.name === name).flatMap((member) => nodesAt(member.node, rest).map(({ at, node: below }) => ({ at: [member.name, ...at], node: below })))
}

/** The text of `entry` with the gateway's command in it; other members, comments and the way it is set stay. */
function rewritten(text: string, entry: Node, rewrite: Rewrite): string {
  const own = (name: string): Member | undefined => entry.members.find((member) => member.name === name)
  const anchor = own('command') ?? own('url') ?? own('httpUrl')
  if (anchor === undefined) throw new ConfigError('it has neither `command` nor `url`')
  const isStdio = anchor.name === 'command'
  const separator = breakBefore(text, anchor.start)
  const edits: Edit[] = []
  const added: string[] = []

  const type = own('type')
  if (type !== undefined && rewrite.type !== undefined) edits.push({ start: type.node.start, end: type.node.end, text: JSON.stringify(rewrite.type) })
  else if (!isStdio && rewrite.type !== undefined) added.push(`"type": ${JSON.stringify(rewrite.type)}`)
  added.push(`"command": ${JSON.stringify(rewrite.command)}`)
  const args = own('args')
  if (args === undefined || !rewrite.keepsArgs) added.push(`"args": ${JSON.stringify(rewrite.args)}`)
  else edits.push({ start: args.node.start, end: args.node.end, text: longerArray(text, args.node, rewrite.args) })
  if (rewrite.env.size > 0) {
    const env = own('env')
    const members = [...rewrite.env].map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`)
    if (env === undefined) added.push(`"env": { ${members.join(', ')} }`)
    else edits.push({ start: env.node.start + 1, end: env.node.start + 1, text: ` ${members.join(', ')}${(env.node.value as Table).size > 0 ? ',' : ' '}` })
  }
  edits.push({ start: anchor.start, end: anchor.node.end, text: added.join(separator) })
  const gone = entry.members.filter(({ name }) => rewrite.removed.includes(name) && name !== anchor.name && !(name === 'type' && rewrite.type !== undefined))
  edits.push(...removals(entry, gone, anchor))
  return edited(text.slice(entry.start, entry.end), edits.map((edit) => ({ ...edit, start: edit.start - entry.start, end: edit.end - entry.start })))
}

/** How the next member is set: on a line of its own, as `at` is, or on the same. */
function breakBefore(text: string, at: number): string {
  const white = /\n[ \t]*$/.exec(text.slice(Math.max(0, at - 200), at))
  return white === null ? ', ' : `,${white[0]}`
}

function longerArray(text: string, array: Node, before: readonly string[]): string {
  const first = array.items[0]
  const words = before.map((word) => JSON.stringify(word))
  if (first === undefined) return `[${words.join(', ')}]`
  const separator = breakBefore(text, first.start)
  return `${text.slice(array.start, first.start)}${words.map((word) => `${word}${separator}`).join('')}${text.slice(first.start, array.end)}`
}

/** Members that go, each with the comma between it and the one before, or after where it is the first. */
function removals(entry: Node, gone: readonly Member[], anchor: Member): Edit[] {
  const edits: Edit[] = []
  const anchorAt = entry.members.indexOf(anchor)
  for (const member of gone) {
    const at = entry.members.indexOf(member)
    // Towards the anchor, which stays: so that removals that stand beside each other never overlap.
    if (at > anchorAt) edits.push({ start: (entry.members[at - 1] as Member).node.end, end: member.node.end, text: '' })
    else edits.push({ start: member.start, end: (entry.members[at + 1] as Member).start, text: '' })
  }
  return edits
}
