import { type Digest, type JsonValue, MAX_TOOLS, parsePinnedTools, type SeenTool, type ToolsRequest } from '@sealwrit/protocol'
import type { PlaneLink } from './plane/link.ts'

/** Characters of definitions in one request: escaped once more, they still fit into a line. */
const MAX_BATCH = 524_288

/**
 * Tells the plane the definitions that a server lists, in as many requests as they need.
 * @returns the pinned definition of each tool that has one
 * @throws {Denied} `unavailable`, and what the plane refuses
 */
export async function recordTools({ session, target, tools }: ToolsRequest, connect: () => Promise<Pick<PlaneLink, 'request'>>): Promise<ReadonlyMap<string, Digest>> {
  const pinned = new Map<string, Digest>()
  for (const batch of batches(tools)) {
    const link = await connect()
    const answer = await link.request('tools.record', { session, target, tools: batch as unknown as JsonValue }, parsePinnedTools)
    for (const { name, pinned: digest } of answer) if (digest !== undefined) pinned.set(name, digest)
  }
  return pinned
}

function* batches(tools: readonly SeenTool[]): Generator<readonly SeenTool[]> {
  let [batch, size]: [SeenTool[], number] = [[], 0]
  for (const tool of tools) {
    const length = tool.definition?.length ?? 0
    if (batch.length > 0 && (size + length > MAX_BATCH || batch.length >= MAX_TOOLS)) {
      yield batch
      ;[batch, size] = [[], 0]
    }
    batch.push(tool)
    size += length
  }
  if (batch.length > 0) yield batch
}
