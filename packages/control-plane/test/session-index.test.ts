import type { Entry } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { MAX_OPENINGS, SessionIndex } from '../src/prove/session-index.ts'

const opened = (seq: number, gate: string, commit: string): Entry => ({ kind: 'gate', event: 'session', seq, time: seq, tenant: 'default', v: 1, gate, env: { commit: `sha256:${commit}`, level: 'software' } }) as never
const index = (...entries: Entry[]): SessionIndex => {
  const made = new SessionIndex()
  for (const entry of entries) made.take(entry)
  return made
}

describe('where gates opened their sessions', () => {
  it('is the newest opening before a permit, of this gate in this environment', () => {
    const found = index(opened(1, 'g', 'a'), opened(5, 'g', 'b'), opened(9, 'g', 'a'), opened(12, 'h', 'a'))
    expect([1, 2, 9, 10, 99].map((seq) => found.before(seq, 'g', 'sha256:a'))).toEqual([undefined, 1, 1, 9, 9])
    expect([found.before(99, 'g', 'sha256:b'), found.before(99, 'h', 'sha256:b'), found.before(12, 'h', 'sha256:a')]).toEqual([5, undefined, undefined])
  })

  it('forgets the environment that was opened longest ago, beyond as many as it remembers', () => {
    const found = index(opened(0, 'g', 'first'), opened(1, 'g', 'second'), opened(2, 'g', 'first'))
    for (let i = 3; i < MAX_OPENINGS; i++) found.take(opened(i, 'g', String(i)))
    expect([found.before(Number.MAX_SAFE_INTEGER, 'g', 'sha256:first'), found.before(Number.MAX_SAFE_INTEGER, 'g', 'sha256:second')]).toEqual([2, 1])
    found.take(opened(MAX_OPENINGS, 'g', 'one more'))
    expect([found.before(Number.MAX_SAFE_INTEGER, 'g', 'sha256:first'), found.before(Number.MAX_SAFE_INTEGER, 'g', 'sha256:second')]).toEqual([2, undefined])
  })

  it('takes nothing but openings', () => {
    const found = index({ ...opened(1, 'g', 'a'), kind: 'permit' } as never, { ...opened(2, 'g', 'a'), env: undefined } as never)
    expect(found.before(9, 'g', 'sha256:a')).toBeUndefined()
  })
})
