import { Denied } from './denial.ts'
import type { Fields } from './json/fields.ts'

/** Longest free text about a purpose, in UTF-16 units. */
export const MAX_PURPOSE_TEXT = 2_048

/** The id of a purpose: which of them are registered is said by the schema of the policy set. @see spec/policy.md#purposes */
export function isPurpose(text: string): boolean {
  return /^[a-z0-9._-]{1,64}$/.test(text)
}

/** What a request says it is for. */
export interface Declared {
  /** A registered purpose. */
  readonly intent?: string
  /** The asker's own words. They are kept where they can be erased, and neither policies nor approvers are shown them. */
  readonly purpose_text?: string
}

/** @throws {Denied} `request_malformed` */
export function readDeclared(fields: Fields): { intent: string | undefined; purpose_text: string | undefined } {
  return {
    intent: fields.optional('intent', (name) => readIntent(fields, name)),
    purpose_text: fields.optional('purpose_text', (name) => fields.text(name, MAX_PURPOSE_TEXT)),
  }
}

/** @throws {Denied} the code of the object that is read */
export function readIntent(fields: Fields, name: string): string {
  const intent = fields.text(name, 64)
  if (!isPurpose(intent)) throw new Denied(fields.code, 'intent is no id of a purpose')
  return intent
}
