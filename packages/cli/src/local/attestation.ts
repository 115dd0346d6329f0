import * as fs from 'node:fs'
import * as path from 'node:path'
import type { AttestationTrust } from '@sealwrit/control-plane'
import { isObject, type JsonObject, type JsonValue, parseStrict } from '@sealwrit/protocol'
import { z } from 'zod'
import { CliError } from '../errors.ts'
import type { readConfig } from './config.ts'

/** As many as the plane takes; not imported from there, since gateways read the configuration too and load no plane. */
const MAX_TRUST = 32
const MAX_FILE_BYTES = 1_048_576
const text = z.string().min(1).max(1_024)

/** `environment.trust`: whose signed statements count. Files are relative to the configuration. */
export interface TrustConfig {
  readonly name: string
  readonly about: 'program' | 'image' | 'lock'
  readonly predicate_types: readonly string[]
  readonly builder: string
  readonly keys?: Readonly<Record<string, string>> | undefined
  readonly trusted_root?: string | undefined
  readonly identity?: string | undefined
  readonly issuer?: string | undefined
}

const rule = z
  .strictObject({
    name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
    about: z.enum(['program', 'image', 'lock']).default('program'),
    predicate_types: z.array(text).min(1).max(16),
    builder: text,
    keys: z.record(text, text).refine((keys) => Object.keys(keys).length > 0, 'are none, so no statement could count').optional(),
    trusted_root: text.optional(),
    identity: text.optional(),
    issuer: text.optional(),
  })
  .refine(({ keys, trusted_root }) => (keys === undefined) !== (trusted_root === undefined), 'takes either keys or trusted_root')
  .refine(({ trusted_root, identity, issuer }) => (trusted_root === undefined) === (identity === undefined) && (identity === undefined) === (issuer === undefined), 'trusted_root needs identity and issuer, which are compared whole, and keys take neither')

export const environmentShape: z.ZodType<{ readonly trust: readonly TrustConfig[] } | undefined> = z
  .strictObject({ trust: z.array(rule).max(MAX_TRUST).refine((list) => new Set(list.map(({ name }) => name)).size === list.length, 'a name stands twice') })
  .optional()

/** The rules with their keys and roots read. @throws {CliError} naming the file */
export function attestationTrust(config: ReturnType<typeof readConfig>): readonly AttestationTrust[] {
  if (config === undefined) return []
  const at = (name: string): string => path.resolve(path.dirname(config.file), name)
  return (config.config.environment?.trust ?? []).map(({ keys, trusted_root, ...rule }) => ({
    ...rule,
    ...(keys === undefined ? {} : { keys: Object.fromEntries(Object.entries(keys).map(([hint, file]) => [hint, bounded(at(file)).toString('utf8')])) }),
    ...(trusted_root === undefined ? {} : { trusted_root: json(at(trusted_root)) }),
  }))
}

/** The signed statement that a gate presents. @throws {CliError} */
export function readAttestation(file: string): JsonObject {
  const value = json(file)
  if (!isObject(value)) throw new CliError(`${file} holds no Sigstore bundle`, { hint: 'it is the JSON that cosign or actions/attest writes: cosign attest-blob --bundle FILE …' })
  return value
}

function json(file: string): JsonValue {
  try {
    return parseStrict(bounded(file))
  } catch (error) {
    throw error instanceof CliError ? error : new CliError(`${file} is no JSON`)
  }
}

function bounded(file: string): Buffer {
  try {
    if (fs.statSync(file).size > MAX_FILE_BYTES) throw new CliError(`${file} is larger than ${MAX_FILE_BYTES} bytes`)
    return fs.readFileSync(file)
  } catch (error) {
    throw error instanceof CliError ? error : new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}
