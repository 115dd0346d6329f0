/** A number as its measure is read. */
export function shownNumber(measure: string, value: number): string {
  if (measure.endsWith('_share')) return `${Number((value * 100).toFixed(2))} %`
  if (measure.endsWith('_days')) return `${Number(value.toFixed(1))} days`
  return measure.endsWith('_ms') ? `${Math.round(value)} ms` : String(Number(value.toFixed(2)))
}
