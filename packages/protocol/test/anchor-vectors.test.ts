import * as nodeCrypto from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { type Anchor, anchoredBytes, AnchorRefused, canonicalText, Denied, fromBase64, type JsonValue, parseAnchor, parseStrict, parseVerifierKey, toHex, tsaCryptoFrom, utf8, verifyAnchor } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { crypto, sha256 } from './support/fixture.ts'

const SPEC = path.resolve(import.meta.dirname, '../../../spec')
interface Vector {
  readonly name: string
  readonly anchor: JsonValue
  readonly certificates: readonly string[]
  readonly expect: string
}
const file = parseStrict(fs.readFileSync(path.join(SPEC, 'vectors/anchor.json'))) as unknown as { key: string; imprint: string; vectors: readonly Vector[] }
const key = parseVerifierKey(file.key, sha256)

/** The kind of what is shown, else the reason or code of the refusal. */
function judged({ anchor, certificates }: Vector): string {
  try {
    return verifyAnchor(parseAnchor(anchor), key, { certificates: certificates.map(fromBase64), crypto: tsaCryptoFrom(nodeCrypto) }, crypto).kind
  } catch (error) {
    if (error instanceof AnchorRefused) return error.reason
    if (error instanceof Denied) return error.code
    throw error
  }
}

describe('spec/vectors/anchor.json, made by OpenSSL', () => {
  it.each(file.vectors.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    expect(judged(vector)).toBe(vector.expect)
  })
  it('shows each kind, and enough refusals', () => {
    const expected = file.vectors.map((vector) => vector.expect)
    expect(expected).toEqual(expect.arrayContaining(['external time', 'local', 'copy']))
    expect(new Set(expected).size).toBeGreaterThan(9)
  })
  it('has the imprint that it names', () => {
    const { checkpoint } = parseAnchor(file.vectors[0]?.anchor as JsonValue)
    expect(toHex(sha256(anchoredBytes(checkpoint, key, crypto)))).toBe(file.imprint)
  })
})

describe('spec/anchor.md', () => {
  const text = fs.readFileSync(path.join(SPEC, 'anchor.md'), 'utf8')
  it('its literal examples are canonical anchors that hold', () => {
    const examples = [...text.matchAll(/```json\n([\s\S]*?)```/g)].map(([, example]) => example as string)
    expect(examples).toHaveLength(2)
    for (const example of examples) {
      const anchor: Anchor = parseAnchor(parseStrict(utf8(example)))
      expect(verifyAnchor(anchor, key, undefined, crypto).kind).toBe('copy')
      expect(canonicalText(anchor as never)).toBe(example.replaceAll(/\n ?/g, ''))
    }
  })
  it('names the imprint of its example', () => {
    expect(text).toContain(file.imprint)
  })
})
