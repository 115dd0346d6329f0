import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { canonicalize, type Digest, digestOf, quoted, type Sha256 } from '@sealwrit/protocol'
import { checkDepth, checkSchemaDepth, MAX_POLICY_TEXT, type Weight, weigh } from './bounds.ts'
import type { Sees } from './mapping.ts'
import { type Obligations, parseAnnotations } from './obligations.ts'
import { seenBy } from './schema.ts'

/** Policies in one set, files in it, characters of one file and of all of them. */
export const MAX_POLICIES = 20_000
export const MAX_POLICY_FILES = 1_000
export const MAX_POLICY_BYTES = 4_194_304
export const MAX_SET_BYTES = 16_777_216

/** A policy file that cannot be used; the message names the file and what is wrong with it. */
export class PolicyError extends Error {}

export interface Policy {
  /** Ours: the file's name without ending, a slash, and `@id` or its number in the file. */
  readonly id: string
  readonly text: string
  readonly json: cedar.PolicyJson
  readonly obligations: Obligations
  /** What evaluating it can cost. */
  readonly weight: Weight
}

/** One immutable set: everything a decision depends on besides its request. */
export interface PolicySet {
  /** Digest of {@link PolicySet.files}. */
  readonly digest: Digest
  /** Digest of its protected rules, where it has some. */
  readonly base: Digest | undefined
  /** File name to text, the schema among them. */
  readonly files: Readonly<Record<string, string>>
  readonly schema: string
  readonly sees: Sees
  readonly policies: readonly Policy[]
}

export const SCHEMA_FILE = 'schema.cedarschema'
/** Files in this folder of a set hold its protected rules: prohibitions that the other files cannot replace. */
export const BASE = 'base/'
/** No separator but the one of {@link BASE}, no leading dot: a name can lead nowhere (ATK-055). */
const FILE_NAME = /^(?:base\/)?[A-Za-z0-9_][\w.-]{0,127}\.cedar$/

/**
 * Reads and validates a policy set. It loads only without a single error or warning.
 * @param files file name to text: any number of `*.cedar` and one {@link SCHEMA_FILE}
 * @throws {PolicyError}
 */
export function loadPolicySet(files: Readonly<Record<string, string>>, sha256: Sha256): PolicySet {
  const set = parsePolicySet(files, sha256)
  const found = findingsOf(set)
  if (found.length > 0) {
    throw new PolicyError(found.slice(0, 5).map(({ id, message }) => (id === undefined ? message : `policy ${quoted(id)}: ${message}`)).join('; '))
  }
  return set
}

/** Reads a policy set without asking whether its policies fit the schema. @throws {PolicyError} */
export function parsePolicySet(files: Readonly<Record<string, string>>, sha256: Sha256): PolicySet {
  const schema = files[SCHEMA_FILE]
  if (schema === undefined) throw new PolicyError(`policy set without ${SCHEMA_FILE}`)
  const names = Object.keys(files).filter((name) => name !== SCHEMA_FILE).sort()
  if (names.length > MAX_POLICY_FILES) throw new PolicyError(`more than ${MAX_POLICY_FILES} policy files`)
  if (names.reduce((sum, name) => sum + (files[name] as string).length, schema.length) > MAX_SET_BYTES) throw new PolicyError(`more than ${MAX_SET_BYTES} characters in all`)
  for (const name of names) if (!FILE_NAME.test(name)) throw new PolicyError(`${quoted(name)} is no name of a policy file; letters, digits, dots and dashes, ending in .cedar`)
  readSchema(schema)
  const policies = names.flatMap((name) => readFile(name, files[name] as string))
  if (policies.length === 0) throw new PolicyError('no policy in any *.cedar file: nothing could ever be permitted')
  if (policies.length > MAX_POLICIES) throw new PolicyError(`more than ${MAX_POLICIES} policies`)
  const seen = new Set<string>()
  for (const { id } of policies) {
    if (seen.has(id)) throw new PolicyError(`two policies have the id ${quoted(id)}`)
    seen.add(id)
  }
  const sees = seenBy(schema)
  for (const { id, obligations: { environment } } of policies) {
    // What the schema does not declare is not among the recorded inputs, and could not be decided again.
    const unseen = environment?.facts.find((fact) => !sees.environment.has(fact))
    if (unseen !== undefined) throw new PolicyError(`policy ${quoted(id)}: @environment demands ${unseen}, which the schema does not declare for every action; add \`${unseen}?\` to context.environment`)
  }
  const digest = (some: readonly string[]): Digest => digestOf(canonicalize(Object.fromEntries(some.map((name) => [name, files[name] as string]))), sha256)
  const base = names.filter((name) => name.startsWith(BASE))
  return Object.freeze({ digest: digest([...names, SCHEMA_FILE]), base: base.length === 0 ? undefined : digest(base), files: Object.freeze({ ...files }), schema, sees, policies })
}

/** Whether a policy is one of the protected rules. */
export function isProtected(id: string): boolean {
  return id.startsWith(BASE)
}

function readSchema(schema: string): void {
  const answer = asPolicyError(SCHEMA_FILE, () => {
    checkSchemaDepth(schema)
    return cedar.checkParseSchema(schema)
  })
  if (answer.type === 'failure') throw new PolicyError(`${SCHEMA_FILE}: ${messages(answer.errors)}`)
}

function readFile(name: string, text: string): Policy[] {
  if (text.length > MAX_POLICY_BYTES) throw new PolicyError(`${name}: more than ${MAX_POLICY_BYTES} characters`)
  const parts = asPolicyError(name, () => {
    checkDepth(text, 'a policy')
    return cedar.policySetTextToParts(text)
  })
  if (parts.type === 'failure') throw new PolicyError(`${name}: ${messages(parts.errors)}`)
  if (parts.policy_templates.length > 0) throw new PolicyError(`${name}: templates are not supported; write policies without slots`)
  const stem = name.slice(0, -'.cedar'.length)
  return parts.policies.map((policy, number) => {
    const json = cedar.policyToJson(policy)
    if (json.type === 'failure') throw new PolicyError(`${name}: ${messages(json.errors)}`)
    const { annotations = {} } = json.json
    const id = `${stem}/${annotations['id'] ?? number}`
    if (isProtected(id) !== name.startsWith(BASE)) throw new PolicyError(`${name}: the id ${quoted(id)} is one of the protected rules; choose another`)
    if (isProtected(id) && json.json.effect !== 'forbid') throw new PolicyError(`${name}: policy ${quoted(id)} permits; protected rules only forbid`)
    return asPolicyError(`${name}: policy ${quoted(id)}`, () => {
      if (policy.length > MAX_POLICY_TEXT) throw new Error(`more than ${MAX_POLICY_TEXT} characters`)
      const read = { id, text: policy, json: json.json, obligations: parseAnnotations(annotations as Record<string, string | null>) }
      return { ...read, weight: weigh(read) }
    })
  })
}

/** What strict validation finds wrong with a set; `id` names the policy where it is one's. */
export interface PolicyFinding {
  readonly id: string | undefined
  readonly message: string
}

export function findingsOf({ schema, policies }: PolicySet): readonly PolicyFinding[] {
  const staticPolicies = Object.fromEntries(policies.map(({ id, text }) => [id, text]))
  const answer = cedar.validate({ schema, policies: { staticPolicies }, validationSettings: { mode: 'strict' } })
  if (answer.type === 'failure') return [{ id: undefined, message: messages(answer.errors) }]
  const found = [...answer.validationErrors, ...answer.validationWarnings].map((f) => ({ id: f.policyId, message: f.error.message }))
  return answer.otherWarnings.length > 0 ? [...found, { id: undefined, message: messages(answer.otherWarnings) }] : found
}

function asPolicyError<T>(where: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new PolicyError(`${where}: ${error instanceof Error ? error.message : 'it cannot be read'}`)
  }
}

function messages(errors: readonly { message: string; help?: string | null }[]): string {
  return errors.map((e) => (e.help ? `${e.message} (${e.help})` : e.message)).join('; ')
}
