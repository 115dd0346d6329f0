import type { Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { toHex } from '../encoding.ts'
import { subjectId } from '../identity.ts'
import type { Fields } from '../json/fields.ts'
import type { TreeHead } from '../log/merkle.ts'

/** Longest origin of a plane that another one trusts: with a person's id before it, it still is a person's id. */
export const MAX_FOREIGN_ORIGIN = 96

/** Where something of another plane that was taken here stands in that plane's log; the sealed object itself is behind `commit`. */
export interface ForeignRef {
  /** Origin of that log. */
  readonly iss: string
  /** The checkpoint under which it was taken: from here on nothing of that log is taken that this one does not lead to. */
  readonly size: number
  readonly root: Digest
  readonly commit: Digest
}

export function readForeignRef(fields: Fields): ForeignRef {
  const ref = { iss: fields.text('iss', MAX_FOREIGN_ORIGIN), size: fields.integer('size'), root: fields.digest('root'), commit: fields.digest('commit') }
  fields.end()
  if (ref.size === 0) throw new Denied('artifact_malformed', 'foreign: nothing stands in an empty tree')
  return ref
}

export function rootDigest({ root }: TreeHead): Digest {
  return `sha256:${toHex(root)}`
}

/** The principal of another plane as an opaque id of this one. */
export function foreignSubject(iss: string, sub: string, origin: string, sha256: Sha256): string {
  return subjectId('plane', iss, sub, origin, sha256)
}

/** A person of another plane, as approvals here name it: the same name of two planes is two persons. */
export function foreignPerson(person: string, iss: string): string {
  return `${person}@${iss}`
}
