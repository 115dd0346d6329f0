import * as fs from 'node:fs'
import { BundleReader, BundleVerifier, Denied, LineReader, MAX_BUNDLE_LINE, type Report, type Trust } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import type { Progress } from '../progress.ts'

const CHUNK_BYTES = 1_048_576

/** Verifies a bundle as it is read; what is held at once is one line of it. @throws {CliError} exit 13 for what is no bundle */
export async function checkBundle(file: string, trust: Trust, progress: Progress): Promise<Report> {
  const verifier = new BundleVerifier(trust)
  const reader = new BundleReader(verifier)
  const lines = new LineReader(MAX_BUNDLE_LINE, (line) => reader.line(line))
  try {
    const total = file === '-' ? undefined : fs.statSync(file).size
    let done = 0
    const stream = file === '-' ? process.stdin : fs.createReadStream(file, { highWaterMark: CHUNK_BYTES })
    for await (const chunk of stream) {
      lines.push(chunk as Buffer)
      done += (chunk as Buffer).length
      progress.at(done, total, 'bytes')
    }
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
  }
}
