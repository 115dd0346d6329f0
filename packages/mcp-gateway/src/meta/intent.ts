import { type Declared, Fields, isObject, type JsonObject, present, readDeclared } from '@sealwrit/protocol'

/** Members of the `_meta` of a governed request that say what it is for: the id of a registered purpose, and the asker's own words. */
export const INTENT_META = 'sealwrit/intent'
export const PURPOSE_TEXT_META = 'sealwrit/purpose_text'

/**
 * What a request declares; without an intent of its own that of this gateway, where there is one. A carried artifact has its own.
 * @throws {Denied} `request_malformed`
 */
export function declaredBy(params: JsonObject, preset: string | undefined, isCarried: boolean): Declared {
  const meta = params['_meta']
  const given = isObject(meta) ? present<JsonObject>({ intent: meta[INTENT_META], purpose_text: meta[PURPOSE_TEXT_META] }) : {}
  const { intent, purpose_text } = readDeclared(new Fields(given, 'request_malformed', '_meta'))
  return present<Declared>({ intent: intent ?? (isCarried ? undefined : preset), purpose_text })
}
