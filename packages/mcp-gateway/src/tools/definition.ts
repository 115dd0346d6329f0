import type { Digest, JsonObject } from '@sealwrit/protocol'
import { type Mirrored, mirroredIn } from './mirrored.ts'

/** What is known of a tool from its definition: none of it decides anything but whether a call has the form that the tool asks for. */
export interface Definition {
  readonly digest: Digest
  /** Results of this tool are checked against a schema by its callers. */
  readonly hasOutputSchema: boolean
  /** Arguments that are mirrored in headers, where the transport has some. */
  readonly mirrored: readonly Mirrored[]
}

/** Reads a definition; undefined for one whose annotations are not as the specification has them: it is not shown, and not called. */
export function readDefinition(tool: JsonObject, digest: Digest): Definition | undefined {
  const mirrored = mirroredIn(tool['inputSchema'])
  return mirrored === undefined ? undefined : { digest, hasOutputSchema: 'outputSchema' in tool, mirrored }
}
