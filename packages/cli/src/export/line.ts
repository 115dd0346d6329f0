import { canonicalText, type Entry, type JsonValue } from '@sealwrit/protocol'
import { toCloudEvent } from './cloudevents.ts'
import { toOcsf } from './ocsf.ts'

export const FORMATS = ['cloudevents', 'ocsf', 'jsonl'] as const
export type Format = (typeof FORMATS)[number]

/** One entry of the log `origin` as one line of `format`, without its newline. @see spec/export.md */
export function exportLine(entry: Entry, format: Format, origin: string): string {
  switch (format) {
    case 'cloudevents':
      return escaped(JSON.stringify(toCloudEvent(entry, origin)))
    case 'ocsf':
      return escaped(JSON.stringify(toOcsf(entry, origin)))
    case 'jsonl':
      return escaped(canonicalText(entry as unknown as JsonValue))
  }
}

/**
 * Escapes what some reader takes for the end of a line or hides from whoever looks: controls of C0 and C1, U+2028, U+2029,
 * bidirectional and other invisible characters, lone surrogates (ATK-117, ATK-118). In JSON text they stand inside strings
 * only, so the value stays the same.
 */
function escaped(json: string): string {
  return json.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => {
    let out = ''
    for (let i = 0; i < character.length; i++) out += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`
    return out
  })
}
