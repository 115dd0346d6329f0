import { canonicalText, Denied, type JsonObject, parseEntry } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'

const digest = `sha256:${'a'.repeat(64)}`
const read = (more: JsonObject): string => {
  try {
    const text = canonicalText({ v: 1, kind: 'policy', seq: 3, time: 1, tenant: 'default', digest, epoch: 2, policies: ['a/b'], ...more })
    expect(canonicalText(parseEntry(text) as never)).toBe(text)
    return 'ok'
  } catch (error) {
    if (error instanceof Denied) return error.code
    throw error
  }
}

describe('a policy entry', () => {
  it.each<[JsonObject]>([
    [{}], [{ event: 'activated', previous: digest, base: digest, urgent: true }], [{ event: 'rolled_back', previous: digest }], [{ event: 'staged', from: 5, urgent: true }],
    [{ event: 'withdrawn' }], [{ event: 'withdrawn', mode: 'shadow' }], [{ mode: 'shadow' }], [{ mode: 'enforce' }],
  ])('is read as it was written: %j', (more) => expect(read(more)).toBe('ok'))
  it.each<[JsonObject]>([
    [{ event: 'staged' }], [{ from: 5 }], [{ event: 'activated', from: 5 }], [{ event: 'rolled_back' }], [{ event: 'staged', from: 5, mode: 'shadow' }], [{ event: 'rolled_back', previous: digest, mode: 'shadow' }],
    [{ mode: 'shadow', urgent: true }], [{ event: 'withdrawn', urgent: true }], [{ urgent: false }], [{ event: 'deactivated' }], [{ mode: 'audit' }], [{ base: 'x' }], [{ from: -1, event: 'staged' }], [{ extra: 1 }],
  ])('whose members disagree or are unknown is refused: %j', (more) => expect(read(more)).toBe('artifact_malformed'))
})
