import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import { canonicalize, commitment, type Crypto, Denied, type Digest, digestOf, type JsonObject, type Rng, toBase64Url, TOKEN_BYTES } from '@sealwrit/protocol'
import type { MeasuredEnvironment } from '../gate.ts'
import type { ResolvedCommand } from './resolve.ts'

export interface ServerCommand {
  readonly command: ResolvedCommand
  readonly cwd: string
  /** Version of the gate that measures. */
  readonly gateVersion: string
}

interface Stamp {
  readonly dev: bigint
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

/** A file bound by its content; looking again is a `stat`, and hashing again only when that shows any change. */
class MeasuredFile {
  readonly path: string
  digest: Digest
  #stamp: Stamp

  constructor(path: string) {
    this.path = path
    this.#stamp = stampOf(path)
    this.digest = hashFile(path)
  }

  remeasure(): void {
    const now = stampOf(this.path)
    const same = now.dev === this.#stamp.dev && now.ino === this.#stamp.ino && now.size === this.#stamp.size && now.mtimeNs === this.#stamp.mtimeNs && now.ctimeNs === this.#stamp.ctimeNs
    if (same) return
    this.digest = hashFile(this.path)
    this.#stamp = now
  }
}

function stampOf(path: string): Stamp {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = fs.lstatSync(path, { bigint: true })
    return { dev, ino, size, mtimeNs, ctimeNs }
  } catch {
    throw new Denied('environment_mismatch', 'a measured file is gone')
  }
}

const CHUNK_BYTES = 1_048_576

function hashFile(path: string): Digest {
  const hash = createHash('sha256')
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  const descriptor = fs.openSync(path, 'r')
  try {
    for (let n = fs.readSync(descriptor, chunk); n > 0; n = fs.readSync(descriptor, chunk)) hash.update(chunk.subarray(0, n))
  } finally {
    fs.closeSync(descriptor)
  }
  return `sha256:${hash.digest('hex')}`
}

/**
 * Measures what a server is started from: executable, entry script, arguments, working directory, host and user. This is
 * software-only evidence: it says what this gate saw, not what the hardware vouches for.
 * @throws {Denied} `environment_unattested` when a file cannot be read
 */
export function measureServer(server: ServerCommand, crypto: Crypto, rng: Rng): MeasuredEnvironment {
  const salt = toBase64Url(rng.bytes(TOKEN_BYTES))
  let executable: MeasuredFile
  let script: MeasuredFile | undefined
  try {
    executable = new MeasuredFile(server.command.executable)
    script = server.command.script === undefined ? undefined : new MeasuredFile(server.command.script)
  } catch {
    throw new Denied('environment_unattested', 'the server program cannot be read')
  }
  const document = (): JsonObject => ({
    args: [...server.command.args],
    cwd: server.cwd,
    cwd_inode: inode(server.cwd),
    executable: { digest: executable.digest, path: executable.path },
    gate_version: server.gateVersion,
    host: os.hostname(),
    kind: 'mcp.server',
    platform: `${os.platform()}-${os.arch()}`,
    ...(script === undefined ? {} : { script: { digest: script.digest, path: script.path } }),
    uid: process.getuid?.() ?? -1,
  })
  const commitOf = (doc: JsonObject): Digest => commitment('environment', salt, digestOf(canonicalize(doc), crypto.sha256), crypto.sha256)
  const first = document()
  const commit = commitOf(first)
  const fingerprint = (): string => `${executable.digest} ${script?.digest ?? ''} ${inode(server.cwd)} ${os.hostname()}`
  const known = fingerprint()
  return {
    level: 'software',
    salt,
    document: first,
    commit,
    measure: () => {
      executable.remeasure()
      script?.remeasure()
      return fingerprint() === known ? commit : commitOf(document())
    },
  }
}

function inode(folder: string): string {
  try {
    const { dev, ino } = fs.statSync(folder, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return 'gone'
  }
}
