import type { AnchorVerdict } from '../anchor/anchor.ts'

/** What a bundle says about one claim. */
export type Verdict = 'established' | 'not established' | 'contradicted'

/** Findings that are told one by one; what is beyond is counted. */
export const MAX_FINDINGS = 1_000

export interface Finding {
  readonly verdict: Exclude<Verdict, 'established'>
  /** A full sentence about one thing: lower case, no full stop. */
  readonly claim: string
  /** Leaf index, where the claim is about one entry. */
  readonly seq?: number
  /** Execution, where the claim is about one. */
  readonly jti?: string
}

/** A time that the bundle tells, and by whose word. */
export interface ToldTime {
  readonly kind: AnchorVerdict['kind'] | 'cosignature' | 'plane'
  /** Milliseconds since 1970, where it is established. */
  readonly time?: number
  readonly sentence: string
}

export interface Report {
  /** `contradicted` when any claim is; else `established` when at least the checkpoint and every entry are. */
  readonly verdict: Verdict
  readonly origin: string
  readonly size: number
  readonly entries: number
  readonly permits: number
  readonly receipts: number
  readonly denials: number
  /** Claims that hold, with how often. */
  readonly established: readonly { readonly claim: string; readonly count: number }[]
  /** Claims that do not, or that nothing in the bundle shows; the first {@link MAX_FINDINGS} of them. */
  readonly findings: readonly Finding[]
  /** Findings that are not among them. */
  readonly omitted: number
  /** What kinds of time there are in the bundle. */
  readonly times: readonly ToldTime[]
  /** What the bundle does not show, in sentences. */
  readonly notShown: readonly string[]
}
