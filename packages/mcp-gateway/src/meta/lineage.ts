import type { Placed } from '@sealwrit/gate'
import { Denied, Fields, isObject, type JsonObject, parseDelegation, parseParentRef, type VerifiedArtifact } from '@sealwrit/protocol'

/** Members of the `_meta` of a request that place it in a lineage, as in `authorize`. The server of a call that delegates is told the first. */
export const PARENT_META = 'sealwrit/parent'
export const DELEGATES_META = 'sealwrit/delegates'

/**
 * Where a request stands. What the operator gave holds for every request: a client cannot leave that lineage, nor delegate other things.
 * @throws {Denied} `request_malformed`
 */
export function placedBy(params: JsonObject, given: Placed): Placed {
  const meta = params['_meta']
  const [parent, delegates] = isObject(meta) ? [meta[PARENT_META], meta[DELEGATES_META]] : []
  const own: Placed = {
    parent: parent === undefined ? undefined : parseParentRef(new Fields(parent, 'request_malformed', PARENT_META)),
    delegates: delegates === undefined ? undefined : parseDelegation(new Fields(delegates, 'request_malformed', DELEGATES_META)),
  }
  if (given.parent !== undefined && own.parent !== undefined && (own.parent.jti !== given.parent.jti || own.parent.leaf_hash !== given.parent.leaf_hash)) throw new Denied('request_malformed', 'this gateway asks below another permit')
  if (given.delegates !== undefined && own.delegates !== undefined) throw new Denied('request_malformed', 'what is delegated here is given')
  return { parent: given.parent ?? own.parent, delegates: given.delegates ?? own.delegates }
}

/** What the server of a call needs to ask for something below it; nothing where the call lets nobody. */
export function parentMeta({ permit, leafHash }: VerifiedArtifact): JsonObject | undefined {
  return permit.delegates === undefined ? undefined : { [PARENT_META]: { jti: permit.jti, leaf_hash: leafHash } }
}
