import * as fs from 'node:fs'
import { BundleReader, BundleVerifier, Denied, LineReader, MAX_BUNDLE_LINE, type Report, type Trust } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { type Ahead, Signatures } from './signatures.ts'

const CHUNK_BYTES = 1_048_576

/**
 * Verifies a bundle as it is read; what is held at once is one line of it, and the pieces whose signatures are checked ahead.
 * @param jobs threads that check signatures, this one among them (default: one a core)
 * @throws {CliError} exit 13 for what is no bundle
 */
export async function checkBundle(file: string, trust: Trust, progress: Progress, jobs?: number): Promise<Report> {
  const signatures = new Signatures(trust.crypto, jobs)
  const verifier = new BundleVerifier({ ...trust, crypto: signatures.crypto })
  const reader = new BundleReader(verifier)
  const lines = new LineReader(MAX_BUNDLE_LINE, (line) => reader.line(line))
  try {
    const total = file === '-' ? undefined : fs.statSync(file).size
    let done = 0
    const stream = file === '-' ? process.stdin : fs.createReadStream(file, { highWaterMark: CHUNK_BYTES })
    const held: { readonly piece: Buffer; readonly ahead: Promise<Ahead> | undefined }[] = []
    const take = async (upTo: number): Promise<void> => {
      while (held.length > upTo || (held.length > 0 && held[0]?.ahead === undefined)) {
        const { piece, ahead } = held.shift() as (typeof held)[number]
        signatures.use(await ahead)
        lines.push(piece)
        done += piece.length
        progress.at(done, total, 'bytes')
      }
    }
    for await (const chunk of stream) {
      held.push({ piece: chunk as Buffer, ahead: signatures.ahead(chunk as Buffer) })
      await take(signatures.window)
    }
    await take(0)
    if (lines.heldBytes > 0) throw new Denied('artifact_malformed', 'bundle: the last line has no end')
    reader.end()
    return verifier.end()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof Denied) throw new CliError(`${file} is not an evidence bundle: ${error.code}: ${error.message}`, { exit: EXIT.unverified, code: error.code })
    if (code !== undefined) throw new CliError(`${file} cannot be read (${code})`)
    throw error
  } finally {
    progress.end()
    await signatures.close()
  }
}
