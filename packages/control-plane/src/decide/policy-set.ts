import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { canonicalize, type Digest, digestOf, quoted, type Sha256 } from '@sealwrit/protocol'
import { type Obligations, parseAnnotations } from './obligations.ts'

/** Policies in one set, and bytes of one file. */
export const MAX_POLICIES = 20_000
export const MAX_POLICY_BYTES = 4_194_304

/** A policy file that cannot be used; the message names the file and what is wrong with it. */
export class PolicyError extends Error {}

export interface Policy {
  /** Ours: the file's name without ending, a slash, and `@id` or its number in the file. */
  readonly id: string
  readonly text: string
  readonly json: cedar.PolicyJson
  readonly obligations: Obligations
}

/** One immutable set: everything a decision depends on besides its request. */
export interface PolicySet {
  /** Digest of {@link PolicySet.files}. */
  readonly digest: Digest
  /** File name to text, the schema among them. */
  readonly files: Readonly<Record<string, string>>
  readonly schema: string
  readonly policies: readonly Policy[]
}

export const SCHEMA_FILE = 'schema.cedarschema'

/**
 * Reads and validates a policy set. It loads only without a single error or warning.
 * @param files file name to text: any number of `*.cedar` and one {@link SCHEMA_FILE}
 * @throws {PolicyError}
 */
export function loadPolicySet(files: Readonly<Record<string, string>>, sha256: Sha256): PolicySet {
  const schema = files[SCHEMA_FILE]
  if (schema === undefined) throw new PolicyError(`policy set without ${SCHEMA_FILE}`)
  const schemaAnswer = cedar.checkParseSchema(schema)
  if (schemaAnswer.type === 'failure') throw new PolicyError(`${SCHEMA_FILE}: ${messages(schemaAnswer.errors)}`)
  const names = Object.keys(files).filter((name) => name.endsWith('.cedar')).sort()
  const policies = names.flatMap((name) => readFile(name, files[name] as string))
  if (policies.length === 0) throw new PolicyError('no policy in any *.cedar file: nothing could ever be permitted')
  if (policies.length > MAX_POLICIES) throw new PolicyError(`more than ${MAX_POLICIES} policies`)
  const seen = new Set<string>()
  for (const { id } of policies) {
    if (seen.has(id)) throw new PolicyError(`two policies have the id ${quoted(id)}`)
    seen.add(id)
  }
  validate(schema, policies)
  return Object.freeze({ digest: digestOf(canonicalize({ ...files }), sha256), files: Object.freeze({ ...files }), schema, policies })
}

function readFile(name: string, text: string): Policy[] {
  if (text.length > MAX_POLICY_BYTES) throw new PolicyError(`${name}: more than ${MAX_POLICY_BYTES} characters`)
  const parts = cedar.policySetTextToParts(text)
  if (parts.type === 'failure') throw new PolicyError(`${name}: ${messages(parts.errors)}`)
  if (parts.policy_templates.length > 0) throw new PolicyError(`${name}: templates are not supported; write policies without slots`)
  const stem = name.slice(0, -'.cedar'.length)
  return parts.policies.map((policy, number) => {
    const json = cedar.policyToJson(policy)
    if (json.type === 'failure') throw new PolicyError(`${name}: ${messages(json.errors)}`)
    const { annotations = {} } = json.json
    const id = `${stem}/${annotations['id'] ?? number}`
    try {
      return { id, text: policy, json: json.json, obligations: parseAnnotations(annotations as Record<string, string | null>) }
    } catch (error) {
      throw new PolicyError(`${name}: policy ${quoted(id)}: ${error instanceof Error ? error.message : 'bad annotation'}`)
    }
  })
}

function validate(schema: string, policies: readonly Policy[]): void {
  const staticPolicies = Object.fromEntries(policies.map(({ id, text }) => [id, text]))
  const answer = cedar.validate({ schema, policies: { staticPolicies }, validationSettings: { mode: 'strict' } })
  if (answer.type === 'failure') throw new PolicyError(messages(answer.errors))
  const found = [...answer.validationErrors, ...answer.validationWarnings]
  if (found.length > 0) throw new PolicyError(found.slice(0, 5).map((f) => `policy ${quoted(f.policyId)}: ${f.error.message}`).join('; '))
  if (answer.otherWarnings.length > 0) throw new PolicyError(messages(answer.otherWarnings))
}

function messages(errors: readonly { message: string; help?: string | null }[]): string {
  return errors.map((e) => (e.help ? `${e.message} (${e.help})` : e.message)).join('; ')
}
