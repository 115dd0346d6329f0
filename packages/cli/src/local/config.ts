import * as fs from 'node:fs'
import * as path from 'node:path'
import { parseDocument } from 'yaml'
import type { SinkConfig } from '@sealwrit/control-plane'
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
  /** Where checkpoints are anchored; a path is relative to this file. */
  readonly anchors: readonly SinkConfig[]
  readonly anchor_interval_minutes: number
}

/** As many as the plane takes; not imported from there, since gateways read this file too and load no plane. */
const MAX_SINKS = 8
const MAX_INTERVAL_MINUTES = 10_080

const configSchema: z.ZodType<Config> = z.strictObject({
  owner: z.string().min(1).max(128).optional(),
  policies: z.string().min(1).default('policies'),
  receipt: z.enum(['before_reply', 'after_reply']).default('before_reply'),
  anchors: z
    .array(
      z.discriminatedUnion('type', [
        z.strictObject({ type: z.literal('rfc3161'), url: z.string().min(1).max(1_024) }),
        z.strictObject({ type: z.literal('file'), path: z.string().min(1).max(1_024) }),
        z.strictObject({ type: z.literal('http'), url: z.string().min(1).max(1_024) }),
      ]),
    )
    .max(MAX_SINKS)
    .default([]),
  anchor_interval_minutes: z.int().min(1).max(MAX_INTERVAL_MINUTES).default(60),
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
    throw new CliError(`${file}: ${issue?.path.join('.') || 'top level'}: ${issue?.message ?? 'not valid'}`, { hint: 'members are owner, policies and receipt, and for anchors `anchors` and `anchor_interval_minutes`' })
  }
  return { config: parsed.data, file }
}
