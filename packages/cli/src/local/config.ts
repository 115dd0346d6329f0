import * as fs from 'node:fs'
import * as path from 'node:path'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { CliError } from '../errors.ts'

/** `sealwrit.yaml`. There is no setting that fails open. */
export interface Config {
  /** The person or team that answers for what runs; an opaque id. */
  readonly owner?: string | undefined
  /** Folder of the policies, relative to this file. */
  readonly policies: string
  /** Whether a receipt is durable before the asker gets its result. */
  readonly receipt: 'before_reply' | 'after_reply'
  /** Whether the entries of the log can be read without the token: they name tools, agents and times, never arguments. */
  readonly log_entries: 'private' | 'public'
  /** How long what stands behind commitments is kept: arguments, inputs of decisions, environments. Entries and proofs stay for ever. */
  readonly retention?: { readonly bodies_days: number } | undefined
}

const shape = {
  owner: z.string().min(1).max(128).optional(),
  policies: z.string().min(1).default('policies'),
  receipt: z.enum(['before_reply', 'after_reply']).default('before_reply'),
  log_entries: z.enum(['private', 'public']).default('private'),
  retention: z.strictObject({ bodies_days: z.number().int().min(1).max(36_500) }).optional(),
}
const MEMBERS = Object.keys(shape)
const configSchema: z.ZodType<Config> = z.strictObject(shape)

export const CONFIG_FILE = 'sealwrit.yaml'
const MAX_CONFIG_BYTES = 65_536

/** Reads the configuration beside the plane's folder; undefined when there is none. @throws {CliError} naming file and member */
export function readConfig(planeDir: string): { config: Config; file: string } | undefined {
  const file = path.join(path.dirname(planeDir), CONFIG_FILE)
  if (!fs.existsSync(file)) return undefined
  if (fs.statSync(file).size > MAX_CONFIG_BYTES) throw new CliError(`${file} is larger than ${MAX_CONFIG_BYTES} bytes`)
  const document = parseDocument(fs.readFileSync(file, 'utf8'), { uniqueKeys: true, strict: true })
  const problem = document.errors[0] ?? document.warnings[0]
  if (problem !== undefined) throw new CliError(`${file}: ${problem.message}`)
  const parsed = configSchema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {})
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new CliError(`${file}: ${issue?.path.join('.') || 'top level'}: ${issue?.message ?? 'not valid'}`, { hint: `members are ${MEMBERS.join(', ')}` })
  }
  return { config: parsed.data, file }
}
