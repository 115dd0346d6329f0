import type { ListedTool, ShownTool, ToolState } from '@sealwrit/control-plane'
import { foreign, visible } from '../approval/render.ts'
import { confirm } from '../confirm.ts'
import { CliError, EXIT } from '../errors.ts'
import { allOf, askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, yellow } from '../output.ts'
import { selfLine } from '../self.ts'
import { changesOf, renderDiff, renderTool, shown } from '../tool/render.ts'

export interface ToolOptions extends GlobalOptions {
  readonly all?: boolean
  readonly yes?: boolean
}

/** What waits for somebody to look at it. */
const WAITING: readonly ToolState[] = ['seen', 'changed']
/** Tools that one request pins. */
const BATCH = 200

/** What gates saw of servers, and what is pinned of it. */
export async function toolList(server: string | undefined, options: ToolOptions): Promise<void> {
  const tools = await listed(server, findFolder(options.dir))
  if (options.json === true) return json({ tools })
  if (tools.length === 0) return line(dim('no gate has listed a tool yet; a server is listed when a client asks for its tools'))
  for (const { target, name, state, digest, by } of tools) line(`${painted(state)}  ${shown(target)}/${shown(name)}  ${dim(`${digest.slice(0, 19)}…${by === undefined ? '' : `  by ${plain(by)}`}`)}`)
  tellWaiting(tools)
}

/** Pins what waits of a server, or the tools that are named, exactly as they are shown here. */
export async function toolPin(server: string, names: readonly string[], options: ToolOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const target = targetOf(server)
  const all = await listed(server, folder)
  const chosen = names.length > 0 ? names.map((name) => knownTool(all, target, name)) : all.filter(({ state }) => WAITING.includes(state) || (options.all === true && state === 'unpinned'))
  const waiting = chosen.filter(({ state }) => state !== 'pinned')
  if (waiting.length === 0) {
    if (options.json === true) return json({ pinned: [] })
    return line(all.length === 0 ? dim(`no gate has listed a tool of ${plain(target)} yet`) : dim('nothing waits to be pinned'))
  }
  const tools = await Promise.all(waiting.map(({ name }) => askPlane(folder, 'tools.show', { target, name })))
  if (options.json !== true) for (const tool of tools) show(tool)
  if (options.yes !== true) await confirm(`pin ${tools.length === 1 ? 'this tool' : `these ${tools.length} tools`} of ${plain(target)}? [y/N] `, 'what is pinned can be called')
  const pinned: { name: string; digest: string; seq: number }[] = []
  // Exactly what was shown: a definition that came meanwhile waits for the next time.
  for (let i = 0; i < tools.length; i += BATCH) pinned.push(...(await askPlane(folder, 'tools.pin', { target, tools: tools.slice(i, i + BATCH).map(({ name, digest }) => ({ name, digest })) })).pinned)
  if (options.json === true) return json({ pinned })
  line(`${green('pinned')}    ${pinned.length} ${pinned.length === 1 ? 'tool' : 'tools'} of ${plain(target)}, recorded at index ${pinned.map(({ seq }) => seq).join(', ')}`)
  line(dim('calls may name them at once; a client sees them with its next list'))
}

/** One tool, with the whole definition that was seen last. */
export async function toolShow(server: string, name: string, options: ToolOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const target = targetOf(server)
  knownTool(await listed(server, folder), target, name)
  const tool = await askPlane(folder, 'tools.show', { target, name })
  if (options.json === true) return json(tool)
  line(`${painted(tool.state)}  ${shown(target)}/${shown(name)}  ${dim(tool.digest)}`)
  if (tool.definition === undefined) return line(dim('its definition is not kept, or was erased'))
  for (const text of visible(tool.definition)) line(text)
  const others = foreign(tool.definition)
  if (others !== undefined) line(`not ASCII: ${others}`)
}

/** Takes pins away: calls of these tools are refused from here on. */
export async function toolUnpin(server: string, names: readonly string[], options: ToolOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const target = targetOf(server)
  const all = await listed(server, folder)
  if (names.length === 0 && options.all !== true) throw new CliError('name the tools, or all of the server’s with --all', { exit: EXIT.usage })
  const chosen = names.length > 0 ? names : all.filter(({ pinned }) => pinned !== undefined).map(({ name }) => name)
  if (chosen.length === 0) throw new CliError(`nothing of ${plain(target)} is pinned`, { exit: EXIT.denied, code: 'tool_not_pinned' })
  const { unpinned } = await askPlane(folder, 'tools.unpin', { target, tools: chosen.map((name) => ({ name })) })
  if (options.json === true) return json({ unpinned })
  line(`${yellow('unpinned')}  ${unpinned.map(({ name }) => shown(name)).join(', ')} of ${plain(target)}; what runs goes on, and \`kill tool:${plain(target)}/NAME\` ends it`)
}

/** What the server changed since somebody pinned its tools. */
export async function toolDiff(server: string, name: string | undefined, options: ToolOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const target = targetOf(server)
  const all = await listed(server, folder)
  const chosen = name === undefined ? all.filter(({ state }) => state === 'changed') : [knownTool(all, target, name)]
  const tools = await Promise.all(chosen.map((tool) => askPlane(folder, 'tools.show', { target, name: tool.name })))
  if (options.json === true) return json({ tools: tools.map(({ definition, pinned_definition: before, ...rest }) => ({ ...rest, ...(definition === undefined || before === undefined ? {} : { changes: changesOf(before, definition) }) })) })
  if (tools.length === 0) return line(dim(`nothing of ${plain(target)} changed since it was pinned`))
  for (const tool of tools) showDiff(tool)
  if (tools.some(({ state }) => state === 'changed')) line(dim(`accept what is new: ${selfLine('tool', 'pin', shortName(target))}`))
}

function show(tool: ShownTool): void {
  const [first, ...rest] = renderTool(tool)
  line(`${bold(first ?? '')}${tool.state === 'changed' ? yellow('  changed since it was pinned') : ''}`)
  for (const text of rest) line(text)
  if (tool.state === 'changed') for (const text of differences(tool)) line(`  ${text}`)
}

function showDiff(tool: ShownTool): void {
  line(`${bold(shown(tool.name))}  ${dim(`${tool.pinned?.slice(0, 19) ?? 'nothing pinned'}… → ${tool.digest.slice(0, 19)}…`)}`)
  for (const text of differences(tool)) line(`  ${text}`)
}

function differences({ definition, pinned, pinned_definition: before }: ShownTool): string[] {
  if (pinned === undefined) return ['nothing is pinned under this name']
  if (definition === undefined || before === undefined) return ['one of both definitions is not kept, or was erased: what differs cannot be shown']
  return renderDiff(before, definition)
}

function tellWaiting(tools: readonly ListedTool[]): void {
  const waiting = tools.filter(({ state }) => WAITING.includes(state))
  for (const target of new Set(waiting.map((tool) => tool.target))) {
    const own = waiting.filter((tool) => tool.target === target)
    line(dim(`${own.length} of ${shown(target)} wait: ${selfLine('tool', own.some(({ state }) => state === 'changed') ? 'diff' : 'pin', shortName(target))}`))
  }
}

function painted(state: ToolState): string {
  const padded = state.padEnd(8)
  return state === 'pinned' ? green(padded) : state === 'changed' ? yellow(padded) : dim(padded)
}

async function listed(server: string | undefined, folder: PlaneFolder): Promise<readonly ListedTool[]> {
  return allOf(folder, 'tools.list', server === undefined ? {} : { target: targetOf(server) })
}

function knownTool(tools: readonly ListedTool[], target: string, name: string): ListedTool {
  const found = tools.find((tool) => tool.name === name)
  if (found === undefined) throw new CliError(`no gate has seen a tool \`${plain(name.slice(0, 128))}\` of ${plain(target)}`, { exit: EXIT.denied, code: 'tool_not_pinned', hint: `see what there is: ${selfLine('tool', 'list', shortName(target))}` })
  return found
}

/** A server by its name, or as the log has it. */
function targetOf(server: string): string {
  return server.includes('://') ? server : `mcp://${server}`
}

function shortName(target: string): string {
  return target.replace(/^mcp:\/\//, '')
}
