import { AnchorRefused, MAX_DER_BYTES, MAX_DER_DEPTH, NONCE_BYTES, readCertificates, readTimestampReply, toBase64, verifyAnchor } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crypto, LOG_KEY, sha256, TestLog } from './support/fixture.ts'

const log = new TestLog()
log.add({ kind: 'key', purpose: 'log', event: 'created', key: 'x' })
const NOTE = log.note()
const sequence = (...content: number[]): Uint8Array => Uint8Array.of(0x30, ...(content.length < 128 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff]), ...content)

/** Why each reader of DER refuses `bytes`; a certificate file that does not begin like DER is read as PEM. */
function refusals(bytes: Uint8Array): string[] {
  const readers = [
    () => verifyAnchor({ type: 'rfc3161', checkpoint: NOTE, token: toBase64(bytes) }, LOG_KEY, undefined, crypto),
    () => readTimestampReply(bytes, sha256(bytes), new Uint8Array(NONCE_BYTES)),
    ...(bytes[0] === 0x30 ? [() => readCertificates(bytes)] : []),
  ]
  return readers.map((read) => {
    try {
      read()
      return 'ok'
    } catch (error) {
      if (error instanceof AnchorRefused) return `${error.reason}: ${error.message.split(': ').slice(1).join(': ')}`
      throw error
    }
  })
}

/** `depth` sequences around each other, the innermost empty. */
function nested(depth: number): Uint8Array {
  const headers: number[][] = []
  let length = 0
  for (let i = 0; i < depth; i++) {
    const header = [0x30, ...(length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff])]
    headers.push(header)
    length += header.length
  }
  return Uint8Array.from(headers.reverse().flat())
}

describe('the DER reader', () => {
  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(), 'a value is cut short'],
    ['a tag alone', Uint8Array.of(0x30), 'a value is cut short'],
    ['an indefinite length', Uint8Array.of(0x30, 0x80, 0x05, 0x00, 0x00, 0x00), 'an indefinite length'],
    ['an indefinite length inside', sequence(0x30, 0x80, 0x05, 0x00, 0x00, 0x00), 'an indefinite length'],
    ['a length in more octets than it takes', Uint8Array.of(0x30, 0x81, 0x02, 0x05, 0x00), 'as short as it can be'],
    ['a length with a leading zero', Uint8Array.of(0x30, 0x82, 0x00, 0x80, ...new Uint8Array(128)), 'as short as it can be'],
    ['a length of 2^32 − 1', Uint8Array.of(0x30, 0x84, 0xff, 0xff, 0xff, 0xff), 'a length beyond every limit'],
    ['a length of 126 octets', Uint8Array.of(0x30, 0xfe, ...new Uint8Array(126).fill(0xff)), 'a length beyond every limit'],
    ['a length without its octets', Uint8Array.of(0x30, 0x82), 'a length is cut short'],
    ['a length beyond the end', Uint8Array.of(0x30, 0x05, 0x05, 0x00), 'longer than what holds it'],
    ['a value that reaches out of its holder', sequence(0x30, 0x02, 0x04, 0x02, 0xff, 0xff), 'longer than what holds it'],
    ['bytes after the value', Uint8Array.of(0x30, 0x00, 0x00), 'bytes after the value'],
    ['a second value', Uint8Array.of(0x30, 0x00, 0x30, 0x00), 'bytes after the value'],
    ['a tag number above 30', sequence(0x1f, 0x81, 0x01, 0x00), 'a tag number above 30'],
    ['an end-of-contents', sequence(0x00, 0x00), 'a tag that nothing has'],
    ['64 KiB and a byte', new Uint8Array(MAX_DER_BYTES + 1).fill(0x30), `more than ${MAX_DER_BYTES} bytes`],
    ['10,000 empty values', sequence(...Array.from({ length: 10_000 }, () => [0x05, 0x00]).flat()), 'too many values'],
    ['depth beyond the limit', nested(MAX_DER_DEPTH + 1), `nested deeper than ${MAX_DER_DEPTH}`],
    ['depth 10^4', nested(10_000), `nested deeper than ${MAX_DER_DEPTH}`],
    ['depth 10^4 without lengths to fit', new Uint8Array(20_000).map((_, i) => (i % 2 === 0 ? 0x30 : 0x80)), 'an indefinite length'],
  ])('refuses %s, in a token, in a reply and in a certificate', (_name, bytes, why) => {
    for (const refusal of refusals(bytes)) expect(refusal).toContain(why)
  })
  it('is quick with what is as large and as deep as it may be', () => {
    const start = process.hrtime.bigint()
    for (let i = 0; i < 20; i++) refusals(sequence(...Array.from({ length: 8_000 }, () => [0x05, 0x00]).flat()))
    expect(Number(process.hrtime.bigint() - start) / 1e6).toBeLessThan(2_000)
  })
  it('takes a depth that is allowed for what it is: no token', () => {
    expect(refusals(nested(MAX_DER_DEPTH - 1))[0]).toMatch(/^token_malformed: a value of tag 6 is missing/)
  })
  it('never throws anything but a refusal, and takes no random bytes for a token', () => {
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.array(fc.constantFrom(0x30, 0x31, 0x02, 0x04, 0x06, 0xa0, 0x80, 0x00, 0x01, 0x81, 0x82, 0x7f, 0xff), { maxLength: 300 }).map((list) => Uint8Array.from(list)))
    fc.assert(
      fc.property(bytes, (value) => {
        expect(refusals(value)).not.toContain('ok')
      }),
      { numRuns: 3_000 },
    )
  })
})
