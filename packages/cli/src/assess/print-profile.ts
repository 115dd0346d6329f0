import type { Judged } from '../local/profiles.ts'
import { dim, green, line, red } from '../output.ts'

/** Each requirement with its mark; what is not met with what to do. */
export function printJudged(results: readonly Judged[]): void {
  for (const { requirement: { id, of, says, step, fact }, value, isMet } of results) {
    line(`  ${isMet ? green('✓') : red('✗')} ${of.padEnd(9)} ${says}  ${dim(`${id}: ${fact.replaceAll('_', ' ')} ${value === undefined ? 'not shown' : Number(value.toFixed(3))}`)}`)
    if (!isMet) line(dim(`      ${step}`))
  }
}
