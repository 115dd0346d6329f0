import * as fs from 'node:fs'
import * as path from 'node:path'
import { Denied, FACTS, isWithin, type JsonObject, type JsonValue, parseProfiles, parseStrict, type Profile, requirementsOf, unmet } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

const bytes = fs.readFileSync(path.resolve(import.meta.dirname, '../profiles.json'))
type Raw = { version: string; profiles: { name: string; extends?: string; requirements: JsonObject[] }[] }
const raw = (): Raw => JSON.parse(bytes.toString()) as Raw
const parse = (value: unknown): readonly Profile[] => parseProfiles(value as JsonValue)
const profiles = parseProfiles(parseStrict(bytes))
const named = (name: string): Profile => profiles.find((one) => one.name === name) as Profile
/** Numbers that meet everything that `profile` asks of one thing. */
const meeting = (profile: Profile, of: 'plane' | 'gate' | 'policy' | 'evidence'): Record<string, number> => {
  const out: Record<string, number> = {}
  for (const { fact, at_least: least, at_most: most } of requirementsOf([profile], of)) {
    const known = out[fact]
    out[fact] = least === undefined ? Math.min(most as number, known ?? Number.POSITIVE_INFINITY) : Math.max(least, known ?? 0)
  }
  return out
}

describe('the profiles', () => {
  it('are four, and each has everything of the one that it extends', () => {
    expect(profiles.map(({ name, extends: above }) => [name, above])).toEqual([['core', undefined], ['health', 'core'], ['federal', 'core'], ['defense', 'federal']])
    for (const { requirements, extends: above } of profiles) if (above !== undefined) expect(requirements.map(({ id }) => id)).toEqual(expect.arrayContaining(named(above).requirements.map(({ id }) => id)))
  })

  it('can each be met: no profile asks for what another requirement of it forbids', () => {
    for (const profile of profiles) for (const of of ['plane', 'gate', 'policy', 'evidence'] as const) expect(unmet([profile], of, meeting(profile, of)), `${profile.name} ${of}`).toEqual([])
  })

  it('are met by nothing that was not told: each requirement is missed without its fact', () => {
    for (const profile of profiles) {
      for (const of of ['plane', 'gate', 'policy', 'evidence'] as const) {
        const all = meeting(profile, of)
        for (const { id, fact } of requirementsOf([profile], of)) {
          const { [fact]: _, ...without } = all
          expect(unmet([profile], of, without).map((one) => one.id)).toContain(id)
        }
      }
    }
  })

  it('ask for more together than each alone, each requirement once', () => {
    const both = requirementsOf([named('health'), named('federal')], 'plane').map(({ id }) => id)
    expect(new Set(both).size).toBe(both.length)
    for (const name of ['health', 'federal']) expect(both).toEqual(expect.arrayContaining(requirementsOf([named(name)], 'plane').map(({ id }) => id)))
  })

  it('stand in spec/profile.md, each with its bound and what it says, and nothing else does', () => {
    const page = fs.readFileSync(path.resolve(import.meta.dirname, '../../../spec/profile.md'), 'utf8')
    const rows = raw().profiles.flatMap(({ requirements }) => requirements.map((one) => `| \`${String(one['id'])}\` | ${String(one['of'])} \`${String(one['fact'])}\` ${one['at_least'] === undefined ? `≤ ${String(one['at_most'])}` : `≥ ${String(one['at_least'])}`} | ${String(one['says'])} |`))
    expect(page.split('\n').filter((text) => /^\| `\w+\.\w+` \|/.test(text))).toEqual(rows)
    for (const facts of Object.values(FACTS)) for (const fact of facts) expect(page).toContain(`\`${fact}\``)
  })

  it('take no fact from the chain of prototypes', () => {
    const profile = { ...named('core'), requirements: [{ id: 'x', of: 'evidence' as const, fact: 'toString', at_least: 0, says: 's', step: 's' }, { id: 'y', of: 'evidence' as const, fact: '__proto__', at_least: 0, says: 's', step: 's' }] }
    expect(unmet([profile], 'evidence', {})).toHaveLength(2)
  })
})

describe('failing closed', () => {
  const closed = ['core.enforced', 'core.enforced_at_gates', 'core.receipts']

  it.each(closed)('%s cannot be left out of any profile', (id) => {
    const changed = raw()
    for (const profile of changed.profiles) profile.requirements = profile.requirements.filter((one) => one['id'] !== id)
    expect(() => parse(changed)).toThrow(/does not ask for/)
  })

  it.each(closed)('%s cannot be loosened', (id) => {
    const changed = raw()
    const requirement = changed.profiles.flatMap(({ requirements }) => requirements).find((one) => one['id'] === id) as JsonObject
    for (const [bound, value] of [['at_most', 1], ['at_least', 0]] as const) {
      if (requirement[bound] === undefined) continue
      const one = structuredClone(changed)
      for (const profile of one.profiles) profile.requirements = profile.requirements.map((r) => (r['id'] === id ? { ...r, [bound]: value } : r))
      expect(() => parse(one)).toThrow(Denied)
    }
  })

  it('a profile that stands alone needs it too', () => {
    const changed = raw()
    changed.profiles.push({ name: 'lax', says: 'nothing', requirements: [] } as never)
    expect(() => parse(changed)).toThrow(/lax/)
  })

  it('a profile that extends another cannot say a requirement of it again, with another bound', () => {
    const changed = raw()
    const [first] = changed.profiles[0]?.requirements as [JsonObject]
    changed.profiles[1]?.requirements.push({ ...first, at_most: 1 })
    expect(() => parse(changed)).toThrow(/twice/)
  })
})

describe('profiles of another form are refused', () => {
  it.each<[string, (value: Raw) => void]>([
    ['an unknown member', (v) => Object.assign(v, { more: 1 })],
    ['an unknown member of a requirement', (v) => Object.assign(v.profiles[0]?.requirements[0] as object, { optional: true })],
    ['an unknown fact', (v) => Object.assign(v.profiles[0]?.requirements[0] as object, { fact: 'vibes' })],
    ['a fact of something else', (v) => Object.assign(v.profiles[0]?.requirements[0] as object, { of: 'policy' })],
    ['an unknown subject', (v) => Object.assign(v.profiles[0]?.requirements[0] as object, { of: 'weather' })],
    ['two bounds', (v) => Object.assign(v.profiles[0]?.requirements[0] as object, { at_least: 0 })],
    ['no bound', (v) => delete (v.profiles[0]?.requirements[0] as { at_most?: number }).at_most],
    ['a profile twice', (v) => v.profiles.push(v.profiles[0] as never)],
    ['one that extends a later one', (v) => v.profiles.reverse()],
    ['one that extends itself', (v) => Object.assign(v.profiles[0] as object, { extends: 'core' })],
    ['33 profiles', (v) => (v.profiles = Array.from({ length: 33 }, (_, i) => ({ ...(v.profiles[0] as Raw['profiles'][number]), name: `p${i}` })))],
    ['201 requirements', (v) => (v.profiles = [{ ...(v.profiles[0] as Raw['profiles'][number]), requirements: Array.from({ length: 201 }, (_, i) => ({ ...(v.profiles[0]?.requirements[0] as JsonObject), id: `r${i}` })) }])],
  ])('%s', (_name, change) => {
    const changed = raw()
    change(changed)
    expect(() => parse(changed)).toThrow(Denied)
  })

  it('32 profiles, and 200 requirements with what every profile needs, are read', () => {
    const changed = raw()
    const core = changed.profiles[0] as Raw['profiles'][number]
    expect(parse({ ...changed, profiles: Array.from({ length: 32 }, (_, i) => ({ ...core, name: `p${i}` })) })).toHaveLength(32)
    const more = Array.from({ length: 200 - core.requirements.length }, (_, i) => ({ ...(core.requirements[0] as JsonObject), id: `r${i}` }))
    expect(parse({ ...changed, profiles: [{ ...core, requirements: [...core.requirements, ...more] }] })[0]?.requirements).toHaveLength(200)
  })
})

describe('a bound', () => {
  it.each([[{ at_least: 2 }, 1.999, false], [{ at_least: 2 }, 2, true], [{ at_most: 2 }, 2, true], [{ at_most: 2 }, 2.001, false], [{ at_least: 0 }, undefined, false], [{ at_most: 9 }, Number.NaN, false], [{ at_least: 0 }, Number.POSITIVE_INFINITY, false]])('%j of %s is %s', (bound, value, holds) => {
    expect(isWithin(bound, value)).toBe(holds)
  })

  it('taking facts away never meets more', () => {
    const facts = fc.dictionary(fc.constantFrom(...FACTS.plane), fc.oneof(fc.integer({ min: 0, max: 10_000 }), fc.double({ min: 0, max: 2, noNaN: true })))
    fc.assert(fc.property(facts, fc.constantFrom(...FACTS.plane), fc.constantFrom(...profiles), (all, gone, profile) => {
      const { [gone]: _, ...fewer } = all
      const before = new Set(unmet([profile], 'plane', all).map(({ id }) => id))
      const after = new Set(unmet([profile], 'plane', fewer).map(({ id }) => id))
      for (const id of before) expect(after.has(id)).toBe(true)
    }))
  })
})
