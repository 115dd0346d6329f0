/** One published figure: what was measured against which baseline, in the same run. */
export interface Figure {
  readonly id: string
  readonly what: string
  readonly baseline: string
  /** Ratio that TARGETS asks for; `better` says which side of it is good. */
  readonly must: number
  readonly stretch: number
  readonly better: 'lower' | 'higher'
  readonly ratio: number
  /** Rows of measured values, for the table under the figure. */
  readonly rows: readonly (readonly [string, string])[]
  readonly durability: string
  /** What a missed target would take. */
  readonly note?: string
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] as number
}
export const median = (values: readonly number[]): number => quantile(values, 0.5)

export const micros = (ms: number): string => `${(ms * 1_000).toFixed(0)} µs`
export const perSecond = (n: number): string => `${n.toFixed(0)}/s`

/** Times one asynchronous step, in milliseconds. */
export async function time(step: () => unknown): Promise<number> {
  const from = performance.now()
  await step()
  return performance.now() - from
}

export function isMet({ ratio, must, better }: Figure): boolean {
  return better === 'lower' ? ratio <= must : ratio >= must
}
