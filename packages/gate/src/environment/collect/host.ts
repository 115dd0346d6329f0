import * as os from 'node:os'
import { type Crypto, type Digest, digestOf, utf8 } from '@sealwrit/protocol'
import { type Look, NotTold } from './look.ts'

export const CGROUP_FILE = '/proc/self/cgroup'
const MAX_CGROUP_BYTES = 65_536

export interface HostFacts {
  readonly arch: string
  /** A digest: names of hosts and users stay out of what is kept. */
  readonly host: Digest
  readonly kernel: string
  readonly os: string
}

export function collectHost({ sha256 }: Crypto): HostFacts {
  return { arch: os.arch(), host: digestOf(utf8(`sealwrit/v1/host\n${os.hostname()}`), sha256), kernel: os.release(), os: os.platform() }
}

/** The control groups of this process, which its children share until somebody moves them. @throws {NotTold} */
export function collectCgroup({ sha256 }: Crypto, look: Look): Digest {
  const text = look.text(CGROUP_FILE, MAX_CGROUP_BYTES)
  if (text === undefined || text === '') throw new NotTold('not_told')
  return digestOf(utf8(text), sha256)
}

/** @throws {NotTold} where the system has no user ids */
export function collectUid(): number {
  const { getuid } = process
  if (getuid === undefined) throw new NotTold('not_told')
  return getuid()
}
