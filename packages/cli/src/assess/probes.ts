import type { Measure, Measured } from '@sealwrit/assessor'
import { DecisionReplay, parseCases, PolicyEngine, runCases } from '@sealwrit/control-plane'
import { nodeCryptography } from '@sealwrit/gate'
import { BundleReader, BundleVerifier, type Checkpoint, type NoteKey, utf8, verifyQuorum } from '@sealwrit/protocol'
import { evidenceLines } from '../evidence/collect.ts'
import { PlaneSource } from '../evidence/source.ts'
import { askPlane } from '../local/client.ts'
import type { PlaneFolder } from '../local/folder.ts'
import { configuredPolicies, readPolicies, readTests } from '../local/policies.ts'
import { configuredWitnesses } from '../local/witnesses.ts'
import type { Progress } from '../progress.ts'
import { restored } from './restored.ts'

const DAY_SECONDS = 86_400
const REPLAYED = 'the policies give this decision again, with its reasons and obligations'
/** The newest checkpoint, as it was signed. */
interface Signed {
  readonly note: string
  readonly head: Checkpoint
  readonly key: NoteKey
}
export type Found = readonly (readonly [Measure, Measured])[]

/** What the entries of a log do not show, found out now. What cannot be found out is not there. */
export async function probe(folder: PlaneFolder, { note, head, key }: Signed, newest: readonly string[], nowMs: number, progress: Progress): Promise<Found> {
  const found = await Promise.all([orNothing(() => witnessed(folder, note, nowMs)), orNothing(() => anchored(folder, nowMs)), orNothing(() => tested(folder)), orNothing(async () => [['restored', measured(await restored(new PlaneSource(folder), head))]]), orNothing(() => replayed(folder, key, newest, progress))])
  return found.flat()
}

async function orNothing(look: () => Found | Promise<Found>): Promise<Found> {
  try {
    return await look()
  } catch {
    return []
  }
}

const measured = (value: number): Measured => ({ value, proof: [] })

/** Cosignatures of the newest checkpoint, by the witnesses that the configuration names. */
function witnessed(folder: PlaneFolder, note: string, nowMs: number): Found {
  const configured = configuredWitnesses(folder)
  if (configured === undefined) return []
  const nowSeconds = Math.floor(nowMs / 1_000)
  const counted = verifyQuorum(note, configured.policy, { nowSeconds, maxAgeSeconds: undefined }, nodeCryptography)
  if (counted.length === 0) return []
  return [['witnesses', measured(counted.length)], ['witness_age_days', measured(Math.max(0, nowSeconds - Math.max(...counted.map(({ time }) => time))) / DAY_SECONDS)]]
}

async function anchored(folder: PlaneFolder, nowMs: number): Promise<Found> {
  const { sinks } = await askPlane(folder, 'anchors.list', {})
  const times = sinks.flatMap(({ success }) => (success === undefined ? [] : [success.time]))
  return times.length === 0 ? [] : [['anchor_age_days', measured(Math.max(0, nowMs - Math.max(...times)) / (DAY_SECONDS * 1_000))]]
}

/** Tests beside the policies, where those are the active ones. */
async function tested(folder: PlaneFolder): Promise<Found> {
  const source = configuredPolicies(folder)
  const set = readPolicies(source)
  if (set.digest !== (await askPlane(folder, 'status', {})).policy) return []
  const engine = new PolicyEngine(set)
  const results = readTests(source).flatMap(({ file, cases }) => runCases(parseCases(cases, file), engine))
  const passed = results.filter(({ failures }) => failures.length === 0)
  const determined = new Set(passed.flatMap(({ got }) => (Array.isArray(got['determining']) ? (got['determining'] as readonly string[]) : [])))
  return [['policy_tests', measured(results.length)], ['policy_tests_failed', measured(results.length - passed.length)], ['tested_share', measured(set.policies.length === 0 ? 0 : set.policies.filter(({ id }) => determined.has(id)).length / set.policies.length)]]
}

/** Makes the newest decisions again, from what is kept of them. One whose bodies are gone has not come out the same: else it would be enough to erase those that did not. */
async function replayed(folder: PlaneFolder, logKey: NoteKey, newest: readonly string[], progress: Progress): Promise<Found> {
  let [agreed, differed] = [0, 0]
  for (const [i, jti] of newest.entries()) {
    const verifier = new BundleVerifier({ crypto: nodeCryptography, logKey, gateKeys: [], replay: new DecisionReplay(nodeCryptography.sha256) })
    const reader = new BundleReader(verifier)
    for await (const text of evidenceLines(folder, jti)) reader.line(utf8(text))
    reader.end()
    const { established, findings } = verifier.end()
    if (findings.some(({ verdict, claim }) => verdict === 'contradicted' && claim.startsWith(REPLAYED))) differed++
    else if (established.some(({ claim }) => claim === REPLAYED)) agreed++
    progress.at(i + 1, newest.length, 'decisions')
  }
  progress.end()
  return agreed + differed === 0 ? [] : [['replayed', measured(agreed + differed)], ['replay_agreed_share', measured(agreed / newest.length)]]
}
