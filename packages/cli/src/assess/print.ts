import { type Change, type Criterion, type DimensionGrade, gap, type Grade, MAX_LEVEL, type Measured, type Model, type Point } from '@sealwrit/assessor'
import { bold, dim, green, line, plain, red, yellow } from '../output.ts'
import { shownNumber } from './numbers.ts'

/** Steps that are told at once. */
const MAX_STEPS = 12

/** Draws a grade: the level, each dimension with its bar, and what stands between here and the next level. */
export function printGrade(graded: Grade, model: Model, withPoints: boolean): void {
  line(`${bold(`level ${graded.level}`)}  ${model.levels[graded.level] ?? ''}  ${dim(graded.model)}`)
  for (const reason of graded.invalid) line(`${red('invalid')}  ${plain(reason)}`)
  line()
  for (const dimension of graded.dimensions) printDimension(dimension, graded.level, withPoints)
  const steps = gap(graded)
  if (steps.length === 0) return
  line()
  line(bold(`to level ${Math.min(MAX_LEVEL, graded.level + 1)}`))
  for (const point of steps.slice(0, MAX_STEPS)) {
    line(`  ${title(point.criterion)}  ${wanted(point.criterion)}, ${point.measured === undefined ? 'not shown' : shown(point.criterion, point.measured)}`)
    line(dim(`    ${point.criterion.step}`))
  }
  if (steps.length > MAX_STEPS) line(dim(`  and ${steps.length - MAX_STEPS} more: --json has them`))
}

function printDimension({ dimension, level, points }: DimensionGrade, overall: number, withPoints: boolean): void {
  const bar = `${'█'.repeat(level)}${'░'.repeat(MAX_LEVEL - level)}`
  line(`  ${dimension.replaceAll('_', ' ').padEnd(28)}${level > overall ? green(bar) : yellow(bar)} ${level}`)
  if (withPoints) for (const point of points) printPoint(point)
}

function printPoint({ criterion, isMet, measured }: Point): void {
  const said = measured === undefined ? 'not shown' : shown(criterion, measured)
  const proof = measured === undefined || measured.proof.length === 0 ? '' : `, entries ${measured.proof.join(', ')}`
  line(`    ${isMet ? green('met') : red('no ')}  ${criterion.level}  ${criterion.says}  ${dim(`${title(criterion)}: ${said}${proof}`)}`)
}

const title = ({ measure }: Criterion): string => measure.replaceAll('_', ' ')
const wanted = (criterion: Criterion): string => (criterion.at_least === undefined ? `at most ${shownNumber(criterion.measure, criterion.at_most as number)}` : `at least ${shownNumber(criterion.measure, criterion.at_least)}`)
const shown = (criterion: Criterion, { value }: Measured): string => shownNumber(criterion.measure, value)

/** What changed since an older report. */
export function printChanges({ levels, measures }: { readonly levels: readonly Change[]; readonly measures: readonly Change[] }): void {
  line()
  line(bold('since then'))
  if (levels.length + measures.length === 0) line('  nothing changed')
  for (const { what, before, after } of levels) line(`  ${what.replaceAll('_', ' ').padEnd(28)}${String(before)} → ${(after as number) < (before as number) ? red(String(after)) : green(String(after))}`)
  for (const { what, before, after } of measures) line(dim(`  ${what.replaceAll('_', ' ').padEnd(28)}${before === undefined ? 'not shown' : shownNumber(what, before)} → ${after === undefined ? 'not shown' : shownNumber(what, after)}`))
}
