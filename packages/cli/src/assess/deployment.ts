import * as fs from 'node:fs'
import { type Grade, grade, type Measure, type Measured, type Model, type Report, reportOf } from '@sealwrit/assessor'
import { floorFile, nodeCryptography } from '@sealwrit/gate'
import { type Checkpoint, MEASURE_UNIT, type NoteKey, parseCheckpointText, parseNote, rootDigest, utf8 } from '@sealwrit/protocol'
import { CliError } from '../errors.ts'
import { readHead } from '../evidence/mirror.ts'
import { type LogSource, PlaneSource } from '../evidence/source.ts'
import { askPlane } from '../local/client.ts'
import { highWaterFile, readConfig } from '../local/config.ts'
import { type PlaneFolder, readVerifierKey } from '../local/folder.ts'
import { Progress } from '../progress.ts'
import { type Found, probe } from './probes.ts'
import { readLog } from './read-log.ts'
import { inUnits } from './recompute.ts'

/** Whose log it is, where not even its key can be read. */
const UNKNOWN = 'unknown'

export interface Assessed {
  readonly report: Report
  readonly graded: Grade
}

/** Where evidence comes from, and whose it has to be. */
export interface Evidence {
  readonly source: LogSource
  readonly tenant: string
  /** @throws {CliError} */
  readonly key: () => NoteKey
  /** What lets nothing else count. */
  readonly seen?: readonly string[]
  /** Why it is not the newest of its log, where something outside of it knows more. */
  readonly overtaken: (head: Checkpoint) => Promise<string | undefined>
  /** What the entries do not show. */
  readonly probe: (signed: { readonly note: string; readonly head: Checkpoint; readonly key: NoteKey }, newest: readonly string[]) => Promise<Found>
}

/** Grades a deployment, however it stands. @param seen what was seen of it that lets nothing else count */
export function assessed(folder: PlaneFolder, model: Model, nowMs: number, isQuiet: boolean, seen: readonly string[] = []): Promise<Assessed> {
  return assessedOf({
    source: new PlaneSource(folder),
    tenant: folder.tenant,
    key: () => {
      if (!fs.existsSync(folder.verifierKey)) throw new CliError(`no plane was ever started on ${folder.dir}`)
      return readVerifierKey(folder.verifierKey)
    },
    seen,
    overtaken: (head) => overtaken(folder, head),
    probe: (signed, newest) => probe(folder, signed, newest, nowMs, new Progress('deciding again', isQuiet)),
  }, model, nowMs, isQuiet)
}

/** Of evidence that is broken, or that cannot be reached, nothing is shown, and the grade is 0 with the reason. */
export async function assessedOf({ source, tenant, key: readKey, seen = [], overtaken: isOlder, probe: find }: Evidence, model: Model, nowMs: number, isQuiet: boolean): Promise<Assessed> {
  const measured = new Map<Measure, Measured>()
  let origin = UNKNOWN
  try {
    const key = readKey()
    origin = key.name
    const { note, head } = await readHead(source, key)
    const log = await readLog(source, head, nowMs, new Progress('reading the log', isQuiet))
    const { measures } = log
    const stranger = measures.tenant === undefined || measures.tenant === tenant ? undefined : `the entries are of tenant ${measures.tenant}, and not of ${tenant}`
    const invalid = [...seen, ...log.invalid, ...[stranger, await isOlder(head)].filter((reason) => reason !== undefined)]
    for (const [name, value] of measures.measured()) measured.set(name, value)
    if (log.receiptsVerified !== undefined) measured.set('receipts_verified_share', log.receiptsVerified)
    measured.set('log_verified', { value: invalid.length === 0 ? 1 : 0, proof: [] })
    for (const [name, value] of await find({ note, head, key }, log.newest)) measured.set(name, value)
    return graded(head, invalid)
  } catch (error) {
    return graded({ origin, size: 0, root: nodeCryptography.sha256(utf8('')) }, [...seen, `nothing can be read of it: ${error instanceof Error ? error.message : 'unknown'}`])
  }

  function graded(head: Checkpoint, invalid: readonly string[]): Assessed {
    for (const [name, { value, proof }] of measured) measured.set(name, { value: inUnits(value) / MEASURE_UNIT, proof }) // as an entry holds it, so that it comes out again
    const found = grade(model, measured, invalid)
    return { graded: found, report: reportOf({ origin: head.origin, tenant, size: head.size, root: rootDigest(head), at: nowMs }, found, measured) }
  }
}

/** An older copy of the store is whole and signed, and lacks what came after it: the mark outside of it says how far the log had come. */
async function overtaken(folder: PlaneFolder, { size }: Checkpoint): Promise<string | undefined> {
  const mark = floorFile(highWaterFile(folder, readConfig(folder))).read()
  if (mark === undefined) return undefined
  const known = parseCheckpointText(parseNote(mark).text).size
  const held = Math.max(size, (await askPlane(folder, 'status', {})).size) // with witnesses the newest checkpoint may stand behind the newest entry
  return known > held ? `the log key signed ${known} entries, and ${held} are there: an older copy is in its place` : undefined
}
