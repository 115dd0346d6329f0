import type { JsonObject } from '@sealwrit/protocol'
import type { Random } from './random.ts'

/** One valid message, as a peer would write it. */
export interface Frame {
  readonly value: JsonObject
  readonly text: string
}
/** Makes the bytes of something else of a valid message, line end included where it has one. */
export type Mutation = (frame: Frame, random: Random, other: Frame) => Buffer

const line = (text: string): Buffer => Buffer.from(`${text}\n`)
const spliced = (text: string, at: number, remove: number, insert: string): string => text.slice(0, at) + insert + text.slice(at + remove)
const escaped = (text: string, at: number): string => `${text.slice(0, at)}\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}${text.slice(at + 1)}`
/** Bytes put at a random place of the line. */
const planted = (frame: Frame, random: Random, bytes: Uint8Array): Buffer => {
  const whole = line(frame.text)
  const at = random.below(whole.length)
  return Buffer.concat([whole.subarray(0, at), bytes, whole.subarray(at)])
}
/** The same message with one more or one other member, at the top or in its params. */
const with_ = (frame: Frame, random: Random, members: readonly JsonObject[]): Buffer => {
  const member = random.pick(members)
  const { params } = frame.value as { params?: JsonObject }
  return line(JSON.stringify(params === undefined || random.once(2) ? { ...frame.value, ...member } : { ...frame.value, params: { ...params, ...member } }))
}
/** A place right behind `{`, so that a member can be written there by hand. */
const anObject = (text: string, random: Random): number => {
  const places = [...text.matchAll(/\{(?=")/g)].map(({ index }) => index + 1)
  return places.length === 0 ? 1 : random.pick(places)
}
const names = (text: string): RegExpExecArray[] => [...text.matchAll(/"([a-zA-Z_]+)":/g)]

const IDS = ['null', '"1"', '1.0', '1e0', '-0', '0', '9007199254740993', '{}', '[1]', 'true', '""', '"\\u0031"', '-1', '1e400', '" "', '"__proto__"']
const METHODS = ['tools/call ', 'Tools/Call', 'tools/call\\u0000', 'tools//call', 'tools/call/', '/tools/call', 'tools\\u002fcall', 'initialize', 'ping', 'tools/list', 'logging/setLevel', 'completion/complete', 'resources/subscribe', 'server/discover', 'sampling/createMessage', 'roots/list', 'tasks/cancel', 'notifications/initialized', 'notifications/cancelled', 'notifications/progress', 'notifications/message', 'rpc.discover', '$/cancelRequest', 'constructor', '__proto__', 'tools/call\\n', '']
const NUMBERS = ['1e999', '-0', '9007199254740993', '1.0', '"7"', 'null', '[1]', '1.5', '01', '+1', '0x1', '.5', '1.', 'NaN', 'Infinity', '1e5', '4e-324']
const PLANTED: readonly (readonly number[])[] = [
  [0], [13], [10], [13, 10], [0x0b], [0x0c], [0x1b, 0x5b, 0x32, 0x4a], [0x7f], [0xc2, 0x85], [0xe2, 0x80, 0xa8], [0xe2, 0x80, 0xa9], [0xef, 0xbb, 0xbf], [0xe2, 0x80, 0xae],
  [0xc0, 0xaf], [0xc1, 0xbf], [0xe0, 0x80, 0xaf], [0xf0, 0x80, 0x80, 0xaf], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80], [0x80], [0xff], [0xfe, 0xff], [0xf5], [0xe2, 0x28, 0xa1],
]
const LINE_ENDS = ['\r', '\r\n', '\n\r', '\u0085', '\u2028', '\u2029', '\v', '\f', '\0', '\n\n', ' \n', '\\n']

/** Every way in which one message is made to look like another, like several, or like none. */
export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  honest: ({ text }) => line(text),
  // bytes
  'one byte changed': ({ text }, random) => {
    const bytes = line(text)
    bytes[random.below(bytes.length)] = random.below(256)
    return bytes
  },
  'bytes said twice': ({ text }, random) => {
    const at = random.below(text.length)
    return line(spliced(text, at, 0, text.slice(at, at + 1 + random.below(40))))
  },
  'bytes left out': ({ text }, random) => line(spliced(text, random.below(text.length), 1 + random.below(20), '')),
  'cut off': ({ text }, random) => line(text.slice(0, random.below(text.length))),
  'bytes of an encoding': (frame, random) => planted(frame, random, Uint8Array.from(random.pick(PLANTED))),
  'another encoding': ({ text }, random) => {
    const kind = random.below(4)
    if (kind === 0) return Buffer.from(`${text}\n`, 'utf16le')
    if (kind === 1) return Buffer.from(`${text}\n`, 'utf16le').swap16()
    if (kind === 2) return Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), line(text)])
    return Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(`${text}\n`, 'utf16le')])
  },
  // framing
  'several in a batch': ({ text }, random, other) => line(random.pick([`[${text},${other.text}]`, `[${text}]`, '[]', `[[${text}]]`, `{"0":${text}}`, `[${text},1]`])),
  'several on a line': ({ text }, random, other) => line(`${text}${random.pick(['', ' ', '\t', '\r', ',', ';', '\u2028'])}${other.text}`),
  'another line end': ({ text }, random, other) => Buffer.from(`${text}${random.pick(LINE_ENDS)}${other.text}\n`),
  'no line end': ({ text }) => Buffer.from(text),
  'line ends within': ({ text }, random) => {
    const places = [...text.matchAll(/[{,:]/g)].map(({ index }) => index + 1)
    return line(spliced(text, random.pick(places), 0, random.pick(['\n', '\r\n', '\n\n', ' \n ', '\r', '\t', '  '])))
  },
  'a message within a text': ({ text }, random, other) => line(text.replace(/"(name|uri|value)":"[^"]*"/, (_, key: string) => `"${key}":${random.once(2) ? JSON.stringify(`x\n${other.text}\n`) : `"x\n${other.text}\n"`}`)),
  'a message within a message': (frame, random, other) => with_(frame, random, [{ extra: other.value }, { params: other.value }, { _meta: { message: other.value } }, { result: other.value }]),
  // identity
  'another kind of id': ({ text }, random) => line(text.replace(/"id":[^,}]+/, `"id":${random.pick(IDS)}`)),
  'an id said twice': ({ text }, random) => line(text.replace('"id"', `${random.pick(['"id"', '"\\u0069d"', '"i\\u0064"'])}:${random.pick(IDS)},"id"`)),
  'an id of another': ({ value }, _random, other) => line(JSON.stringify({ ...value, id: other.value['id'] ?? 1 })),
  'no id': ({ value }) => {
    const { id: _, ...rest } = value
    return line(JSON.stringify(rest))
  },
  'another protocol': ({ text }, random) => line(text.replace(/"jsonrpc":"2.0",?/, random.pick(['', '"jsonrpc":"1.0",', '"jsonrpc":2.0,', '"jsonrpc":"2.0 ",', '"jsonrpc":null,', '"JSONRPC":"2.0",', '"jsonrpc":"2.0","jsonrpc":"1.0",']))),
  'an answer': ({ value }, random, other) => line(JSON.stringify({ jsonrpc: '2.0', id: random.pick([value['id'] ?? 1, 1, 2, 3, null, '1']), ...random.pick([{ result: {} }, { result: other.value }, { error: { code: -1, message: 'x' } }, { result: {}, error: {} }, { result: {}, method: 'tools/call' }, { result: null }]) })),
  // names
  'a name escaped': ({ text }, random) => {
    const found = names(text)
    if (found.length === 0) return line(text)
    const { index, 1: name } = random.pick(found) as RegExpExecArray & { 1: string }
    return line(escaped(text, index + 1 + random.below(name.length)))
  },
  'a method escaped': ({ text }, random) => {
    const at = text.indexOf('"method":"') + '"method":"'.length
    return line(escaped(text, at + random.below(5)))
  },
  'a member said twice': ({ text }, random) => {
    const found = names(text)
    if (found.length === 0) return line(text)
    const { 1: name } = random.pick(found) as RegExpExecArray & { 1: string }
    const said = random.once(2) ? name : escaped(name, random.below(name.length))
    const value = random.pick(['"evil"', '{}', '{"n":1,"evil":true}', 'null', '7', '"tools/call"', '[]'])
    return line(random.once(2) ? text.replace(`"${name}":`, `"${said}":${value},"${name}":`) : spliced(text, anObject(text, random), 0, `"${said}":${value},`))
  },
  'a member too many': (frame, random) => with_(frame, random, [{ extra: 1 }, { Name: 'evil' }, { 'name ': 'evil' }, { arguments: { n: 1, evil: true } }, { meta: {} }, { params: [] }, { method: 'evil' }, { id: 7 }, { inputResponses: { a: {} } }, { requestState: 'forged' }, { task: { ttl: 1 } }, { cursor: 'evil' }, { toString: 1 }]),
  'a member of the prototype': ({ text }, random) => line(spliced(text, anObject(text, random), 0, random.pick(['"__proto__":{"n":1,"evil":true},', '"constructor":{"prototype":{"n":1}},', '"__proto__":{"name":"read_file"},', '"hasOwnProperty":1,', '"toJSON":1,', '"__proto__":null,']))),
  'another method': ({ text }, random) => line(text.replace(/"method":"[^"]*"/, `"method":"${random.pick(METHODS)}"`)),
  'another name': ({ text }, random) => line(text.replace(/"name":"[^"]*"/, `"name":${random.pick(['"evil"', '"read_file "', '"READ_FILE"', '"read_file\\u0000"', '"read_file\\n"', '["read_file"]', '{"toString":"read_file"}', '"../read_file"', '"re\\u0430d_file"', '"read_file\\u200b"', '""', 'null', '7', '"\\ud800"', `"${'x'.repeat(300)}"`, '"__proto__"', '"constructor"'])}`)),
  // values
  'another number': ({ text }, random) => line(text.replace(/"n":-?[\d.e+]+/, `"n":${random.pick(NUMBERS)}`)),
  'another form': ({ value }, random) => line(JSON.stringify({ ...value, params: random.pick<unknown>([[], null, 'x', 7, [value['params'] ?? {}], { ...(value['params'] as object), arguments: [] }, { ...(value['params'] as object), arguments: 'x' }, { ...(value['params'] as object), arguments: null }]) })),
  'meta of all kinds': ({ value }, random) => line(JSON.stringify({ ...value, params: { ...(value['params'] as object), _meta: { ...((value['params'] as JsonObject | undefined)?.['_meta'] as object), ...random.pick<object>([
    { progressToken: 'x' }, { progressToken: 1 }, { progressToken: { a: 1 } }, { progressToken: 1.5 }, { evil: true }, { 'sealwrit/parent': { jti: 'x' } }, { 'sealwrit/artifact': {} }, { 'sealwrit/hold': 'x' }, { 'sealwrit/intent': 'evil' }, { 'sealwrit/delegates': {} },
    { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' }, { 'io.modelcontextprotocol/protocolVersion': '2025-11-25' }, { 'io.modelcontextprotocol/protocolVersion': 1 }, { 'io.modelcontextprotocol/clientCapabilities': { sampling: {}, elicitation: {}, roots: {} } }, { 'io.modelcontextprotocol/clientCapabilities': [] }, { 'io.modelcontextprotocol/clientInfo': { name: 'evil\n', version: '' } }, { 'io.modelcontextprotocol/clientInfo': 'x' }, { 'io.modelcontextprotocol/logLevel': 'evil' }, { 'io.modelcontextprotocol/subscriptionId': 1 }, { 'io.modelcontextprotocol/serverInfo': {} },
  ]) } } })),
  // size
  'too deep': ({ text }, random) => {
    const depth = random.pick([62, 63, 64, 65, 2_000])
    return line(text.replace(/"arguments":\{/, `"arguments":{"deep":${'['.repeat(depth)}${']'.repeat(depth)},`))
  },
  'too many': ({ text }, random) => line(text.replace(/"arguments":\{/, `"arguments":{"many":[${'0,'.repeat(random.pick([9_000, 12_000]))}0],`)),
}
/** Too large to be made often. */
export const RARE: Readonly<Record<string, Mutation>> = {
  'too long': ({ text }, random) => line(text.replace(/"arguments":\{/, `"arguments":{"long":"${'x'.repeat(random.pick([1_048_000, 1_048_576, 1_100_000]))}",`)),
  'no line end, too long': ({ text }) => Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.alloc(1_050_000, 0x20)]),
}

/** How bytes may come: at once, one by one, or cut anywhere. */
export function chunks(bytes: Buffer, random: Random): Buffer[] {
  const how = random.below(16)
  if (how === 0 && bytes.length < 1_000) return Array.from(bytes, (_, i) => bytes.subarray(i, i + 1))
  if (how > 3) return [bytes]
  const at = random.below(bytes.length + 1)
  return [bytes.subarray(0, at), bytes.subarray(at)].filter((part) => part.length > 0)
}
