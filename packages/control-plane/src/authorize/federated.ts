import { type Artifact, canonicalize, commitment, type Digest, digestOf, type ForeignPermit, rootDigest, toBase64Url, TOKEN_BYTES } from '@sealwrit/protocol'
import type { PlanePorts } from '../ports.ts'

/** What makes a permit the child of one of another plane. @param commit to what was shown of it */
export function belowForeign({ entry, plane, checkpoint, leafHash }: ForeignPermit, commit: Digest): Pick<Artifact, 'par' | 'depth'> {
  const { jti, depth } = entry
  return { par: { jti, leaf_hash: leafHash, foreign: { iss: plane.key.name, size: checkpoint.size, root: rootDigest(checkpoint), commit } }, depth: depth + 1 }
}

/** The environment of a permit that another plane is to take: measured by nobody here, and no gate executes on it. */
export function elsewhere({ rng, crypto }: PlanePorts): Artifact['env'] {
  const commit = commitment('environment', toBase64Url(rng.bytes(TOKEN_BYTES)), digestOf(canonicalize({}), crypto.sha256), crypto.sha256)
  return { commit, level: 'none' }
}
