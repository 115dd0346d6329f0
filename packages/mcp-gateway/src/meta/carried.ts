import { isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'

/** Member of the `_meta` of `tools/call` that holds an artifact which the client carries. */
export const ARTIFACT_META = 'sealwrit/artifact'

/**
 * The artifact that a call carries, as it was presented: present in any form, it is redeemed or the call is denied, and nothing
 * else is asked for. It is never forwarded: what goes on is built from the action alone.
 */
export function carriedBy(method: string, params: JsonObject): { readonly carried?: JsonValue } {
  const meta = params['_meta']
  const carried = method === 'tools/call' && isObject(meta) ? meta[ARTIFACT_META] : undefined
  return carried === undefined ? {} : { carried }
}

/** Member of the `_meta` of a governed request that holds what another plane permitted. */
export const FOREIGN_META = 'sealwrit/foreign'

/** What a request descends from at another plane, as it was presented: in any form, for the plane to verify. It is never forwarded. */
export function foreignBy(params: JsonObject): { readonly foreign?: JsonValue } {
  const meta = params['_meta']
  const foreign = isObject(meta) ? meta[FOREIGN_META] : undefined
  return foreign === undefined ? {} : { foreign }
}
