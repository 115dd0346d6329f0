import { isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'

/** Lists that pass through, judged by kind: they have no effect, and only a cursor goes along. */
export const LISTS: ReadonlySet<string> = new Set(['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list'])

/** Leaves out of a list's member what `keep` does not want by its name. */
export function filtered(result: JsonObject, member: string, keep: (name: string) => boolean): JsonObject {
  const items = result[member]
  if (!Array.isArray(items)) return result
  return { ...result, [member]: items.filter((item: JsonValue) => isObject(item) && typeof item['name'] === 'string' && keep(item['name'])) }
}
