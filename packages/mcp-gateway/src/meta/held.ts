import { Denied, isObject, isToken, type JsonObject } from '@sealwrit/protocol'

/** Member of the `_meta` of a governed request that names the hold which it waited for. */
export const HOLD_META = 'sealwrit/hold'

/** The hold that a request names. @throws {Denied} `request_malformed` for one in another form: nothing is asked for in its place */
export function heldBy(params: JsonObject): { readonly hold?: string } {
  const meta = params['_meta']
  const hold = isObject(meta) ? meta[HOLD_META] : undefined
  if (hold === undefined) return {}
  if (!isToken(hold)) throw new Denied('request_malformed', 'the hold has no such id')
  return { hold }
}
