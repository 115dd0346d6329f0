import { Denied, type Digest, isObject, type JsonObject } from '@sealwrit/protocol'
import { type Mirrored, mirroredIn } from './mirrored.ts'
import { type ArgumentsValidator, compileSchema } from './schema/compile.ts'
import type { ValidationThread } from './schema/thread.ts'

/** Arguments do not fit the schema of their tool. It names the place and the rule, so that whoever asked can correct them. */
export class InvalidArguments extends Denied {}

/** What is known of a tool from its definition: none of it decides anything but whether a call has the form that the tool asks for. */
export class Definition {
  readonly name: string
  readonly digest: Digest
  /** Results of this tool are checked against a schema by its callers. */
  readonly hasOutputSchema: boolean
  /** Arguments that are mirrored in headers, where the transport has some. */
  readonly mirrored: readonly Mirrored[]
  readonly #inputSchema: JsonObject
  readonly #thread: ValidationThread
  #validator: ArgumentsValidator | undefined

  constructor(tool: JsonObject, name: string, digest: Digest, mirrored: readonly Mirrored[], thread: ValidationThread) {
    const { inputSchema } = tool
    this.name = name
    this.digest = digest
    this.hasOutputSchema = 'outputSchema' in tool
    this.mirrored = mirrored
    this.#inputSchema = isObject(inputSchema) ? inputSchema : {}
    this.#thread = thread
  }

  /**
   * Holds the arguments of a call against the schema that was listed; it is read at the first call.
   * @throws {InvalidArguments} `request_malformed`
   * @throws {Denied} `limit_exceeded` for a schema that nothing can be held against within bounds, `overloaded`
   */
  async validate(args: JsonObject): Promise<void> {
    try {
      this.#validator ??= compileSchema(this.#inputSchema, this.#thread)
      await this.#validator.validate(given(args, this.#inputSchema))
    } catch (error) {
      if (error instanceof Denied && error.code === 'request_malformed') throw new InvalidArguments(error.code, error.detail)
      throw error
    }
  }
}

/**
 * The arguments that a call gives. Clients say null for one that they leave out (MCP 2026-07-28, streamable-http, "Custom Headers from Tool Parameters": null is as
 * not provided), so where the tool does not require it, that is not held against its type. Policies and the server get it as it was said.
 */
function given(args: JsonObject, { required, properties }: JsonObject): JsonObject {
  if (!Object.values(args).includes(null) || !isObject(properties)) return args
  const isLeftOut = (name: string): boolean => Object.hasOwn(properties, name) && !(Array.isArray(required) && required.includes(name))
  return Object.fromEntries(Object.entries(args).filter(([name, value]) => value !== null || !isLeftOut(name)))
}

/** Reads a definition; undefined for one whose annotations are not as the specification has them: it is not shown, and not called. */
export function readDefinition(tool: JsonObject, name: string, digest: Digest, thread: ValidationThread): Definition | undefined {
  const mirrored = mirroredIn(tool['inputSchema'])
  return mirrored === undefined ? undefined : new Definition(tool, name, digest, mirrored, thread)
}
