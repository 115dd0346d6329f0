import { Denied } from '../denial.ts'
import type { Digest, Purpose } from '../digest.ts'
import { asCode, Fields, MAX_STRING } from '../json/fields.ts'
import { parseStrict } from '../json/parse.ts'
import { type JsonLimits, type JsonObject, type JsonValue, MAX_DEPTH } from '../json/value.ts'
import { present } from '../log/entries.ts'

/** Largest bundle that is read as one file, in bytes. */
export const MAX_BUNDLE_BYTES = 268_435_456
const BUNDLE_LIMITS: JsonLimits = Object.freeze({ maxBytes: MAX_BUNDLE_BYTES, maxDepth: MAX_DEPTH, maxMembers: 5_000_000 })
const PURPOSES: readonly Purpose[] = ['action', 'environment', 'inputs', 'result', 'directory']

/** What stands behind a commitment; `body` is absent when only its digest was kept. */
export interface Body {
  readonly purpose: Purpose
  readonly commit: Digest
  readonly salt: string
  readonly digest: Digest
  readonly body?: JsonValue
}

/** Entries, proofs and bodies in one file, for a stranger to check offline. @see spec/bundle.md */
export interface Bundle {
  readonly v: 1
  readonly origin: string
  readonly tenant: string
  /** The signed checkpoint that every proof in this bundle leads to. */
  readonly checkpoint: string
  readonly entries: readonly { readonly entry: string; readonly proof: string }[]
  readonly bodies: readonly Body[]
  /** Policy sets by digest: file name to text. */
  readonly policies: readonly { readonly digest: Digest; readonly files: JsonObject }[]
}

/** @throws {Denied} `artifact_malformed`, `encoding_invalid` */
export function parseBundle(bytes: Uint8Array): Bundle {
  return asCode('artifact_malformed', () => {
    const fields = new Fields(parseStrict(bytes, BUNDLE_LIMITS), 'artifact_malformed', 'bundle')
    const list = <T>(name: string, read: (fields: Fields) => T): T[] => {
      const value = fields.value(name)
      if (!Array.isArray(value)) throw new Denied('artifact_malformed', `bundle: ${name} is not a list`)
      return value.map((item: JsonValue, i) => {
        const itemFields = new Fields(item, 'artifact_malformed', `bundle.${name}[${i}]`)
        const out = read(itemFields)
        itemFields.end()
        return out
      })
    }
    const bundle: Bundle = {
      v: fields.literal('v', 1),
      origin: fields.text('origin'),
      tenant: fields.text('tenant', 63),
      checkpoint: fields.text('checkpoint', 16 * MAX_STRING),
      entries: list('entries', (f) => ({ entry: f.text('entry', 64 * MAX_STRING), proof: f.text('proof', 64 * MAX_STRING) })),
      bodies: list('bodies', readBody),
      policies: list('policies', (f) => ({ digest: f.digest('digest'), files: f.value('files') as JsonObject })),
    }
    fields.end()
    return bundle
  })
}

function readBody(fields: Fields): Body {
  return present<Body>({
    purpose: fields.oneOf('purpose', PURPOSES),
    commit: fields.digest('commit'),
    salt: fields.token('salt'),
    digest: fields.digest('digest'),
    body: fields.optional('body', (name) => fields.value(name)),
  })
}
