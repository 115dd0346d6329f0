import * as fs from 'node:fs'
import { type Action, Denied, type JsonValue, MAX_WIRE_LINE, parseEntry, parseSealed, parseShownEntry, parseStrict, scopeOf } from '@sealwrit/protocol'

/**
 * What another plane permitted, from a file that is read anew for each call, for calls of the tool that it names; others are asked for as
 * ever. A file that cannot be read, or holds something else, is presented as it is, and refused by the plane.
 */
export function foreignFor(file: string): (action: Action) => JsonValue | undefined {
  return (action) => {
    const shown = read(file)
    if (shown === undefined) return undefined
    try {
      const entry = parseEntry(parseSealed(parseShownEntry(shown).sealed).entry)
      const { type, target, name } = scopeOf(action)
      if (entry.kind === 'permit' && (entry.scope.type !== type || entry.scope.target !== target || entry.scope.name !== name)) return undefined
    } catch (error) {
      if (!(error instanceof Denied)) throw error
    }
    return shown
  }
}

/** Undefined while there is no such file: whoever borrows anew puts it there. */
function read(file: string): JsonValue | undefined {
  if (!fs.existsSync(file)) return undefined
  try {
    return fs.statSync(file).size > MAX_WIRE_LINE ? {} : parseStrict(fs.readFileSync(file))
  } catch {
    return {} // nothing that anybody permitted
  }
}
