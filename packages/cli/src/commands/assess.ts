import * as fs from 'node:fs'
import { compare, coverage, type Grade, grade, type Measure, type Measured, type Model, parseFrameworks, parseReport, type Report, reportOf } from '@sealwrit/assessor'
import frameworks from '@sealwrit/assessor/frameworks.json' with { type: 'json' }
import { nodeClock } from '@sealwrit/gate'
import { Denied, MEASURE_UNIT, rootDigest } from '@sealwrit/protocol'
import { htmlReport } from '../assess/html.ts'
import { maturityModel } from '../assess/model.ts'
import { printChanges, printGrade } from '../assess/print.ts'
import { probe } from '../assess/probes.ts'
import { readLog } from '../assess/read-log.ts'
import { inUnits } from '../assess/recompute.ts'
import { CliError, EXIT } from '../errors.ts'
import { readHead } from '../evidence/mirror.ts'
import { PlaneSource } from '../evidence/source.ts'
import { askPlane } from '../local/client.ts'
import { findFolder, readVerifierKey } from '../local/folder.ts'
import { type GlobalOptions, json, line } from '../output.ts'
import { Progress } from '../progress.ts'
import { readJson } from '../read-json.ts'

export interface AssessOptions extends GlobalOptions {
  readonly points?: boolean
  readonly html?: string
  readonly compare?: string
  readonly history?: readonly string[]
  readonly record?: boolean
}

/** Grades this deployment by what its log shows, and by what can be found out now. What is not shown counts for nothing. */
export async function assess(options: AssessOptions): Promise<void> {
  const model = maturityModel()
  const older = options.compare === undefined ? undefined : savedReport(options.compare)
  const history = (options.history ?? []).map(savedReport).sort((a, b) => a.at - b.at)
  const { report, graded } = await assessed(options, model)
  const recorded = options.record === true ? await record(options, report) : undefined
  if (options.html !== undefined) write(options.html, htmlReport(report, graded, model, coverage(parseFrameworks(frameworks as never, model), graded), history))
  if (options.json === true) return json({ ...report, ...(older === undefined ? {} : { since: compare(older, report) }), ...(recorded === undefined ? {} : { recorded }) })
  printGrade(graded, model, options.points === true)
  if (older !== undefined) printChanges(compare(older, report))
  if (recorded !== undefined) line(`\nrecorded as entry ${recorded}: whoever holds the log can compute it again, with \`sealwrit verify\``)
  if (options.html !== undefined) line(`\nthe whole report is in ${options.html}`)
}

async function assessed(options: AssessOptions, model: Model): Promise<{ readonly report: Report; readonly graded: Grade }> {
  const folder = findFolder(options.dir)
  const key = readVerifierKey(folder.verifierKey)
  const nowMs = Math.floor(nodeClock.wallMs())
  const isQuiet = options.json === true
  const { note, head } = await readHead(new PlaneSource(folder), key)
  const log = await readLog(new PlaneSource(folder), head, nowMs, new Progress('reading the log', isQuiet))
  const measured = new Map<Measure, Measured>(log.measures.measured())
  measured.set('log_verified', { value: log.invalid.length === 0 ? 1 : 0, proof: [] })
  if (log.receiptsVerified !== undefined) measured.set('receipts_verified_share', log.receiptsVerified)
  for (const [name, value] of await probe(folder, key, note, log.newest, nowMs, new Progress('deciding again', isQuiet))) measured.set(name, value)
  for (const [name, { value, proof }] of measured) measured.set(name, { value: inUnits(value) / MEASURE_UNIT, proof }) // as an entry holds it, so that it comes out again
  const graded = grade(model, measured, log.invalid)
  return { graded, report: reportOf({ origin: head.origin, tenant: folder.tenant, size: head.size, root: rootDigest(head), at: nowMs }, graded, measured) }
}

/** @returns the leaf index @throws {CliError} */
async function record(options: AssessOptions, { model, size, root, at, level, dimensions, measures }: Report): Promise<number> {
  const numbers = Object.fromEntries(Object.entries(measures).map(([name, { value }]) => [name, inUnits(value)]))
  return (await askPlane(findFolder(options.dir), 'assessments.record', { model, size, root, at, level, dimensions, measures: numbers })).seq
}

/** @throws {CliError} */
function savedReport(file: string): Report {
  try {
    return parseReport(readJson(file))
  } catch (error) {
    if (error instanceof Denied) throw new CliError(`${file} is no report: ${error.message}`, { exit: EXIT.usage, hint: '`sealwrit assess --json` writes one' })
    throw error
  }
}

function write(file: string, text: string): void {
  try {
    fs.writeFileSync(file, text, { mode: 0o600 })
  } catch (error) {
    throw new CliError(`${file} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}
