import { randomBytes } from 'node:crypto'
import * as v8 from 'node:v8'
import * as vm from 'node:vm'
import { LogState } from '@sealwrit/control-plane'
import { type Entry, type JsonObject, ownText, parseStrictText, toBase64Url, utf8 } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc') as () => void
const PAD = 'x'.repeat(8_000)
const COUNT = 10_000
const DIGEST = `sha256:${'a'.repeat(64)}`

/** Bytes of heap that `keep` holds on to, when it is done with `COUNT` lines of 8 kB each. */
function held(keep: (parsed: JsonObject, seq: number) => void): number {
  collect()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < COUNT; i++) {
    const token = (): string => randomBytes(16).toString('base64url')
    keep(parseStrictText(`{"jti":"${token()}","challenge":"${token()}","aud":"${token()}","sub":"local:${token()}","env":{"level":"software"},"assurance":"A4","pad":"${PAD}${i}"}`) as JsonObject, i)
  }
  collect()
  return process.memoryUsage().heapUsed - before
}

describe('what the plane remembers of an execution', () => {
  it('does not keep the line alive that its ids came in', () => {
    const states = [new LogState(), new LogState(), new LogState()]
    const [answers, receipts, spent] = states as [LogState, LogState, LogState]
    const head = (seq: number): object => ({ v: 1, seq, time: 1_767_225_600_000, tenant: 'default' })
    const permit = (parsed: JsonObject, seq: number): Entry => ({ ...head(seq), ...parsed, kind: 'permit', approvals: [], policy: { epoch: 1, determining: [] }, exp: 1_767_225_660, constraints: { lease_seconds: 300, obligations: [] }, use: 'challenge' }) as unknown as Entry
    const limit = COUNT * 1_500 // about 1,130 bytes for one that is open
    expect(held((parsed, seq) => answers.apply(permit(parsed, seq), DIGEST, parsed['jti'] as string))).toBeLessThan(limit)
    expect(held((parsed, seq) => receipts.apply({ ...head(seq), kind: 'receipt', jti: parsed['jti'], receipt: `x.${toBase64Url(utf8(JSON.stringify(parsed)))}.x` } as Entry, DIGEST))).toBeLessThan(limit)
    expect(held((parsed, seq) => spent.apply({ ...head(seq), ...parsed, kind: 'redemption', exp: 1_767_225_660, leaf_hash: DIGEST } as unknown as Entry, DIGEST))).toBeLessThan(limit)
    expect([answers.answeredCount, answers.open.size, spent.redeemedCount]).toEqual([COUNT, COUNT, COUNT])
  }, 60_000)

  it('would keep it otherwise: this is what the measure can tell', () => {
    const kept: string[] = []
    expect(held((parsed) => kept.push(parsed['jti'] as string))).toBeGreaterThan(COUNT * 4_000)
    const own: string[] = []
    expect(held((parsed) => own.push(ownText(parsed['jti'] as string)))).toBeLessThan(COUNT * 1_000)
    expect(kept.length + own.length).toBe(2 * COUNT)
  }, 60_000)
})
