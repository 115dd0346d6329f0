import { generateKeyPairSync, sign } from 'node:crypto'
import { nodeCryptography } from '@sealwrit/gate'
import {
  BundleVerifier, type Checkpoint, checkpointText, consistencyProof, type Entry, entryText, forkProof, formatSignature, fromBase64Url, isPowerOfTwo, leafHash, nodeHash, noteKey, type Report, treeRoot, utf8, verifyCheckpoint, verifyExtends, verifyFork,
} from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { outcome } from '../../protocol/test/support/outcome.ts'
import { score, SEED, seeded, sized } from '../../../test/support/scoreboard.ts'
import { Rig } from './support/rig.ts'

const FORKS = sized(1_000, 10_000)
const GROWTHS = sized(10_000, 100_000)
const GATE_FORKS = sized(200, 10_000)
const GATE_GROWTHS = sized(500, 10_000)
const MAX_SIZE = 60
const { sha256 } = nodeCryptography
const keys = generateKeyPairSync('ed25519')
const KEY = noteKey('fork.test/default', fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string), sha256)

/** A log of real entries of which the first `same` are those of another one. */
class Leaves {
  readonly texts: readonly string[]
  readonly #nodes = new Map<string, Uint8Array>()
  constructor(name: string, same?: { readonly log: Leaves; readonly count: number }) {
    this.texts = Array.from({ length: MAX_SIZE }, (_, seq) => (seq < (same?.count ?? 0) ? (same?.log.texts[seq] as string) : entryText({ v: 1, seq, time: 1_000 + seq, tenant: 'default', kind: 'tool', target: 'mcp://fs', name: `${name} ${seq}`, digest: `sha256:${'a'.repeat(64)}` } as Entry)))
  }
  readonly subtree = (level: number, index: number): Uint8Array => {
    const at = `${level}/${index}`
    const hash = this.#nodes.get(at) ?? (level === 0 ? leafHash(utf8(this.texts[index] as string), sha256) : nodeHash(this.subtree(level - 1, 2 * index), this.subtree(level - 1, 2 * index + 1), sha256))
    this.#nodes.set(at, hash)
    return hash
  }
  note(size: number): string {
    const text = checkpointText({ origin: KEY.name, size, root: treeRoot(size, this.subtree, sha256) })
    return `${text}\n${formatSignature(KEY, sign(null, utf8(text), keys.privateKey))}`
  }
  proof(from: number, to: number): readonly Uint8Array[] {
    return from === to ? [] : consistencyProof(from, to, this.subtree, sha256)
  }
}
const opened = (note: string): Checkpoint => verifyCheckpoint(note, KEY, nodeCryptography)
/** What a verifier that holds one checkpoint says of the first `size` entries. */
function verified(log: Leaves, size: number, held: string): Report {
  const verifier = new BundleVerifier({ crypto: nodeCryptography, logKey: KEY, gateKeys: [], checkpoints: [held] })
  verifier.head({ v: 1, origin: KEY.name, tenant: 'default', checkpoint: log.note(size) })
  for (const text of log.texts.slice(0, size)) verifier.leaf(text)
  return verifier.end()
}
/** The hashes that prove a fork to whoever has the larger tree. */
const between = (log: Leaves, from: number, to: number): readonly Uint8Array[] => (from === to ? [] : [...(isPowerOfTwo(from) ? [treeRoot(from, log.subtree, sha256)] : []), ...log.proof(from, to)])

describe('S20: a split view, by itself', () => {
  it(`ATK-068: of ${FORKS} forks each is refused by a gate's check, contradicted by a held checkpoint, and proved by two honest-looking checkpoints`, () => {
    const below = seeded(SEED)
    const from = performance.now()
    const missed: string[] = []
    for (let run = 0; run < FORKS; run++) {
      const size = 1 + below(MAX_SIZE)
      const at = below(size) // where the second history leaves the first
      const first = new Leaves(`${run}`)
      const second = new Leaves(`${run}, other`, { log: first, count: at })
      const later = size + below(MAX_SIZE + 1 - size)
      const [shown, other] = [first.note(size), second.note(later)]
      if (outcome(() => verifyExtends(opened(shown), opened(other), second.proof(size, later), nodeCryptography)) !== 'state_diverged') missed.push(`gate: ${at}, ${size}, ${later}`)
      if (!verified(second, later, shown).findings.some(({ verdict, claim }) => verdict === 'contradicted' && claim.includes(`another history than the given checkpoint of size ${size}`))) missed.push(`verify: ${at}, ${size}, ${later}`)
      if (outcome(() => verifyFork(forkProof(KEY.name, shown, other, between(second, size, later)), KEY, nodeCryptography)) !== 'ok') missed.push(`proof: ${at}, ${size}, ${later}`)
    }
    score({ id: 'S20', figure: 'forks that a gate’s check, a held checkpoint or a fork proof misses', n: FORKS, violations: missed.length, seed: SEED, faultsLanded: FORKS, seconds: (performance.now() - from) / 1_000 })
    expect(missed).toEqual([])
  }, 3_600_000)

  it(`raises no alarm in ${GROWTHS} honest growths`, () => {
    const below = seeded(SEED + 1)
    const from = performance.now()
    const alarms: string[] = []
    const log = new Leaves('honest')
    const notes = Array.from({ length: MAX_SIZE + 1 }, (_, size) => (size === 0 ? '' : log.note(size)))
    const heads = notes.map((note) => (note === '' ? undefined : opened(note)))
    for (let run = 0; run < GROWTHS; run++) {
      const size = 1 + below(MAX_SIZE)
      const later = size + below(MAX_SIZE + 1 - size)
      const [shown, next] = [notes[size] as string, notes[later] as string]
      if (outcome(() => verifyExtends(heads[size], heads[later] as Checkpoint, log.proof(size, later), nodeCryptography)) !== 'ok') alarms.push(`gate: ${size}, ${later}`)
      if (run % 4 === 0 && outcome(() => verifyFork(forkProof(KEY.name, shown, next, between(log, size, later)), KEY, nodeCryptography)) !== 'seal_invalid') alarms.push(`proof: ${size}, ${later}`)
      if (run % 10 === 0 && verified(log, later, shown).verdict !== 'established') alarms.push(`verify: ${size}, ${later}`)
    }
    score({ id: 'S20', figure: 'false alarms in honest growths', n: GROWTHS, violations: alarms.length, seed: SEED + 1, faultsLanded: GROWTHS, seconds: (performance.now() - from) / 1_000 })
    expect(alarms).toEqual([])
  }, 3_600_000)
})

describe('S20: a split view, before a gate', () => {
  const rigs: Rig[] = []
  afterEach(() => {
    for (const rig of rigs.splice(0)) rig.gate.close()
  })
  const append = (rig: Rig, count: number, name: string): void => {
    for (let i = 0; i < count; i++) rig.plane.append({ kind: 'tool', target: 'mcp://other', name: `${name} ${i}`, digest: `sha256:${'b'.repeat(64)}` })
  }

  it(`ATK-068: of ${GATE_FORKS} forks shown to a gate, on its connection or after a restart, none has an effect: state_diverged`, async () => {
    const below = seeded(SEED)
    const from = performance.now()
    const missed: string[] = []
    for (let run = 0; run < GATE_FORKS; run++) {
      const rig = new Rig(`fork ${run}`)
      rigs.push(rig)
      append(rig, below(20), 'before')
      for (let i = below(3); i >= 0; i--) expect(await rig.outcome(rig.run())).toBe('ran')
      const size = rig.gate.newest?.size as number
      const [at, effects] = [below(size), rig.effects.length]
      rig.plane.rollBack(at)
      append(rig, size - at + below(10), `fork ${run}`)
      if (below(2) === 0) rig.plane.disconnect()
      const code = await rig.outcome(rig.run())
      if (code !== 'state_diverged' || rig.effects.length !== effects) missed.push(`at ${at} of ${size}: ${code}`)
      if ((await rig.outcome(rig.run())) === 'ran') missed.push(`at ${at} of ${size}: ran the second time`)
      rigs.splice(0).forEach(({ gate }) => gate.close())
    }
    score({ id: 'S20', figure: 'forks shown to a gate that had an effect, or another code', n: GATE_FORKS, violations: missed.length, seed: SEED, faultsLanded: GATE_FORKS, seconds: (performance.now() - from) / 1_000 })
    expect(missed).toEqual([])
  }, 3_600_000)

  it(`a gate runs through ${GATE_GROWTHS} honest growths, over as many restarts as there are`, async () => {
    const below = seeded(SEED + 2)
    const from = performance.now()
    let rig = new Rig('honest')
    rigs.push(rig)
    const alarms: string[] = []
    for (let run = 0; run < GATE_GROWTHS; run++) {
      if (run % 500 === 499) {
        rig.gate.close()
        rig = new Rig(`honest ${run}`)
        rigs.push(rig)
      }
      append(rig, below(6), `honest ${run}`)
      if (below(4) === 0) rig.plane.disconnect()
      const code = await rig.outcome(rig.run())
      if (code !== 'ran') alarms.push(`${run}: ${code}`)
    }
    score({ id: 'S20', figure: 'false alarms of a gate in honest growths', n: GATE_GROWTHS, violations: alarms.length, seed: SEED + 2, faultsLanded: GATE_GROWTHS, seconds: (performance.now() - from) / 1_000 })
    expect(alarms).toEqual([])
  }, 3_600_000)
})
