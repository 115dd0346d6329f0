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
  /** A tlog-policy file, relative to this one: which witnesses the plane asks, and which cosignatures local gates need. */
  readonly witnesses?: string | undefined
  /** How old a cosignature may be that counts, in seconds. */
  readonly witness_max_age_seconds?: number | undefined
}

const configSchema: z.ZodType<Config> = z.strictObject({
  owner: z.string().min(1).max(128).optional(),
  policies: z.string().min(1).default('policies'),
  receipt: z.enum(['before_reply', 'after_reply']).default('before_reply'),
  witnesses: z.string().min(1).optional(),
  witness_max_age_seconds: z.int().min(2).max(86_400).optional(),
})

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
    throw new CliError(`${file}: ${issue?.path.join('.') || 'top level'}: ${issue?.message ?? 'not valid'}`, { hint: 'members are owner, policies, receipt, witnesses and witness_max_age_seconds' })
  }
  return { config: parsed.data, file }
}
