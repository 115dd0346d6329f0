import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { consistencyProof, type CosignerKey, cosignerKey, noteKey, type NoteKey, toBase64 } from '@sealwrit/protocol'
import { beginWitness, nodeCryptography, readName, serveWitness, Witness, type WitnessFiles, witnessFiles, type WitnessPorts } from '@sealwrit/witness'
import { keyPair, LOG_KEY, TestLog } from '../../../protocol/test/support/fixture.ts'

export const { sha256 } = nodeCryptography
export const NOW = 1_767_225_600
export const NAME = 'witness.test/w1'
const PAIR = keyPair('witness')
export const WITNESS_KEY: CosignerKey = cosignerKey(NAME, PAIR.publicKey, sha256)

/** A log of plain texts. */
export function logOf(count: number, change: (i: number) => string = (i) => `entry ${i}`, key?: NoteKey, sign?: (message: Uint8Array) => Uint8Array): TestLog {
  const log = key === undefined ? new TestLog() : new TestLog(key, sign)
  for (let i = 0; i < count; i++) log.addText(change(i))
  return log
}

/** The body of a submission. */
export function submission(log: TestLog, old: number, size: number, proof: readonly Uint8Array[] = old > 0 && old < size ? consistencyProof(old, size, log.subtree, sha256) : []): string {
  return `old ${old}\n${proof.map((hash) => `${toBase64(hash)}\n`).join('')}\n${log.note(size)}`
}

/** A witness on real files, with time in our hands. */
export class Rig {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-witness-'))
  nowMs = NOW * 1_000
  witness: Witness
  /** Runs before a write; a throw is a disk that failed. */
  beforeWrite: (name: string) => void = () => undefined
  readonly #keys: readonly NoteKey[]

  constructor(keys: readonly NoteKey[] = [LOG_KEY]) {
    this.#keys = keys
    this.witness = this.open()
  }

  open(keys: readonly NoteKey[] = this.#keys): Witness {
    this.witness = new Witness(keys, this.ports())
    return this.witness
  }

  ports(): WitnessPorts {
    const real = witnessFiles(this.folder)
    if (readName(real) === undefined) beginWitness(real, NAME)
    const files: WitnessFiles = {
      read: real.read,
      write: (name, text) => {
        this.beforeWrite(name)
        real.write(name, text)
      },
    }
    return { wallMs: () => this.nowMs, crypto: nodeCryptography, files, witnessKey: { key: WITNESS_KEY, sign: PAIR.sign } }
  }

  submit(body: string): { status: number; type: string; body: string } {
    return this.witness.addCheckpoint(Buffer.from(body))
  }
  serve(): ReturnType<typeof serveWitness> {
    return serveWitness(this.witness, { host: '127.0.0.1', port: 0 })
  }
  file(...names: string[]): string {
    return path.join(this.folder, ...names)
  }
  remove(): void {
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}

export { keyPair, LOG_KEY, noteKey, TestLog }
