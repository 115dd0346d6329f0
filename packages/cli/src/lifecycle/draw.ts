import type { LifeCycle, ShownStage, StageState } from '@sealwrit/protocol'
import { bold, dim, green, plain, red, yellow } from '../output.ts'

/** What the terminal is like. */
export interface Canvas {
  readonly width: number
  /** Whether it can show more than ASCII. */
  readonly isUnicode: boolean
}

/** Marks of the four states, the rail that leads through what was reached, and what cuts a text short. */
interface Marks {
  readonly of: Readonly<Record<StageState, string>>
  readonly rail: { readonly first: string; readonly through: string; readonly last: string; readonly gap: string }
  readonly more: string
}
const UNICODE: Marks = { of: { passed: '●', 'failed here': '╳', 'not shown': '◌', 'not reached': '○' }, rail: { first: '┌', through: '├', last: '└', gap: '┊' }, more: '…' }
const ASCII: Marks = { of: { passed: '*', 'failed here': 'x', 'not shown': '?', 'not reached': '.' }, rail: { first: ',', through: '|', last: '`', gap: ':' }, more: '~' }
const PAINT: Readonly<Record<StageState, (text: string) => string>> = { passed: green, 'failed here': red, 'not shown': yellow, 'not reached': dim }

/** Narrower than this the times go, and then the leaf indices: what is left is still the whole life cycle. */
const FOR_TIMES = 64
const FOR_INDICES = 34
const MIN_WIDTH = 20
const STAGE_WIDTH = 9

/** Whether the locale says that the terminal takes UTF-8, as POSIX looks for it. */
export function isUtf8(env: Readonly<Record<string, string | undefined>>): boolean {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find((value) => value !== undefined && value !== '')
  return /utf-?8/i.test(locale ?? '')
}

/** The ten stages of one execution, one a line, on a rail that ends where it ended; dotted where something may still come. */
export function drawLifeCycle(cycle: LifeCycle, { width: given, isUnicode }: Canvas): readonly string[] {
  const marks = isUnicode ? UNICODE : ASCII
  const width = Math.max(MIN_WIDTH, given)
  const columns = { time: width >= FOR_TIMES, seq: width >= FOR_INDICES }
  const seqWidth = Math.max(0, ...cycle.stages.map(({ seq }) => (seq === undefined ? 0 : String(seq).length + 1)))
  const lines = [title(cycle, width, marks.more)]
  const rails = railOf(cycle, marks)
  for (const [i, stage] of cycle.stages.entries()) lines.push(`  ${rails[i]}${row(stage, columns, seqWidth, width - 3, marks)}`)
  for (const { seq, reason } of cycle.contradicted) lines.push(red(fit(`  contradicted${seq === undefined ? '' : ` at #${seq}`}: ${plain(reason)}`, width, marks.more)))
  return lines
}

function title({ id, standing, stages, isEnded }: LifeCycle, width: number, more: string): string {
  const times = stages.flatMap(({ stage, time }) => (time !== undefined && (stage === 'evaluate' || stage === 'close') ? [time] : []))
  // Both are the plane's own times; a gate has another clock.
  const took = isEnded && times.length === 2 ? `, ${duration((times[1] as number) - (times[0] as number))} from decision to close` : ''
  const name = id ?? 'no permit'
  const text = fit(`${plain(name)}  ${standing}${took}`, width, more)
  return text.startsWith(name) ? `${bold(name)}${text.slice(name.length)}` : text
}

function railOf({ stages, isEnded }: LifeCycle, { rail: { first, through, last, gap } }: Marks): readonly string[] {
  const end = stages.findLastIndex(({ state }) => state !== 'not reached')
  return stages.map(({ state }, i) => dim(i > end ? (isEnded ? ' ' : gap) : i === end && isEnded ? last : i === 0 ? first : state === 'not reached' ? gap : through))
}

function row({ stage, state, seq, time, detail, checks }: ShownStage, columns: { readonly time: boolean; readonly seq: boolean }, seqWidth: number, width: number, { of, more }: Marks): string {
  const when = columns.time ? (time === undefined ? '' : new Date(time).toISOString().slice(11, 23)).padEnd(12) : undefined
  const where = columns.seq ? (seq === undefined ? '' : `#${seq}`).padStart(seqWidth) : undefined
  const failed = state === 'failed here' && checks.length > 0 && checks.length < 8 ? ` (${checks.join(', ')})` : ''
  const said = state === 'not reached' && detail === undefined ? '' : `${detail === undefined ? (state === 'not shown' ? 'not shown' : '') : plain(detail)}${failed}`
  const before = 2 + STAGE_WIDTH + [when, where].reduce((sum, column) => sum + (column === undefined ? 0 : column.length + 2), 0) + 2
  const paint = PAINT[state]
  const shown = [when, where].flatMap((column) => (column === undefined ? [] : [dim(column)]))
  const name = stage.padEnd(STAGE_WIDTH)
  return [`${paint(of[state])} ${state === 'not reached' ? dim(name) : state === 'failed here' ? red(name) : name}`, ...shown, state === 'failed here' ? red(fit(said, width - before, more)) : fit(said, width - before, more)].join('  ').trimEnd()
}

/** Cut to `width` code points. */
function fit(text: string, width: number, more: string): string {
  const points = [...text]
  return points.length <= width ? text : `${points.slice(0, Math.max(0, width - 1)).join('')}${more}`
}

function duration(ms: number): string {
  if (ms < 1_000) return `${ms} ms`
  return ms < 60_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`
}
