import * as fs from 'node:fs'
import { nodeCryptography } from '@sealwrit/gate'
import { canonicalText, type Delegation, Denied, Fields, isObject, isToken, type JsonObject, type JsonValue, leafDigest, leafHash, parseDelegation, parseParentRef, type ParentRef, parseSealed, parseEntry, utf8 } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { seconds } from '../duration.ts'
import { readJson } from '../read-json.ts'
import { askPlane, found } from './client.ts'
import type { PlaneFolder } from './folder.ts'

/**
 * The permit that is named as a parent: by its `jti`, by a file with {`jti`, `leaf_hash`}, or by a file with the artifact itself.
 * @throws {CliError}
 */
export async function parentFrom(given: string | undefined, folder: PlaneFolder): Promise<ParentRef | undefined> {
  if (given === undefined) return undefined
  if (isToken(given) && !fs.existsSync(given)) {
    const { entries } = (await found(given, askPlane(folder, 'executions', { id: given }))) as unknown as { entries: JsonObject[] }
    return { jti: given, leaf_hash: leafOf(canonicalText(entries[0] as JsonObject)) }
  }
  const value = readJson(given)
  return read('--parent', 'a jti, a file with {"jti":…,"leaf_hash":…}, or an artifact as `sealwrit issue` writes it', () => {
    if (!isObject(value) || !('entry' in value)) return parseParentRef(new Fields(value, 'request_malformed', 'parent'))
    const { entry } = parseSealed(value)
    const permit = parseEntry(entry)
    if (permit.kind !== 'permit') throw new Denied('type_mismatch')
    return { jti: permit.jti, leaf_hash: leafOf(entry) }
  })
}

/** What a file says shall be delegated; its `until` may be a time from now, as in `30m`. @throws {CliError} */
export function delegatesFrom(file: string | undefined, nowSeconds: number): Delegation | undefined {
  if (file === undefined) return undefined
  const value = readJson(file)
  return read('--delegates', 'such as {"until":"30m","uses":10,"depth":1,"scopes":[{"type":"mcp.tool_call","target":"mcp://fs","name":"read_file"}]}', () => {
    const until = isObject(value) && typeof value['until'] === 'string' ? seconds(value['until']) : undefined
    return parseDelegation(new Fields(until === undefined ? value : ({ ...(value as JsonObject), until: nowSeconds + until } as JsonValue), 'request_malformed', 'delegates'))
  })
}

function leafOf(text: string): string {
  return leafDigest(leafHash(utf8(text), nodeCryptography.sha256))
}

function read<T>(option: string, hint: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof Denied) throw new CliError(`${option}: ${error.message}`, { exit: EXIT.usage, code: error.code, hint })
    throw error
  }
}
