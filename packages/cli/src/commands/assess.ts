import maturity from '@sealwrit/assessor/maturity.json' with { type: 'json' }
import { grade, type Measure, type Measured, parseModel } from '@sealwrit/assessor'
import { nodeClock } from '@sealwrit/gate'
import { printGrade } from '../assess/print.ts'
import { probe } from '../assess/probes.ts'
import { readLog } from '../assess/read-log.ts'
import { readHead } from '../evidence/mirror.ts'
import { PlaneSource } from '../evidence/source.ts'
import { findFolder, readVerifierKey } from '../local/folder.ts'
import { type GlobalOptions, json } from '../output.ts'
import { Progress } from '../progress.ts'

export interface AssessOptions extends GlobalOptions {
  readonly points?: boolean
}

/** Grades this deployment by what its log shows, and by what can be found out now. What is not shown counts for nothing. */
export async function assess(options: AssessOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const key = readVerifierKey(folder.verifierKey)
  const model = parseModel(maturity as never)
  const nowMs = nodeClock.wallMs()
  const source = new PlaneSource(folder)
  const { note, head } = await readHead(source, key)
  const log = await readLog(source, head, nowMs, new Progress('reading the log', options.json === true))
  const measured = new Map<Measure, Measured>(log.measures.measured())
  measured.set('log_verified', { value: log.invalid.length === 0 ? 1 : 0, proof: [] })
  if (log.receiptsVerified !== undefined) measured.set('receipts_verified_share', log.receiptsVerified)
  for (const [name, value] of await probe(folder, key, note, log.newest, nowMs, new Progress('deciding again', options.json === true))) measured.set(name, value)
  const graded = grade(model, measured, log.invalid)
  if (options.json === true) json({ model: graded.model, level: graded.level, name: model.levels[graded.level], size: head.size, origin: head.origin, invalid: graded.invalid, dimensions: graded.dimensions.map(({ dimension, level, points }) => ({ dimension, level, points: points.map(({ criterion: { id, level: of, says, step, measure, at_least, at_most }, isMet, measured: value }) => ({ id, level: of, says, measure, at_least, at_most, met: isMet, ...(value === undefined ? {} : { value: value.value, proof: value.proof }), ...(isMet ? {} : { step }) })) })) })
  else printGrade(graded, model, options.points === true)
}
