/** What a bundle says about one claim. */
export type Verdict = 'established' | 'not established' | 'contradicted'

export interface Finding {
  readonly verdict: Verdict
  /** A full sentence about one thing: lower case, no full stop. */
  readonly claim: string
  /** Leaf index, where the claim is about one entry. */
  readonly seq?: number
  /** Execution, where the claim is about one. */
  readonly jti?: string
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
  readonly findings: readonly Finding[]
  /** What the bundle does not show, in sentences. */
  readonly notShown: readonly string[]
}
