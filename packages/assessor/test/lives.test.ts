import { LogMeasures, type Measure, type Measured } from '@sealwrit/assessor'
import { type Entry, type JsonObject, parseBundle, parseEntry } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { assuranceCases } from '../../../test/support/assurance-cases.ts'
import { richBundle } from '../../../test/support/evidence.ts'
import { keyCases } from '../../../test/support/key-cases.ts'
import { toolCases } from '../../../test/support/tool-cases.ts'
import { brokenRules } from '../../../test/support/violations.ts'

const rich = richBundle('default')
const entries = rich.drafts.map(({ text }) => parseEntry(text))
const of = (given: readonly Entry[], nowMs = entries[0]?.time ?? 0): LogMeasures => {
  const measures = new LogMeasures(nowMs)
  for (const entry of given) measures.add(entry)
  return measures
}
const measured = (given: readonly Entry[], name: Measure): Measured | undefined => of(given).measured().get(name)
const violations = (given: readonly Entry[]): Measured | undefined => measured(given, 'lifecycle_violations')

/** Rules that are broken in the life of an execution, by the titles that verifiers are tried with. */
const OF_LIFE = [
  'a pull permit with two receipts', 'a receipt and an expiry', 'an expiry and a receipt that resolves nothing', 'a receipt that resolves another entry', 'a receipt that resolves itself', 'a receipt that resolves its permit',
  'a receipt that resolves an indeterminate receipt', 'an indeterminate that is resolved twice', 'an expired that is resolved', 'a pull permit that expired', 'a spent permit that expired', 'a denial with the id of a permit',
  'a second permit of one id', 'a redemption with another gate', 'a redemption with another end', 'a redemption with its very end', 'a redemption of a pull permit', 'a permit spent twice', 'a permit spent after its ending', 'a permit spent after its receipt',
  'a permit after a kill that somebody only asked to lift', 'a permit after a revocation beside a kill that was lifted', 'a renewal for another gate', 'a receipt that names another gate', 'a receipt that names another permit',
  'a receipt under another entry id', 'a permit that rests on an approval used before', 'a permit after the hold was rejected', 'a permit whose approval stands elsewhere',
]
const isOfLife = (title: string): boolean => OF_LIFE.includes(title) || /^a receipt of what ran though |^a carried permit that nobody spent, |^a (permit|renewal) after the (kill|revocation) of /.test(title)
/** What needs more than what is open, as spec/maturity.md says. */
const UNSEEN = ['a permit with the id of a denial', 'an expiry of another leaf', 'a redemption with another leaf', 'a receipt that names another leaf', 'a permit beyond its budget of a agent']

describe('the life cycle, over a log', () => {
  it('finds nothing in a log that every verifier takes', () => {
    expect(violations(entries)).toEqual({ value: 0, proof: [] })
  })

  it('finds nothing in whatever else verifiers establish', () => {
    let whole = 0
    for (const { title, bundle, verdict } of [...assuranceCases(), ...keyCases(), ...toolCases()]) {
      if (verdict !== 'established') continue
      const measures = of(bundle.entries.map(({ entry }) => parseEntry(entry)))
      if (measures.broken !== undefined) continue // a part of a log
      whole++
      expect([measures.measured().get('lifecycle_violations')?.value, measures.contradictions], title).toEqual([0, []])
    }
    expect(whole).toBeGreaterThan(20)
  })

  it('finds what verifiers call contradicted, and names the entry', () => {
    let [seen, unseen] = [0, 0]
    for (const { title, value } of brokenRules(rich)) {
      if (!isOfLife(title) && !UNSEEN.includes(title)) continue
      const found = violations(parseBundle(value).entries.map(({ entry }) => parseEntry(entry)))
      expect(found?.value ?? 0, title).toBe(isOfLife(title) ? 1 : 0)
      expect(found?.proof.length ?? 0, title).toBe(isOfLife(title) ? 1 : 0)
      if (isOfLife(title)) seen++
      else unseen++
    }
    expect([seen >= OF_LIFE.length + 8 + 2 + 30, unseen]).toEqual([true, UNSEEN.length])
  })

  it('a log that was made anew without a decision, or without what spent it, shows that', () => {
    const ids = (kind: Entry['kind']): Set<string> => new Set(entries.flatMap((entry) => (entry.kind === kind && 'jti' in entry && entry.jti !== undefined ? [entry.jti] : [])))
    const ended = new Set([...ids('receipt'), ...ids('expiry')])
    const told = entries.flatMap((entry, i) => ((entry.kind === 'permit' || entry.kind === 'redemption') && ended.has(entry.jti)) || (entry.kind === 'hold' && entries.some((one) => one.kind === 'approval' && one.hold === entry.hold)) ? [i] : [])
    expect(told.length).toBeGreaterThan(5)
    for (const left of told) expect(violations(entries.filter((_, i) => i !== left).map((entry, seq) => ({ ...entry, seq })))?.value, `without ${left}`).toBeGreaterThan(0)
  })

  it.each([[-30_001, 1], [-30_000, 0], [89_999, 0], [90_000, 1]])('an execution that began %i ms from the time of its permit is out of it: %i', (ms, count) => {
    const [permit, receipt] = lived()
    expect(violations([permit, withClaims(receipt, { started: permit.nbf * 1_000 + ms })])?.value).toBe(count)
  })
})

type Permit = Extract<Entry, { kind: 'permit' }>
/** A permit of 60 s, and its receipt, as the first entries of a log. */
function lived(change: Partial<Permit> = {}): [Permit, Entry] {
  const receipt = entries.find((entry) => entry.kind === 'receipt' && entry.resolves === undefined && entries.some((one) => one.kind === 'permit' && one.jti === entry.jti && one.use === 'challenge')) as Extract<Entry, { kind: 'receipt' }>
  const permit = entries.find((entry) => entry.kind === 'permit' && entry.jti === receipt.jti) as Permit
  return [{ ...permit, exp: permit.nbf + 60, approvals: [], ...change, seq: 0 }, { ...receipt, seq: 1, time: permit.time }]
}
function withClaims(entry: Entry, change: JsonObject): Entry {
  const { receipt } = entry as Extract<Entry, { kind: 'receipt' }>
  const [head, claims, signature] = receipt.split('.') as [string, string, string]
  const changed = { ...(JSON.parse(Buffer.from(claims, 'base64url').toString()) as JsonObject), ...change }
  return { ...entry, receipt: [head, Buffer.from(JSON.stringify(changed)).toString('base64url'), signature].join('.') } as Entry
}
/** As many executions at one gate as there are numbers, each with the receipt of that number; undefined: the plane lost it. */
function executions(gate: string, numbers: readonly (number | undefined)[], from = 0): Entry[] {
  const [permit, receipt] = lived()
  return numbers.flatMap((sequence, i): Entry[] => {
    const jti = `${gate}${'A'.repeat(18)}${String(i).padStart(3, '0')}`
    const own: Entry = { ...permit, jti, txn: jti, aud: gate, seq: from + 2 * i }
    if (sequence === undefined) return [own, { v: 1, tenant: permit.tenant, kind: 'expiry', seq: from + 2 * i + 1, time: receipt.time, jti, leaf_hash: `sha256:${'0'.repeat(64)}`, outcome: 'indeterminate' }]
    return [own, withClaims({ ...receipt, jti, seq: from + 2 * i + 1 } as Entry, { jti, gate, sequence, session: `${gate}-1` })]
  })
}

describe('the numbers of receipts', () => {
  it.each<[string, readonly (number | undefined)[], number, number]>([
    ['in order', [0, 1, 2, 3], 1, 0],
    ['late', [3, 1, 0, 2], 1, 0],
    ['one missing', [0, 1, 3], 3 / 4, 1],
    ['the first missing', [1, 2, 3], 3 / 4, 1],
    ['the last one lost', [0, 1, 2, undefined], 3 / 4, 0],
    ['one missing that is the one that was lost', [0, undefined, 2, 3], 3 / 4, 1],
    ['a jump beyond anything', [0, Number.MAX_SAFE_INTEGER], 2 / Number.MAX_SAFE_INTEGER, 1e9],
  ])('%s', (_name, numbers, share, gaps) => {
    const given = executions('g', numbers)
    const covered = measured(given, 'covered_share')
    expect(covered?.value).toBeCloseTo(share, 12)
    expect(covered?.proof.length === 0).toBe(share === 1)
    expect(measured(given, 'receipt_gaps')?.value).toBe(gaps)
    expect(of(given).contradictions).toEqual([])
  })

  it('the gate with the least counts, and the proof is where its numbers end', () => {
    const first = executions('a', [0, 1, 2, 3, 4, 5, 6, 8])
    expect(measured([...first, ...executions('b', [0, 1, 3], first.length)], 'covered_share')).toEqual({ value: 3 / 4, proof: [first.length + 5] })
  })

  it('what a gate signed for nothing that it was permitted counts against it', () => {
    const given = executions('a', [0, 1])
    const stray = { ...(executions('a', [2])[1] as Entry), seq: 4, jti: 'B'.repeat(22) } as Entry
    expect(measured([...given, stray], 'covered_share')).toEqual({ value: 2 / 3, proof: [4] })
    expect(measured([...given, stray], 'lifecycle_violations')).toEqual({ value: 1, proof: [4] })
  })

  it.each([[[0, 1, 1], 'used number 1 of its session a-1 twice'], [[0, 2, 1, 2], 'used number 2 of its session a-1 twice'], [[0, -1], 'is no number'], [[0, 0.5], 'is no number']])('%j is a lie, and is told with gate and entry, until the key of the gate is revoked from before it on', (numbers, says) => {
    const given = executions('a', numbers)
    const { contradictions } = of(given)
    expect(contradictions).toEqual([expect.stringMatching(new RegExp(`^entry ${given.length - 1}: gate a .*${says}$`))])
    const revoked = (from: number): Entry => ({ v: 1, kind: 'key', purpose: 'gate', event: 'revoked', gate: 'a', from, by: 'user:x', seq: given.length, time: given.at(-1)?.time ?? 0, tenant: 'default' })
    expect(of([...given, revoked(given.length - 1)]).contradictions).toEqual([])
    expect(of([...given, revoked(given.length)]).contradictions).toEqual(contradictions)
  })
})

describe('how soon something stopped', () => {
  const [permit, receipt] = lived()
  const at = (seq: number, time: number, selector: string): Entry => ({ v: 1, tenant: permit.tenant, kind: 'kill', event: 'killed', by: 'user:x', selector, seq, time })
  const stopped = (seq: number, finished: number): Entry => withClaims({ ...receipt, seq, time: permit.time + 9_000 }, { outcome: 'terminated', cause: 'killed', finished })

  it('counts from the first word that met it, and from no other', () => {
    const [own, other] = [`artifact:${permit.jti}`, 'agent:somebody-else']
    const t = permit.time
    expect(measured([permit, at(1, t, other), at(2, t + 100, own), at(3, t + 500, permit.act.sub), at(4, t + 900, other), stopped(5, t + 1_000)], 'stop_ms')).toEqual({ value: 900, proof: [5] })
    expect(measured([permit, at(1, t, other), stopped(2, t + 1_000)], 'stop_ms')).toBeUndefined()
  })

  it('what was killed and lost did not stop, until its receipt comes', () => {
    const lost: Entry = { v: 1, tenant: permit.tenant, kind: 'expiry', seq: 2, time: permit.time + 8_000, jti: permit.jti, leaf_hash: `sha256:${'0'.repeat(64)}`, outcome: 'indeterminate' }
    const given = [permit, at(1, permit.time, `artifact:${permit.jti}`), lost]
    expect(measured(given, 'stop_ms')).toEqual({ value: 8_000, proof: [2] })
    expect(measured([...given, { ...stopped(3, permit.time + 40), resolves: 2 } as Entry], 'stop_ms')).toEqual({ value: 40, proof: [3] })
  })
})

it('containment that was demanded and was not in force is counted, whatever else was', () => {
  const ran = (obligations: readonly string[], containment: readonly string[]): Measured | undefined => {
    const [permit, receipt] = lived()
    return measured([{ ...permit, constraints: { ...permit.constraints, obligations } }, withClaims(receipt, { containment: [...containment] })], 'uncontained')
  }
  expect([ran([], []), ran(['a'], ['a', 'b'])].map((one) => one?.value)).toEqual([0, 0])
  for (const containment of [[], ['b'], ['a']]) expect(ran(['a', 'b'], containment)).toEqual({ value: 1, proof: [1] })
})
