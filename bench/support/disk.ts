import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { median } from './figure.ts'

/** A folder on the real disk, removed at the end. */
export function workFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-bench-'))
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The floor under everything durable: 4 KiB written and flushed with fdatasync. */
export class BareDisk {
  readonly #file: number
  readonly #block = Buffer.alloc(4_096, 1)
  #at = 0
  constructor(folder: string) {
    this.#file = fs.openSync(path.join(folder, 'bare'), 'w')
  }
  write(): void {
    fs.writeSync(this.#file, this.#block, 0, 4_096, this.#at)
    this.#at += 4_096
    fs.fdatasyncSync(this.#file)
  }
  /** p50 of `count` writes, in milliseconds. */
  p50(count: number): number {
    return median(Array.from({ length: count }, () => {
      const from = performance.now()
      this.write()
      return performance.now() - from
    }))
  }
}
