import { type Action, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'

/** What stands in the place of a redacted member. */
export const REDACTED = '[redacted]'

/**
 * The action without the members that `paths` name below its arguments; undefined where it has none of them.
 * @param paths each as the names on the way to the member
 */
export function redactAction(action: Action, paths: readonly (readonly string[])[]): JsonObject | undefined {
  let [redacted, found] = [action.arguments as JsonValue, false]
  for (const path of paths) {
    const next = without(redacted, path)
    if (next === undefined) continue
    redacted = next
    found = true
  }
  return found ? { ...(action as unknown as JsonObject), arguments: redacted } : undefined
}

/** A path that leads through a list is that of each of its items. */
function without(value: JsonValue, path: readonly string[]): JsonValue | undefined {
  const [name, ...rest] = path
  if (name === undefined) return REDACTED
  if (Array.isArray(value)) {
    const items = value.map((item: JsonValue) => without(item, path))
    return items.every((item) => item === undefined) ? undefined : items.map((item, i) => item ?? (value[i] as JsonValue))
  }
  if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
  const inner = without(value[name] as JsonValue, rest)
  return inner === undefined ? undefined : Object.fromEntries(Object.entries(value).map(([key, member]) => [key, key === name ? inner : member]))
}
