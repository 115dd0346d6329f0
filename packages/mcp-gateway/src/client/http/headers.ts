import { Denied, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import { fromHeader } from '../../mirror.ts'
import { VERSION_META } from '../../revision.ts'

/** Headers that count here may be said once: two are two stories, and who is in between may believe the other one. */
const ONCE = /^(?:accept|authorization|content-(?:encoding|length|type)|host|last-event-id|mcp-.*|origin|transfer-encoding)$/
const PARAM = 'mcp-param-'
/** Methods whose `Mcp-Name` has to be there. */
const NAMED: Readonly<Record<string, 'name' | 'uri'>> = { 'prompts/get': 'name', 'resources/read': 'uri', 'tools/call': 'name' }

/** The headers of one request, by name in lower case. */
export type Headers = ReadonlyMap<string, string>

/** @throws {Denied} `request_malformed` where a header that counts is there twice */
export function readHeaders(raw: readonly string[]): Headers {
  const headers = new Map<string, string>()
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase()
    if (headers.has(name) && ONCE.test(name)) throw new Denied('request_malformed', 'a header is there twice')
    headers.set(name, raw[i + 1] as string)
  }
  return headers
}

/**
 * Holds the headers of a request of the stateless revision against its body (ATK-103): what anybody in between decided by them, it
 * decided about this very message.
 * @returns what is mirrored of arguments, as it was sent; only the tool's definition says what has to be there
 * @throws {Denied} `action_mismatch`
 * @see MCP 2026-07-28, basic/transports/streamable-http, "Server Validation"
 */
export function verifyHeaders(headers: Headers, method: string, params: JsonObject): ReadonlyMap<string, string> {
  const meta = params['_meta']
  const version = isObject(meta) ? meta[VERSION_META] : undefined
  const [said, named] = [headers.get('mcp-protocol-version'), headers.get('mcp-name')]
  // A body that names no revision is refused for that, and not for a header.
  if (said === undefined || (version !== undefined && said !== version)) mismatch('MCP-Protocol-Version')
  if (headers.get('mcp-method') !== method) mismatch('Mcp-Method')
  const source = NAMED[method]
  const value = source === undefined ? (params['name'] ?? params['uri'] ?? params['taskId']) : params[source]
  if (named === undefined ? source !== undefined && value !== undefined : !isSame(named, value)) mismatch('Mcp-Name')
  const mirrored = new Map<string, string>()
  for (const [name, header] of headers) if (name.startsWith(PARAM)) mirrored.set(name.slice(PARAM.length), header)
  return mirrored
}

function isSame(header: string, value: JsonValue | undefined): boolean {
  return typeof value === 'string' && fromHeader(header) === value
}

function mismatch(name: string): never {
  throw new Denied('action_mismatch', `${name} is missing, or not what the body says`)
}

/** Whether a list of media types, as in `Accept`, takes `type`. */
export function accepts(header: string | undefined, type: string): boolean {
  const [whole, any] = [type, `${type.split('/', 1)[0]}/*`]
  return (header ?? '').split(',').some((item) => {
    const [media, ...parameters] = item.split(';').map((part) => part.trim().toLowerCase())
    return (media === whole || media === any || media === '*/*') && !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))
  })
}

/** Whether a body is JSON in UTF-8, and nothing else. */
export function isJson(header: string | undefined): boolean {
  return /^application\/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i.test(header ?? '')
}
