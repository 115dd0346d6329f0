import * as nodeCrypto from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { type Crypto, cryptoFrom, toBase64Url } from '@sealwrit/protocol'
import type { WitnessFiles } from '../ports.ts'

export const nodeCryptography: Crypto = cryptoFrom(nodeCrypto, toBase64Url)
export const nodeWallMs = (): number => Date.now()

/** Largest file that is read back, in bytes. */
const MAX_FILE_BYTES = 1_048_576

/** The files of a witness, 0600 in folders 0700. */
export function witnessFiles(folder: string): WitnessFiles {
  return {
    read: (name) => {
      const file = path.join(folder, name)
      try {
        if (fs.statSync(file).size > MAX_FILE_BYTES) throw new Error(`${file} is larger than ${MAX_FILE_BYTES} bytes`)
        return new TextDecoder('utf-8', { fatal: true }).decode(fs.readFileSync(file))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
    },
    write: (name, text) => {
      const file = path.join(folder, name)
      const into = path.dirname(file)
      fs.mkdirSync(into, { recursive: true, mode: 0o700 })
      const temporary = `${file}.new`
      const descriptor = fs.openSync(temporary, 'w', 0o600)
      try {
        fs.writeFileSync(descriptor, text)
        fs.fsyncSync(descriptor)
      } finally {
        fs.closeSync(descriptor)
      }
      fs.renameSync(temporary, file)
      // The new name is durable only with the folder that holds it, and that folder with its own.
      for (const one of new Set([into, folder])) syncFolder(one)
    },
  }
}

function syncFolder(folder: string): void {
  const descriptor = fs.openSync(folder, 'r')
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}
