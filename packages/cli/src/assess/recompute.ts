import { createReadStream } from 'node:fs'
import { grade, LogMeasures, type Measure, type Measured, MEASURES, type Model, type Report as Graded } from '@sealwrit/assessor'
import { nodeCryptography } from '@sealwrit/gate'
import { type AssessmentEntry, BundleReader, decodeEntries, type EntryHead, Frontier, leafHash, LineReader, MAX_BUNDLE_LINE, MEASURE_UNIT, parseCheckpointText, parseEntry, parseNote, type Report, rootDigest, tilesOf, utf8 } from '@sealwrit/protocol'
import { FolderSource, type LogSource } from '../evidence/source.ts'

/** The newest assessments of a log that are computed again. */
export const MAX_RECOMPUTED = 4
/** What an assessor finds out beside the log, or from a part of it: nobody else can compute these from entries alone. */
export const PROBES: ReadonlySet<string> = new Set(['log_verified', 'receipts_verified_share', 'witnesses', 'witness_age_days', 'anchor_age_days', 'restored', 'policy_tests', 'policy_tests_failed', 'tested_share', 'replayed', 'replay_agreed_share'])
const CLAIM = 'an assessment comes out again from the entries that it is of'

/** A number as an assessment holds it: nothing becomes nothing or all by being rounded. */
export function inUnits(value: number): number {
  const units = Math.round(value * MEASURE_UNIT)
  // One in ten millions is not none of them.
  if (value > 0 && units === 0) return 1
  return value < 1 && units === MEASURE_UNIT ? MEASURE_UNIT - 1 : units
}

/**
 * Computes the assessments of a whole log again, from its entries, and says in `report` whether they hold.
 * @param texts reads the entries from the first on, each time anew
 */
export async function recompute(report: Report, texts: () => AsyncIterable<string>, model: Model): Promise<Report> {
  const found: (AssessmentEntry & EntryHead)[] = []
  for await (const text of texts()) {
    if (!text.includes('"kind":"assessment"')) continue
    const entry = parseEntry(text)
    if (entry.kind === 'assessment') found.push(entry)
    if (found.length > MAX_RECOMPUTED) found.shift()
  }
  if (found.length === 0) return report
  const again = found.map((assessment) => ({ assessment, measures: new LogMeasures(assessment.at), tree: new Frontier(nodeCryptography.sha256) }))
  for await (const text of texts()) {
    const entry = parseEntry(text)
    for (const { assessment, measures, tree } of again) {
      if (entry.seq >= assessment.size) continue
      measures.add(entry)
      tree.append(leafHash(utf8(text), nodeCryptography.sha256))
    }
  }
  const findings = again.flatMap(({ assessment, measures, tree }) => {
    const reason = differs(assessment, measures, rootDigest({ size: assessment.size, root: tree.root() }), model)
    return reason === undefined ? [] : [{ verdict: 'contradicted' as const, claim: `${CLAIM} (${reason})`, seq: assessment.seq }]
  })
  const others = again.filter(({ assessment }) => assessment.model !== model.version && !findings.some(({ seq }) => seq === assessment.seq)).length
  const held = found.length - findings.length - others
  return {
    ...report,
    verdict: findings.length > 0 ? 'contradicted' : report.verdict,
    findings: [...report.findings, ...findings],
    established: held === 0 ? report.established : [...report.established, { claim: CLAIM, count: held }],
    notShown: [...report.notShown, ...(others === 0 ? [] : ['the levels of assessments by a model that is not at hand']), 'what an assessor found out beside the log: witnesses, anchors, restored copies, tests, decisions made again'],
  }
}

/** Why a report that was kept is not of this log, or not what its entries give; undefined where it comes out again. */
export async function disputed({ measures, size, at, level, ...kept }: Graded, source: LogSource, model: Model): Promise<string | undefined> {
  if (size === 0) return level === 0 ? undefined : 'nothing was read'
  if (kept.model !== model.version) return `it was graded by ${kept.model}, which is not at hand`
  const [log, tree] = [new LogMeasures(at), new Frontier(nodeCryptography.sha256)]
  for await (const text of sourceTexts(source)) {
    if (log.entries >= size) break
    log.add(parseEntry(text))
    tree.append(leafHash(utf8(text), nodeCryptography.sha256))
  }
  if (log.entries < size) return 'it is of more entries than there are'
  const numbers = Object.fromEntries(Object.entries(measures).map(([name, { value }]) => [name, inUnits(value)]))
  return differs({ ...kept, measures: numbers }, log, rootDigest({ size, root: tree.root() }), model) ?? (level === Math.min(...Object.values(kept.dimensions)) ? undefined : 'its level is not the least of its dimensions')
}

/** What of an assessment does not come out again. */
function differs({ measures, root, model, dimensions }: Pick<AssessmentEntry, 'measures' | 'root' | 'model' | 'dimensions'>, log: LogMeasures, found: string, ours: Model): string | undefined {
  if (log.broken !== undefined) return log.broken
  if (root !== found) return 'it is of other entries'
  const computed = log.measured()
  const isOurs = model === ours.version // one of another model may know fewer measures
  for (const [name, { value }] of computed) if ((isOurs || measures[name] !== undefined) && measures[name] !== inUnits(value)) return `${name} is ${inUnits(value) / MEASURE_UNIT}, and not ${(measures[name] ?? 0) / MEASURE_UNIT}`
  const unknown = Object.keys(measures).find((name) => !PROBES.has(name) && !computed.has(name as Measure))
  if (unknown !== undefined) return `nothing shows ${unknown}`
  if (!isOurs) return undefined // graded by another model than is at hand
  const told = new Map<Measure, Measured>(Object.entries(measures).flatMap(([name, value]) => ((MEASURES as readonly string[]).includes(name) ? [[name as Measure, { value: value / MEASURE_UNIT, proof: [] }] as const] : [])))
  const graded = grade(ours, told, told.get('log_verified')?.value === 1 ? log.contradictions : ['the log did not verify'])
  const wrong = graded.dimensions.find(({ dimension, level }) => dimensions[dimension] !== level)
  return wrong === undefined ? undefined : `${wrong.dimension} is ${wrong.level}, and not ${dimensions[wrong.dimension] ?? 'there'}`
}

/** The entries of a mirror. */
export function mirrorTexts(folder: string): AsyncGenerator<string> {
  return sourceTexts(new FolderSource(folder))
}

async function* sourceTexts(source: LogSource): AsyncGenerator<string> {
  const { size } = parseCheckpointText(parseNote(await source.checkpoint()).text)
  for (const tile of tilesOf('entries', size)) yield* decodeEntries(await source.tile(tile), tile.width)
}

/** The entries of a bundle file, where it holds a whole log; none where it does not. */
export async function* bundleTexts(file: string): AsyncGenerator<string> {
  const read: string[] = []
  const nothing = (): void => undefined
  const reader = new BundleReader({ head: nothing, checkpoint: nothing, anchor: nothing, policies: nothing, entry: ({ entry }) => void read.push(entry) })
  const lines = new LineReader(MAX_BUNDLE_LINE, (line) => reader.line(line))
  let next = 0
  for await (const chunk of createReadStream(file)) {
    lines.push(chunk as Buffer)
    for (const text of read.splice(0)) {
      if (parseEntry(text).seq !== next++) return
      yield text
    }
  }
}
