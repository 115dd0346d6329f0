import type { Rule } from './rules.ts'

/** What came of one rule. */
export interface Verdict {
  readonly rule: Rule
  readonly status: 'held' | 'broken' | 'not checked'
  /** What was seen, or why nothing was looked at. */
  readonly detail: string
}

export const held = (rule: Rule, detail: string): Verdict => ({ rule, status: 'held', detail })
export const broken = (rule: Rule, detail: string): Verdict => ({ rule, status: 'broken', detail })
export const unchecked = (rule: Rule, detail: string): Verdict => ({ rule, status: 'not checked', detail })

/** Hears how far it has got. */
export type Told = (verdict: Verdict) => void
