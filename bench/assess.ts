import * as os from 'node:os'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { cutEntries, Frontier, fromUtf8, leafHash, parseCheckpointText, parseNote, tilesOf } from '@sealwrit/protocol'
import { PlaneSource } from '../packages/cli/src/evidence/source.ts'
import { findFolder } from '../packages/cli/src/local/folder.ts'
import { workFolder } from './support/disk.ts'
import { type Figure, median, time } from './support/figure.ts'
import { begun } from './support/history.ts'
import { mix } from './support/mixed.ts'
import { BenchGate, startPlane, stop } from './support/plane.ts'
import { mebibytes, memory, processorSeconds, run } from './support/process.ts'

const ENTRIES = 1_000_000
/** Whole executions at the end of it, by a gate that runs: their decisions are made again. */
const EXECUTED = 100
const ROUNDS = 3
/** What an assessment may take. */
const [LIMIT_SECONDS, LIMIT_MIB] = [60, 512]
const BUILT = path.resolve(import.meta.dirname, '../packages/cli/dist/main.js')

interface Assessed {
  readonly size: number
  readonly level: number
  readonly invalid: readonly string[]
  readonly measures: Readonly<Record<string, { readonly value: number }>>
}

/** The least that reads a log: every entry from the plane, hashed and parsed by the engine, one tile after the other. @returns bytes */
async function bare(dir: string): Promise<number> {
  const source = new PlaneSource(findFolder(dir))
  const tree = new Frontier(nodeCryptography.sha256)
  const { size } = parseCheckpointText(parseNote(await source.checkpoint()).text)
  let bytes = 0
  for (const tile of tilesOf('entries', size)) {
    for (const leaf of cutEntries(await source.tile(tile), tile.width)) {
      bytes += leaf.length
      tree.append(leafHash(leaf, nodeCryptography.sha256))
      JSON.parse(fromUtf8(leaf))
    }
  }
  source.close()
  return bytes
}

/** A full assessment of a long log: the built command as a process, against a plane that runs. */
export async function assess(): Promise<Figure[]> {
  const { folder, dir } = await begun(path.join(workFolder(), 'assess'))
  await mix(dir, ENTRIES - 2 * EXECUTED)
  const { child } = await startPlane(folder, 0)
  const gate = new BenchGate(dir)
  await gate.open()
  for (let i = 0; i < EXECUTED; i++) await gate.execute('before_reply')
  gate.gate.close()
  const before = memory(child.pid as number, 'VmRSS')
  const [bareMs, seconds, processor, served, peaks, loads]: [number[], number[], number[], number[], number[], number[]] = [[], [], [], [], [], []]
  let found: Assessed | undefined
  let bytes = 0
  for (let round = 0; round < ROUNDS; round++) {
    bareMs.push(await time(async () => (bytes = await bare(dir))))
    const servedBefore = processorSeconds(child.pid as number)
    const one = await run(BUILT, ['assess', '--json', '--dir', dir], [])
    seconds.push(one.seconds)
    processor.push(one.processor)
    served.push(processorSeconds(child.pid as number) - servedBefore)
    peaks.push(one.peak)
    loads.push(os.loadavg()[0] as number)
    found = JSON.parse(one.stdout) as Assessed
    if (found.invalid.length > 0 || found.measures['receipts_verified_share']?.value !== 1 || found.measures['replayed']?.value !== EXECUTED) throw new Error('the log was not assessed')
  }
  const after = memory(child.pid as number, 'VmHWM')
  await stop(child)
  const each = (values: readonly number[], write: (value: number) => string): string => values.map(write).join(', ')
  const bareSeconds = median(bareMs) / 1_000
  const common = { must: 1, better: 'lower', durability: 'nothing is written; read from a running plane over its socket' } as const
  return [
    {
      id: 'assess', what: `\`sealwrit assess\` of ${(found?.size ?? 0).toLocaleString('en')} entries, as it is built, median of ${ROUNDS}`, baseline: `${LIMIT_SECONDS} s`, stretch: 0.5, ratio: median(seconds) / LIMIT_SECONDS, ...common,
      rows: [
        ['each round', each(seconds, (value) => `${value.toFixed(1)} s`)], ['reading, hashing and `JSON.parse` of the same entries, one thread, one tile after the other', each(bareMs, (value) => `${(value / 1_000).toFixed(1)} s`)],
        ['processor time of the assessment, and of the plane while it reads', `${each(processor, (value) => `${value.toFixed(0)} s`)} · ${each(served, (value) => `${value.toFixed(0)} s`)}`],
        ['an assessment against that', `${(median(seconds) / bareSeconds).toFixed(2)}×`], ['entries', mebibytes(bytes / 2 ** 20)], ['load average of the machine after each round', each(loads, (value) => value.toFixed(1))],
      ],
      note: 'it is computation: what is left is parsing each entry strictly, hashing it and verifying signatures, so it would take more cores',
    },
    {
      id: 'assess RSS', what: 'resident memory of that process at its highest', baseline: `${LIMIT_MIB} MiB`, stretch: 0.7, ratio: Math.max(...peaks) / LIMIT_MIB, ...common,
      rows: [['each round', each(peaks, mebibytes)], ['the plane that it reads from, before and at its highest', `${mebibytes(before)} · ${mebibytes(after)}`]],
    },
  ]
}
