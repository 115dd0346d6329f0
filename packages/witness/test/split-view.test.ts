import { consistencyProof, forkProof, isPowerOfTwo, leafHash, nodeHash, parseForkProof, parseNote, parseStrictText, treeRoot, utf8, verifyCosignature, verifyFork } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/witness'
import { afterAll, describe, expect, it } from 'vitest'
import { score, sized } from '../../../test/support/scoreboard.ts'
import { LOG_KEY, logOf, NOW, Rig, sha256, submission, TestLog, WITNESS_KEY } from './support/rig.ts'

const RUNS = sized(1_000, 10_000)
const MAX_SIZE = 48
/** Reproducible numbers below `n`. */
function seeded(seed: number): (n: number) => number {
  let state = seed
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}
/** The root of every beginning, computed once a log. */
class Cached extends TestLog {
  readonly #nodes = new Map<string, Uint8Array>()
  override readonly subtree = (level: number, index: number): Uint8Array => {
    const at = `${level}/${index}`
    const hash = this.#nodes.get(at) ?? (level === 0 ? leafHash(utf8(this.leaves[index] as string), sha256) : nodeHash(this.subtree(level - 1, 2 * index), this.subtree(level - 1, 2 * index + 1), sha256))
    this.#nodes.set(at, hash)
    return hash
  }
}
const cached = (log: TestLog): TestLog => {
  const out = new Cached()
  for (const leaf of log.leaves) out.addText(leaf)
  return out
}

const rig = new Rig()
afterAll(() => rig.remove())
/** A witness with an empty memory, without the disk: its files are under test elsewhere. */
const fresh = (): { files: Map<string, string> } => {
  const files = new Map<string, string>([['witness.json', `${JSON.stringify({ v: 1, name: WITNESS_KEY.name, logs: [] })}\n`]])
  const ports = rig.ports()
  const open = rig.ports.bind(rig)
  rig.ports = () => ({ ...ports, files: { read: (name) => files.get(name), write: (name, text) => void files.set(name, text) } })
  rig.open()
  rig.ports = open
  return { files }
}

describe('S20: a split view', () => {
  it(`ATK-068: of ${RUNS} random forks none is cosigned twice, and each is provable offline`, () => {
    const below = seeded(20_261_125)
    let byWitness = 0
    for (let run = 0; run < RUNS; run++) {
      const { files } = fresh()
      const size = 1 + below(MAX_SIZE)
      const at = below(size) // where the second history leaves the first
      const [first, second] = [cached(logOf(MAX_SIZE, (i) => `${run}/${i}`)), cached(logOf(MAX_SIZE, (i) => `${run}/${i}${i >= at ? '/other' : ''}`))]
      expect(rig.submit(submission(first, 0, size)).status).toBe(200)
      const later = size + below(MAX_SIZE + 1 - size)
      const answer = rig.submit(submission(second, size, later))
      expect([409, 422], `fork at ${at} of ${size}, shown at ${later}`).toContain(answer.status)
      expect(answer.body).not.toContain('\u2014 witness.test')
      const kept = [...files.keys()].some((name) => name.startsWith('forks/'))
      if (kept) {
        byWitness++
        expect(verifyFork(parseForkProof(parseStrictText(answer.body)), LOG_KEY, nodeCryptography)).toContain('signed')
      }
      // A proof from a whole tree leaves the root of the beginning out: the witness refuses, and only who holds that has the proof.
      expect(kept).toBe(size === later || !isPowerOfTwo(size))
      const path = size === later ? [] : [...(isPowerOfTwo(size) ? [treeRoot(size, second.subtree, sha256)] : []), ...consistencyProof(size, later, second.subtree, sha256)]
      expect(verifyFork(forkProof(LOG_KEY.name, first.note(size), second.note(later), path), LOG_KEY, nodeCryptography)).toContain('signed')
    }
    score({ id: 'S20', figure: 'forks shown to a witness: cosigned, or not provable offline', n: RUNS, violations: 0, seed: 20_261_125, faultsLanded: RUNS, notes: `${byWitness} proofs made by the witness itself` })
    expect(byWitness).toBeGreaterThan(RUNS / 2)
  }, 120_000)

  it(`raises no alarm in ${RUNS} honest growths`, () => {
    const below = seeded(7)
    let growths = 0
    while (growths < RUNS) {
      const { files } = fresh()
      const log = cached(logOf(MAX_SIZE, (i) => `${growths}/${i}`))
      for (let size = 0; size < MAX_SIZE && growths < RUNS; growths++) {
        const next = Math.max(1, size + below(5))
        if (next > MAX_SIZE) break
        const { status, body } = rig.submit(submission(log, size, next))
        expect([status, verifyCosignature(parseNote(log.note(next) + body), WITNESS_KEY, NOW, nodeCryptography)]).toEqual([200, NOW])
        size = next
      }
      expect([...files.keys()].filter((name) => name.startsWith('forks/'))).toEqual([])
    }
  }, 120_000)

  it('two who were shown different logs have the proof as soon as they exchange one checkpoint of one size', () => {
    const [one, two] = [logOf(20), logOf(20, (i) => `entry ${i === 7 ? 'seven' : i}`)]
    expect(verifyFork(forkProof(LOG_KEY.name, one.note(), two.note(), []), LOG_KEY, nodeCryptography)).toContain('two trees of 20 leaves')
  })
})
