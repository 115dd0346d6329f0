import * as path from 'node:path'
import type { Digest } from '@sealwrit/protocol'
import { MAX_PARENTS } from './git.ts'
import { type Look, NotTold } from './look.ts'

export const MAX_LOCK_BYTES = 67_108_864
const LOCKS = ['package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml', 'yarn.lock', 'bun.lock', 'uv.lock', 'poetry.lock'] as const

/** The lock of the packages that a program was installed with: in its home or the nearest folder above. @throws {NotTold} */
export function collectLock(home: string, look: Look): { digest: Digest; path: string } {
  for (let folder = home, n = 0; n < MAX_PARENTS; n++, folder = path.dirname(folder)) {
    for (const name of LOCKS) {
      const place = path.join(folder, name)
      const kind = look.kind(place)
      if (kind === 'file') return { digest: look.digest(place, MAX_LOCK_BYTES), path: place }
      if (kind === 'other') throw new NotTold('malformed')
    }
    if (folder === path.dirname(folder)) break
  }
  throw new NotTold('none')
}
