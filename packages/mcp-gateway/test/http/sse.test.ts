import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Bytes } from '../../src/bytes.ts'
import { MAX_EVENT_ID, SseReader } from '../../src/server/sse.ts'

type Seen = readonly (string | { id: string | undefined } | { retry: number })[]

function read(pieces: readonly (string | Uint8Array)[], maxData = 1_000): Seen {
  const seen: (string | { id: string | undefined } | { retry: number })[] = []
  const reader = new SseReader(maxData, { data: (bytes) => seen.push(Buffer.from(bytes).toString('latin1')), id: (id) => seen.push({ id }), retry: (ms) => seen.push({ retry: ms }) })
  for (const piece of pieces) reader.push(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)
  return seen
}

describe('an event stream', () => {
  it.each<[string, string, Seen]>([
    ['one event', 'data: {"a":1}\n\n', ['{"a":1}']],
    ['CRLF and CR as ends', 'data: a\r\n\r\ndata: b\r\rdata: c\n\n', ['a', 'b', 'c']],
    ['a BOM, once', '\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n', ['a']],
    ['what only begins like a BOM', '\xef\xbbdata: a\n\ndata: b\n\n', ['b']],
    ['several lines of data', 'data: a\ndata:\ndata:  b\n\n', ['a\n\n b']],
    ['no space after the colon, and one that is not eaten', 'data:a\n\ndata:  a\n\n', ['a', ' a']],
    ['comments and unknown fields', ': hello\nfoo: bar\ndata: a\n:\n\n', ['a']],
    ['a name without a colon', 'data\n\ndata: a\n\n', ['a']],
    ['other types', 'event: ping\ndata: a\n\nevent: message\ndata: b\n\nevent:\ndata: c\n\n', ['b', 'c']],
    ['an id after its data', 'id: 7\ndata: a\n\n', ['a', { id: '7' }]],
    ['an id without data, as a server primes', 'id: 7\ndata:\n\n', [{ id: '7' }]],
    ['an id that is taken back', 'id: 7\n\nid:\n\n', [{ id: '7' }, { id: undefined }]],
    ['an id with NUL, which is none', 'id: 7\n\nid: 8\x008\ndata: a\n\n', [{ id: '7' }, 'a']],
    ['an id that no header can carry', 'id: \xe9\n\n', [{ id: undefined }]],
    ['a retry, and what is none', 'retry: 150\nretry: 1e3\nretry: -1\nretry:\n\n', [{ retry: 150 }]],
    ['an event that is cut off', 'data: a\n\ndata: b\n', ['a']],
  ])('reads %s', (_what, text, expected) => {
    expect(read([text])).toEqual(expected)
  })

  it('reads the same wherever it is cut', () => {
    const line = fc.constantFrom('data: x', 'data:', 'data: {"a":"b"}', 'id: 1', 'id:', 'event: ping', 'event: message', 'retry: 9', ': c', '', 'nonsense', 'data: \xe9\xbf', '\xef\xbb\xbfdata: y')
    const end = fc.constantFrom('\n', '\r', '\r\n', '\n\n', '\r\n\r\n', '\r\r')
    fc.assert(
      fc.property(fc.array(fc.tuple(line, end), { maxLength: 12 }), fc.constantFrom('', '\xef\xbb\xbf', '\xef'), (lines, bom) => {
        const text = bom + lines.flat().join('')
        const whole = read([text])
        for (let at = 0; at <= text.length; at++) expect(read([text.slice(0, at), text.slice(at)])).toEqual(whole)
        expect(read(text.split(''))).toEqual(whole)
      }),
      { numRuns: 150 },
    )
  })

  it('takes data up to its limit and not a byte more, in one line and in several', () => {
    for (const limit of [9, 10, 11]) {
      const one = (): Seen => read([`data: ${'x'.repeat(10)}\n\n`], limit)
      const two = (): Seen => read([`data: ${'x'.repeat(4)}\ndata: ${'x'.repeat(5)}\n\n`], limit)
      for (const of of [one, two]) {
        if (limit < 10) expect(of).toThrow('event')
        else expect(of()).toHaveLength(1)
      }
    }
  })

  it('holds no line that never ends', () => {
    expect(() => read(Array.from({ length: 100 }, () => 'x'.repeat(64)), 1_000)).toThrow('line')
    expect(() => read([': ', ...Array.from({ length: 100 }, () => 'x'.repeat(64))], 1_000)).toThrow('line')
  })

  it('takes ids up to their limit', () => {
    expect(read([`id: ${'i'.repeat(MAX_EVENT_ID)}\n\n`], 4_000)).toEqual([{ id: 'i'.repeat(MAX_EVENT_ID) }])
    expect(read([`id: ${'i'.repeat(MAX_EVENT_ID + 1)}\n\n`], 4_000)).toEqual([{ id: undefined }])
  })
})

describe('bytes that grow', () => {
  it('are those that were appended, up to the limit', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), fc.nat(400), (pieces, expected) => {
        const bytes = new Bytes(300)
        bytes.expect(expected)
        const taken = pieces.filter((piece) => bytes.append(piece))
        expect(Buffer.compare(bytes.take(), Buffer.concat(taken))).toBe(0)
        expect(bytes.length).toBe(0)
      }),
    )
    const bytes = new Bytes(3)
    expect([bytes.append(Uint8Array.of(1, 2)), bytes.append(Uint8Array.of(3, 4)), bytes.append(Uint8Array.of(3))]).toEqual([true, false, true])
  })
})
