import { CHECKS } from '@sealwrit/protocol'
import { bold, dim, green, json, line, plain, red, yellow } from '../output.ts'
import type { Rule } from './rules.ts'
import type { Verdict } from './verdict.ts'

const MARK = { held: green('✓'), broken: red('✗'), 'not checked': yellow('–') } as const

/** Every rule with what it says, without a run. */
export function printRules(rules: readonly Rule[], asJson: boolean): void {
  if (asJson) return json({ rules })
  const width = Math.max(...rules.map(({ id }) => id.length))
  for (const { id, expect, says, spec } of rules) line(`${id.padEnd(width)}  ${expect.join(' | ').padEnd(26)}  ${says} ${dim(`(${spec})`)}`)
}

/** By check, in the order of the eight; at last the sum. */
export function printVerdicts(verdicts: readonly Verdict[], of: Readonly<Record<string, string>>, asJson: boolean): void {
  const sum = summary(verdicts)
  if (asJson) return json({ of, summary: sum, rules: verdicts.map(({ rule: { id, suite, check, spec, says, expect }, status, detail }) => ({ id, suite, check, spec, says, expect, status, detail })) })
  const width = Math.max(0, ...verdicts.map(({ rule }) => rule.id.length))
  for (const check of CHECKS) {
    const own = verdicts.filter(({ rule }) => rule.check === check)
    if (own.length === 0) continue
    line(bold(check))
    for (const { rule, status, detail } of own) {
      line(`  ${MARK[status]} ${rule.id.padEnd(width)}  ${rule.says} ${dim(status === 'held' ? `· ${plain(detail)}` : `(${rule.spec})`)}`)
      if (status !== 'held') line(`    ${status === 'broken' ? red('BROKEN') : 'not checked'}: ${plain(detail)}`)
    }
  }
  line(`held ${sum.held}, broken ${sum.broken}, not checked ${sum.not_checked}`)
}

export function summary(verdicts: readonly Verdict[]): { readonly held: number; readonly broken: number; readonly not_checked: number } {
  const count = (wanted: Verdict['status']): number => verdicts.filter(({ status }) => status === wanted).length
  return { held: count('held'), broken: count('broken'), not_checked: count('not checked') }
}
