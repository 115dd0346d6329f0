import type { Report } from '@sealwrit/assessor'
import { type JsonValue, present, type Profile } from '@sealwrit/protocol'
import { CliError } from '../errors.ts'
import type { PlaneFolder } from '../local/folder.ts'
import { type Judged, judged, NOTHING_TOLD, toldByPlane } from '../local/profiles.ts'
import { bold, dim, green, line, red } from '../output.ts'

/** How a deployment stands to profiles. */
export interface Against {
  /** As a person names them: `health and federal`. */
  readonly title: string
  readonly names: readonly string[]
  readonly results: readonly Judged[]
}

/** By what the plane tells of itself and its policies, and by what the evidence shows; undefined where no profile is asked about. */
export async function against(folder: PlaneFolder, profiles: readonly Profile[], { measures, invalid }: Report): Promise<Against | undefined> {
  if (profiles.length === 0) return undefined
  const evidence = invalid.length > 0 ? {} : Object.fromEntries(Object.entries(measures).map(([name, { value }]) => [name, value]))
  const names = profiles.map(({ name }) => name)
  return { title: `profile ${names.join(' and ')}`, names, results: judged(profiles, { ...((await toldByPlane(folder)) ?? NOTHING_TOLD), evidence }) }
}

export function againstJson({ names, results }: Against): JsonValue {
  return { names, requirements: results.map(({ requirement: { id, of, says }, value, isMet }) => present({ id, of, says, met: isMet, value })) }
}

export function printAgainst({ title, results }: Against): void {
  line()
  line(bold(title))
  printJudged(results)
}

/** Each requirement with its mark; what is not met with what to do. */
export function printJudged(results: readonly Judged[]): void {
  for (const { requirement: { id, of, says, step, fact }, value, isMet } of results) {
    line(`  ${isMet ? green('✓') : red('✗')} ${of.padEnd(9)} ${says}  ${dim(`${id}: ${fact.replaceAll('_', ' ')} ${shownFact(value)}`)}`)
    if (!isMet) line(dim(`      ${step}`))
  }
}

export function shownFact(value: number | undefined): string {
  return value === undefined ? 'not shown' : String(Number(value.toFixed(3)))
}

/** @throws {CliError} where something of a profile is not met: a pipeline stops there */
export function demandAgainst({ title, results }: Against): void {
  const missing = results.filter(({ isMet }) => !isMet).length
  if (missing > 0) throw new CliError(`${missing} of ${results.length} requirements of ${title} are not met`, { hint: 'each says what to do, marked ✗' })
}
