import type { Profile } from '@sealwrit/protocol'
import { beside, type PlaneSuiteOptions } from '../plane/suite.ts'
import type { PlaneSide } from '../plane/side.ts'
import { type ProfileRule, RUNS } from '../rules.ts'
import { broken, held, unchecked, type Verdict } from '../verdict.ts'
import { PROFILE_STEPS, type Shown, withExtended } from './steps.ts'

export interface ProfileSuiteOptions extends PlaneSuiteOptions {
  readonly profiles: readonly Profile[]
}

/** Whether a rule is about one of `profiles`, or what it extends. */
export function isOfProfiles(profiles: readonly Profile[]): (rule: ProfileRule) => boolean {
  const names = new Set(withExtended(profiles.map(({ name }) => name)))
  return ({ profile }) => profile.some((name) => names.has(name))
}

/** Whether a plane is what profiles ask for: by what it tells of itself, and by what shows on the wire. @throws {CliError} where no plane answers */
export function runProfileSuite(rules: readonly ProfileRule[], options: ProfileSuiteOptions): Promise<readonly Verdict[]> {
  const { profiles, told, signal, wire } = options
  return beside(options, async (side) => {
    const verdicts: Verdict[] = []
    for (const rule of rules) {
      if (signal.aborted) break
      const verdict = rule.over !== undefined && rule.over !== wire.over ? unchecked(rule, rule.over === 'http' ? 'it is about HTTP: name the plane by its URL' : 'name the plane by its socket: over HTTP what it might take could not be taken back') : await judged(rule, side, profiles)
      verdicts.push(verdict)
      told(verdict)
    }
    return verdicts
  })
}

async function judged(rule: ProfileRule, side: PlaneSide, profiles: readonly Profile[]): Promise<Verdict> {
  const step = PROFILE_STEPS[rule.do.step]
  if (step === undefined) return unchecked(rule, `no step is called ${rule.do.step}`)
  let shown: Shown
  try {
    shown = await step(side, profiles)
  } catch (error) {
    return unchecked(rule, error instanceof Error ? error.message : 'unknown')
  }
  const { outcome, detail } = shown
  if (outcome === undefined) return unchecked(rule, detail)
  if (rule.expect.includes(outcome)) return held(rule, detail === '' ? outcome : detail)
  return broken(rule, detail === '' ? (outcome === RUNS ? 'it was let through' : `${outcome} in place of ${rule.expect.join(' or ')}`) : detail)
}
