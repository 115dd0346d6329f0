import { type Action, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'

/** What stands in the place of a redacted member. */
export const REDACTED = '[redacted]'

/**
 * The action without the members that `paths` name; undefined where it has none of them.
 * @param paths each as the names on the way to the member: `args` and names below it, `input_responses` for every answer, or `request_state`
 */
export function redactAction(action: Action, paths: readonly (readonly string[])[]): JsonObject | undefined {
  let redacted: JsonObject | undefined
  for (const [first, ...names] of paths) {
    const whole: JsonObject = redacted ?? (action as unknown as JsonObject)
    const next = first === 'input_responses' ? withoutAnswers(whole) : without(whole, [first === 'args' ? 'arguments' : (first as string), ...names])
    if (next !== undefined) redacted = next as JsonObject
  }
  return redacted
}

/** The server names what it asks for, so no policy can: all of it goes. */
function withoutAnswers(action: JsonObject): JsonObject | undefined {
  const answers = Object.keys((action['input_responses'] ?? {}) as JsonObject)
  return answers.length === 0 ? undefined : { ...action, input_responses: Object.fromEntries(answers.map((name) => [name, REDACTED])) }
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
