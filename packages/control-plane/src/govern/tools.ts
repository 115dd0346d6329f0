import { Denied, type Digest, type ToolsRequest } from '@sealwrit/protocol'
import { MAX_RECORDED_TOOLS, toolKey } from '../log/state.ts'
import type { Sequencer } from '../log/sequencer.ts'

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
