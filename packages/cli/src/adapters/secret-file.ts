import * as fs from 'node:fs'

/** A new file that only its owner may read, durable when this returns; it replaces none. */
export function writeSecret(file: string, bytes: Uint8Array | string): void {
  fs.writeFileSync(file, bytes, { flag: 'wx', mode: 0o600, flush: true })
}
