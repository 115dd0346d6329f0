import * as fs from 'node:fs'
import * as path from 'node:path'
import { rows } from './compare.ts'
import { type Leg, requiredBy, type Results } from './suite.ts'
import { isAboutCredentials, type Revision, REVISIONS } from './ways.ts'

const PAGE = path.resolve(import.meta.dirname, '../../../CONFORMANCE.md')
const [BEGIN, END] = ['<!-- mcp-conformance:begin -->', '<!-- mcp-conformance:end -->']

/** What one leg came to in each revision, in each way that it was run. */
export type Runs = ReadonlyMap<Revision, ReadonlyMap<string, Results>>

/** Checks passed of those that passed or failed, scenario by scenario; a dash where the revision has no such scenario. */
export function table(leg: Leg, runs: Runs, titles: Readonly<Record<string, string>>): string {
  const ways = Object.keys(titles)
  const columns = REVISIONS.flatMap((revision) => ways.map((way) => ({ revision, way, cells: new Map(rows(runs.get(revision)?.get(way) ?? new Map()).map((row) => [row.scenario, row])) })))
  const unscored = new Map(REVISIONS.flatMap((revision) => requiredBy(revision).unscored).filter((one) => one.leg === leg).map((one) => [one.scenario, one.reason]))
  const names = [...new Set(columns.flatMap(({ cells }) => [...cells.keys()]))].filter((name) => leg === 'server' || !isAboutCredentials(name)).sort()
  const cell = (name: string, cells: (typeof columns)[number]['cells']): string => {
    const row = cells.get(name)
    return row === undefined ? '–' : `${row.passed}/${row.counted}`
  }
  return [
    `| ${leg} scenario | ${columns.map(({ revision, way }) => `${revision} ${titles[way] as string}`).join(' | ')} |`,
    `|---|${columns.map(() => '---|').join('')}`,
    ...names.map((name) => `| \`${name}\`${unscored.has(name) ? ` (${unscored.get(name) as string})` : ''} | ${columns.map(({ cells }) => cell(name, cells)).join(' | ')} |`),
    `| **all** | ${columns.map(({ cells }) => `**${sum(names, cells, 'passed')}/${sum(names, cells, 'counted')}**`).join(' | ')} |`,
  ].join('\n')
}

function sum(names: readonly string[], cells: ReadonlyMap<string, { passed: number; counted: number }>, of: 'passed' | 'counted'): number {
  return names.reduce((all, name) => all + (cells.get(name)?.[of] ?? 0), 0)
}

/** Puts what was measured into CONFORMANCE.md. */
export function writePage(content: string): void {
  const text = fs.readFileSync(PAGE, 'utf8')
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (from < 0 || to < 0) throw new Error('CONFORMANCE.md has lost its place for the official suite')
  const next = `${text.slice(0, from)}${BEGIN}\n${content}\n${text.slice(to)}`
  if (next !== text) fs.writeFileSync(PAGE, next)
}
