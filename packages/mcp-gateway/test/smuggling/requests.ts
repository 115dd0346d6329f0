import { TOKEN } from '../http/front.ts'
import { type Frame, MUTATIONS, type Mutation } from './mutate.ts'
import type { Random } from './random.ts'
import type { Era } from './traffic.ts'

type Header = readonly [name: string, value: string]

/** One request as a client would send it, in parts that can be made something else of. */
export interface Request {
  readonly line: string
  readonly headers: readonly Header[]
  readonly body: Buffer
}

/** An honest request that carries `frame`. */
export function request(era: Era, session: string, { value, text }: Frame): Request {
  const { method, params = {} } = value as { method?: string; params?: { name?: unknown; uri?: unknown } }
  const named = method === 'tools/call' || method === 'prompts/get' ? params.name : method === 'resources/read' ? params.uri : undefined
  const body = Buffer.from(text)
  return {
    line: 'POST /mcp HTTP/1.1',
    headers: [
      ['Host', '127.0.0.1'], ['Authorization', `Bearer ${TOKEN}`], ['Content-Type', 'application/json'], ['Accept', 'application/json, text/event-stream'], ['MCP-Protocol-Version', era],
      ...(era === '2025-11-25' ? [['Mcp-Session-Id', session]] as const : [['Mcp-Method', method ?? ''], ...(typeof named === 'string' ? [['Mcp-Name', named]] as const : [])] as const),
      ['Content-Length', `${body.length}`],
    ],
    body,
  }
}

export function bytesOf({ line, headers, body }: Request, end = '\r\n'): Buffer {
  return Buffer.concat([Buffer.from(`${line}${end}${headers.map(([name, value]) => `${name}: ${value}${end}`).join('')}${end}`, 'latin1'), body])
}
const length = (body: Buffer): Header => ['Content-Length', `${body.length}`]
const replaced = (headers: readonly Header[], name: string, ...by: readonly Header[]): Header[] => headers.flatMap((header) => (header[0].toLowerCase() === name.toLowerCase() ? by : [header]))
const without = (headers: readonly Header[], name: string): Header[] => replaced(headers, name)
const chunked = (body: Buffer, size = body.length.toString(16)): Buffer => Buffer.concat([Buffer.from(`${size}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
const COUNTED = ['Content-Length', 'Host', 'Authorization', 'Mcp-Method', 'Mcp-Name', 'MCP-Protocol-Version', 'Mcp-Session-Id', 'Content-Type', 'Accept'] as const

type Making = (request: Request, random: Random, other: Request) => Buffer

/** Every way in which the frame of a message is made to say something else than the message. */
export const REQUESTS: Readonly<Record<string, Making>> = {
  honest: (request) => bytesOf(request),
  'a header that says another thing': ({ headers, ...rest }, random) => {
    const name = random.pick(['Mcp-Method', 'Mcp-Name', 'MCP-Protocol-Version', 'Mcp-Session-Id', 'Mcp-Param-Evil', 'Authorization'])
    const value = random.pick(['evil', '', 'tools/list', 'TOOLS/CALL', '2025-11-25', '2026-07-28', '2024-11-05', '=?base64?ZXZpbA==?=', '=?base64?!!?=', 'read_file, read_file', 'read_file\tevil', 'x'.repeat(2_000)])
    return bytesOf({ ...rest, headers: headers.some((header) => header[0] === name) ? replaced(headers, name, [name, value]) : [...headers, [name, value]] })
  },
  'a header left out': ({ headers, ...rest }, random) => bytesOf({ ...rest, headers: without(headers, random.pick(COUNTED)) }),
  'a header said twice': ({ headers, ...rest }, random, other) => {
    const again: Header = [random.pick(COUNTED), random.pick(['evil', '0', '7', '127.0.0.1', 'tools/list', `${other.body.length}`])]
    return bytesOf({ ...rest, headers: random.once(2) ? [again, ...headers] : [...headers, again] })
  },
  'a header that goes on': ({ headers, ...rest }, random) => {
    const name = random.pick(COUNTED)
    return bytesOf({ ...rest, headers: headers.map(([header, value]) => (header === name ? [header, `${value}${random.pick(['\r\n evil', '\r\n\tevil', '\n evil', '\r\n '])}`] as const : [header, value] as const)) })
  },
  'a header of another form': ({ headers, ...rest }, random) => {
    const form = random.pick(['Mcp-Method : tools/call', 'Mcp-Method\t: tools/call', ' Mcp-Method: tools/call', 'Mcp_Method: evil', 'evil', ': evil', 'Mcp-Method:\0evil', 'Mcp\0-Method: evil', 'Mcp-N\u00e4me: evil', 'X: a\rMcp-Method: evil', 'X: a\nMcp-Method: evil', 'Content-Length: +5', 'Content-Length: 0x10', 'Content-Length: 5 5', 'Content-Length: -1', 'Content-Length: 1e1'])
    return Buffer.concat([Buffer.from(`${rest.line}\r\n${form}\r\n`, 'latin1'), bytesOf({ ...rest, headers }).subarray(rest.line.length + 2)])
  },
  'another length': ({ headers, body, ...rest }, random, other) => bytesOf({ ...rest, body: random.once(2) ? body : Buffer.concat([body, bytesOf(other)]), headers: replaced(headers, 'Content-Length', ['Content-Length', `${Math.max(0, body.length + random.pick([-10, -1, 1, 10, 500]))}`]) }),
  'in chunks, and with a length': ({ headers, body, ...rest }, random, other) => {
    const encoding = random.pick<Header>([['Transfer-Encoding', 'chunked'], ['Transfer-Encoding', 'Chunked'], ['Transfer-Encoding', 'identity, chunked'], ['Transfer-Encoding', 'chunked, identity'], ['Transfer-Encoding', ' chunked'], ['Transfer-Encoding', 'xchunked'], ['transfer-encoding', 'chunked'], ['Transfer-Encoding', 'gzip, chunked']])
    const sent = random.pick([chunked(body), body, Buffer.concat([Buffer.from('0\r\n\r\n'), bytesOf(other)]), Buffer.concat([chunked(body), bytesOf(other)])])
    return bytesOf({ ...rest, body: sent, headers: random.once(2) ? [...headers, encoding] : replaced(headers, 'Content-Length', encoding) })
  },
  'in chunks of other sizes': ({ headers, body, ...rest }, random) =>
    bytesOf({ ...rest, body: chunked(body, random.pick(['0', '1', `${body.length.toString(16)};evil=1`, ` ${body.length.toString(16)}`, `0x${body.length.toString(16)}`, `-1`, 'ffffffffffffffff', `${(body.length + 5).toString(16)}`, `${body.length.toString(16)}\n`])), headers: replaced(headers, 'Content-Length', ['Transfer-Encoding', 'chunked']) }),
  'another first line': ({ line, ...rest }, random) => bytesOf({ ...rest, line: random.pick(['POST /mcp HTTP/1.0', 'POST /mcp HTTP/2.0', 'POST /mcp', 'GET /mcp HTTP/1.1', 'DELETE /mcp HTTP/1.1', 'PUT /mcp HTTP/1.1', 'POST //mcp HTTP/1.1', 'POST /mcp/../mcp HTTP/1.1', 'POST /mcp?evil HTTP/1.1', 'POST http://evil.example/mcp HTTP/1.1', 'POST * HTTP/1.1', 'post /mcp HTTP/1.1', 'POST\t/mcp\tHTTP/1.1', 'POST /mcp HTTP/1.1 evil', 'CONNECT evil.example:80 HTTP/1.1', 'PRI * HTTP/2.0', line]) }),
  'other line ends': (request, random) => bytesOf(request, random.pick(['\n', '\r', '\r\r\n', '\n\r', '\r\n\r\n', '\u0085'])),
  'one after the other': (request, _random, other) => Buffer.concat([bytesOf(request), bytesOf(other), bytesOf(request)]),
  'one within the other': ({ body, headers, ...rest }, random, other) => {
    const within = random.once(2) ? bytesOf(other) : Buffer.concat([body, bytesOf(other)])
    return bytesOf({ ...rest, body: within, headers: replaced(headers, 'Content-Length', random.once(2) ? length(within) : length(body)) })
  },
  'a byte changed': (request, random) => {
    const bytes = bytesOf(request)
    bytes[random.below(bytes.length)] = random.below(256)
    return bytes
  },
  'cut off': (request, random) => {
    const bytes = bytesOf(request)
    return bytes.subarray(0, random.below(bytes.length))
  },
  'another type': ({ headers, ...rest }, random) => bytesOf({ ...rest, headers: [...without(headers, 'Content-Type'), ['Content-Type', random.pick(['text/plain', 'application/json; charset=utf-16', 'application/x-www-form-urlencoded', 'multipart/form-data', 'application/json, text/plain', ''])], ...(random.once(2) ? [['Content-Encoding', random.pick(['gzip', 'deflate', 'identity, gzip'])] as const] : [])] }),
  'from elsewhere': ({ headers, ...rest }, random) => bytesOf({ ...rest, headers: [...without(headers, 'Host'), ['Host', random.pick(['evil.example', '127.0.0.1@evil.example', '127.0.0.1:99999', 'localhost.evil.example', '[::1]evil', ''])], ...(random.once(2) ? [['Origin', random.pick(['http://evil.example', 'null', 'http://localhost.evil.example'])] as const] : [])] }),
  'another message': ({ headers, body, ...rest }, random, other) => {
    const frame = { text: body.toString(), value: JSON.parse(body.toString()) as Frame['value'] }
    const kinds = Object.keys(MUTATIONS)
    const mutated = (MUTATIONS[random.pick(kinds)] as Mutation)(frame, random, { text: other.body.toString(), value: JSON.parse(other.body.toString()) as Frame['value'] })
    return bytesOf({ ...rest, body: mutated, headers: replaced(headers, 'Content-Length', length(mutated)) })
  },
}
