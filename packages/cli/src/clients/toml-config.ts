import { parse } from 'smol-toml'
import { ConfigError, type ConfigDocument, edited, type Edit, isTable, isTexts, type Listed, MAX_SERVERS, type Rewrite, type Table, type Value } from './document.ts'
import { scanToml, type Statement } from './toml-scan.ts'

/** A configuration in TOML with a table for each server below `table`. @throws {ConfigError} */
export function tomlConfig(text: string, table: string): ConfigDocument {
  const root = readToml(text)
  const statements = scanToml(text)
  const servers = root.get(table)
  const found = new Map<Listed, readonly Statement[]>()
  for (const [name, entry] of servers instanceof Map ? (servers as Table) : []) {
    if (found.size === MAX_SERVERS) throw new ConfigError(`it names more than ${MAX_SERVERS} servers`)
    const at = [table, name]
    const own = statements.filter((statement) => isBelow(statement.table, at))
    const first = statements.indexOf(own[0] as Statement)
    const isEditable = own[0] !== undefined && own[0].key === undefined && own[0].table.length === 2 && own.every((statement, i) => statements[first + i] === statement && !statement.isArray)
    found.set({
      at,
      name,
      entry: entry instanceof Map ? (entry as Table) : new Map(),
      start: own[0]?.start ?? 0,
      end: own.at(-1)?.end ?? 0,
      ...(isEditable ? {} : { uneditable: `it is not written as one table \`[${table}.${name}]\` with its parts right below` }),
    }, own)
  }
  return {
    text,
    servers: [...found.keys()],
    rewritten: (server, rewrite) => rewritten(text, server, found.get(server) as readonly Statement[], rewrite),
    entryOf: ({ name }, one) => {
      const entry = (readToml(one).get(table) as Table | undefined)?.get(name)
      if (!isTable(entry)) throw new ConfigError('it is no table')
      return entry
    },
  }
}

/** The values of a TOML text. @throws {ConfigError} */
export function readToml(text: string): Table {
  try {
    return asTable(parse(text))
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError((error as Error).message.split('\n')[0] ?? 'no TOML')
  }
}

function asTable(value: object): Table {
  return new Map(Object.entries(value).map(([name, member]) => [name, asValue(member)]))
}

function asValue(value: unknown): Value {
  if (Array.isArray(value)) return value.map(asValue)
  if (value instanceof Date) return String(value)
  if (typeof value === 'object' && value !== null) return asTable(value)
  if (typeof value === 'bigint') return String(value)
  return value as Value
}

function isBelow(table: readonly string[], at: readonly string[]): boolean {
  return at.every((name, i) => table[i] === name)
}

function rewritten(text: string, server: Listed, statements: readonly Statement[], rewrite: Rewrite): string {
  const plain = (name: string): Statement | undefined => statements.find(({ table, key }) => table.length === 2 && key?.length === 1 && key[0] === name)
  const of = (name: string): readonly Statement[] => statements.filter(({ table, key }) => table[2] === name || (table.length === 2 && key?.[0] === name))
  const anchor = plain('command') ?? plain('url')
  if (anchor === undefined) throw new ConfigError('it has neither `command` nor `url` on a line of its own')
  const edits: Edit[] = []
  const added = [`command = ${word(rewrite.command)}`]

  const args = plain('args')
  if (args === undefined && of('args').length > 0) throw new ConfigError('`args` is not written as a list')
  if (args === undefined || !rewrite.keepsArgs) added.push(`args = [${rewrite.args.map(word).join(', ')}]`)
  else {
    const start = args.valueStart + 1
    const isEmpty = isTexts(server.entry.get('args')) && (server.entry.get('args') as readonly string[]).length === 0
    edits.push({ start, end: start, text: `${rewrite.args.map(word).join(', ')}${isEmpty ? '' : ', '}` })
  }
  if (rewrite.env.size > 0) throw new ConfigError('variables are named, never given, in this format')
  if (rewrite.passed.length > 0) {
    const list = plain('env_vars')
    if (list === undefined) added.push(`env_vars = [${rewrite.passed.map(word).join(', ')}]`)
    else edits.push({ start: list.valueStart + 1, end: list.valueStart + 1, text: `${rewrite.passed.map(word).join(', ')}, ` })
  }
  edits.push({ start: anchor.start, end: anchor.end, text: added.join('\n') })
  for (const statement of rewrite.removed.flatMap(of).filter((one) => one !== anchor)) {
    const end = text.indexOf('\n', statement.end)
    edits.push({ start: statement.start, end: end < 0 || text.slice(statement.end, end).trim() !== '' ? statement.end : Math.min(end + 1, server.end), text: '' })
  }
  const { start, end } = server
  return edited(text.slice(start, end), edits.map((edit) => ({ ...edit, start: edit.start - start, end: Math.min(edit.end, end) - start })))
}

/** A string as TOML reads it: JSON's escapes are TOML's. */
function word(text: string): string {
  return JSON.stringify(text).replaceAll('\u007f', '\\u007f')
}
