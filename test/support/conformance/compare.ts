import type { Check, Results } from './suite.ts'

/** Best first. A check that says nothing stands between one that passed and one that did not. */
const ORDER: readonly Check['status'][] = ['SUCCESS', 'INFO', 'SKIPPED', 'WARNING', 'FAILURE']

/** Something that held without the gateway, or failed less, and does not through it. */
export interface Worse {
  readonly scenario: string
  readonly check: string
  readonly was: string
  readonly is: string
  readonly message: string
}

/** One row of a table: how many checks passed, of those that passed or failed. */
export interface Row {
  readonly scenario: string
  readonly passed: number
  readonly counted: number
}

/** What each check of a scenario comes to; one that was made several times is as good as its worst. */
function verdicts(checks: readonly Check[]): Map<string, Check> {
  const out = new Map<string, Check>()
  for (const check of checks) {
    const key = `${check.id} ${check.name}`
    const known = out.get(key)
    if (known === undefined || ORDER.indexOf(check.status) > ORDER.indexOf(known.status)) out.set(key, check)
  }
  return out
}

/** Check by check: whatever is worse in `through` than in `direct`, what is missing there included. */
export function compare(direct: Results, through: Results): Worse[] {
  const worse: Worse[] = []
  for (const [scenario, checks] of direct) {
    const made = verdicts(through.get(scenario) ?? [])
    for (const [check, before] of verdicts(checks)) {
      if (before.status === 'INFO') continue // what was seen, not what was found
      const after = made.get(check)
      if (after !== undefined && ORDER.indexOf(after.status) <= ORDER.indexOf(before.status)) continue
      worse.push({ scenario, check, was: before.status, is: after?.status ?? 'not made', message: after?.errorMessage ?? '' })
    }
  }
  return worse
}

export function rows(results: Results): Row[] {
  return [...results].map(([scenario, checks]) => ({
    scenario,
    passed: checks.filter(({ status }) => status === 'SUCCESS').length,
    counted: checks.filter(({ status }) => status === 'SUCCESS' || status === 'FAILURE').length,
  }))
}
