import { Denied, type Digest, type ToolsRequest } from '@sealwrit/protocol'
import { type LogState, MAX_RECORDED_TOOLS, toolKey } from '../log/state.ts'
import type { Sequencer } from '../log/sequencer.ts'
import { type Page, pageOf, type Paged } from '../page.ts'

/**
 * Records the definitions of tools that are seen for the first time, each as an entry, and answers with what is recorded:
 * a definition that changed since keeps its first digest here.
 * @throws {Denied} `overloaded`
 */
export async function recordTools(request: ToolsRequest, log: Sequencer): Promise<readonly { name: string; digest: Digest }[]> {
  const { target } = request
  const unknown = request.tools.filter(({ name }) => !log.state.tools.has(toolKey(target, name)))
  await Promise.all(
    unknown.map(({ name, digest }) =>
      log.ensure((state) => {
        if (state.tools.has(toolKey(target, name))) return undefined
        if (state.tools.size >= MAX_RECORDED_TOOLS) throw new Denied('overloaded', 'too many tools')
        return { body: { kind: 'tool', target, name, digest }, bodies: [] }
      }),
    ),
  )
  return request.tools.map(({ name }) => ({ name, digest: log.state.tools.get(toolKey(target, name)) as Digest }))
}

/** A tool as it was recorded: the definition that permits name. */
export interface ListedTool {
  readonly target: string
  readonly name: string
  readonly digest: Digest
}

/** Tools in the order in which they were recorded; a record is never taken back. */
export function listTools(asked: Page, { tools }: LogState): Paged<'tools', ListedTool> {
  const { page, ...rest } = pageOf(numbered(tools), ({ at }) => at, asked)
  return { tools: page.map(({ key, digest }) => ({ target: key.slice(0, key.indexOf('\n')), name: key.slice(key.indexOf('\n') + 1), digest })), ...rest }
}

function* numbered(tools: ReadonlyMap<string, Digest>): Generator<{ readonly at: number; readonly key: string; readonly digest: Digest }> {
  let at = 0
  for (const [key, digest] of tools) yield { at: at++, key, digest }
}
