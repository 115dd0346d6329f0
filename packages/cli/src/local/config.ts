import * as fs from 'node:fs'
import * as path from 'node:path'
import { parseDocument } from 'yaml'
import type { IdentityConfig, LoginIssuerConfig, SinkConfig } from '@sealwrit/control-plane'
import { ACTION_TYPES, type ForeignKind, type ForeignScope, isKeyName, MAX_FOREIGN_AGE_SECONDS, MAX_FOREIGN_ORIGIN, MAX_FOREIGN_PLANES, MAX_FOREIGN_SCOPES, ROLES } from '@sealwrit/protocol'
import { z } from 'zod'
import { CliError } from '../errors.ts'
import { environmentShape, type TrustConfig } from './attestation.ts'
import { readSecret } from './folder.ts'

/** `sealwrit.yaml`. There is no setting that fails open. */
export interface Config {
  /** The person or team that answers for what runs; an opaque id. */
  readonly owner?: string | undefined
  /** What the plane, its policies and its gates have to be: they do not start otherwise. @see spec/profile.md */
  readonly profile: readonly string[]
  /** Folder of the policies, relative to this file. */
  readonly policies: string
  /** `shadow`: what policy denies runs all the same at gates that were started with `--shadow`, marked, and is never called governed. */
  readonly mode: 'enforce' | 'shadow'
  /** Folder of protected rules, relative to this file: prohibitions that every policy set must hold. */
  readonly base?: string | undefined
  /** Nothing is permitted under a policy set that was activated or confirmed longer ago. */
  readonly policy_max_age_days?: number | undefined
  /** Whether a receipt is durable before the asker gets its result. */
  readonly receipt: 'before_reply' | 'after_reply'
  /** Whether the entries of the log can be read without the token: they name tools, agents and times, never arguments. */
  readonly log_entries: 'private' | 'public'
  /** File for the newest signed checkpoint, relative to this file: best on another disk than the store. */
  readonly high_water?: string | undefined
  /** How long what stands behind commitments is kept: arguments, inputs of decisions, environments. Entries and proofs stay for ever. */
  readonly retention?: { readonly bodies_days: number } | undefined
  /** Where checkpoints are anchored; a path is relative to this file. */
  readonly anchors: readonly SinkConfig[]
  readonly anchor_interval_minutes: number
  /** Whether checkpoints carry an ML-DSA-65 signature too; sockets of the process that signs the log, and of the one that is to take over, relative to this file. */
  readonly keys?: { readonly checkpoints: 'ed25519' | 'hybrid'; readonly log?: { readonly signer: string; readonly next?: string | undefined } | undefined } | undefined
  /** How long gates wait for an approval before they answer, and whom the plane tells of holds; the secret's file is relative to this one. */
  readonly approvals?: { readonly wait_seconds: number; readonly webhook?: { readonly url: string; readonly secret_file: string; readonly arguments: boolean } | undefined } | undefined
  /** A tlog-policy file, relative to this one: which witnesses the plane asks, and which cosignatures local gates need. */
  readonly witnesses?: string | undefined
  /** How old a cosignature may be that counts, in seconds. */
  readonly witness_max_age_seconds?: number | undefined
  /** Whose signed statements raise the environment of a gate. @see spec/environment.md#signed-statements */
  readonly environment?: { readonly trust: readonly TrustConfig[] } | undefined
  /** Whom the plane believes to be whom; paths are relative to this file. @see spec/identity.md */
  readonly identity?: IdentityConfig | undefined
  /** Who may use the plane beside those who have an account: people of issuers, and how many of them lift a kill. @see spec/people.md */
  readonly people?: PeopleConfig | undefined
  /** Other planes whose word counts here; paths are relative to this file. @see spec/federation.md */
  readonly federation: readonly FederatedPlane[]
  /** Origins of planes that artifacts and vouchers may be made for. */
  readonly federation_audiences: readonly string[]
}

type Secret = { readonly client_secret_file?: string | undefined }
export interface PeopleConfig {
  readonly lift_quorum: number
  readonly issuers: readonly (Omit<LoginIssuerConfig, 'client_secret'> & Secret)[]
}

/** One plane of the trust list, as it is configured. */
export interface FederatedPlane {
  readonly origin: string
  /** The verifier key of its log, or a file that holds it. */
  readonly key: string
  /** A tlog-policy file: which cosignatures its checkpoints need. */
  readonly witnesses: string
  readonly max_age_seconds: number
  readonly accepts: readonly ForeignKind[]
  readonly groups: Readonly<Record<string, string>>
  readonly scopes: readonly ForeignScope[]
}

/** As many as the plane takes; not imported from there, since gateways read this file too and load no plane. */
const MAX_SINKS = 8
const MAX_INTERVAL_MINUTES = 10_080
/** As long as a gate waits. */
const MAX_WAIT_SECONDS = 3_600
const place = z.string().min(1).max(1_024)

/** As many as the plane takes. */
const MAX_ISSUERS = 32
const MAX_RESOURCES = 64
const issuer = z
  .strictObject({
    issuer: place,
    audience: place,
    algorithms: z.array(z.enum(['EdDSA', 'Ed25519', 'ES256', 'RS256'])).min(1),
    jwks_uri: z.string().regex(/^(https:\/\/|http:\/\/(127\.0\.0\.1|\[::1\]|localhost)[:/])/, 'keys are fetched over https, or from loopback').max(1_024).optional(),
    jwks_file: place.optional(),
    resources: z.array(z.string().min(1).max(2_048)).max(MAX_RESOURCES).optional(),
    subject: place.optional(),
    agent: place.optional(),
    map: z.literal('github_actions').optional(),
  })
  .refine(({ jwks_uri, jwks_file }) => (jwks_uri === undefined) !== (jwks_file === undefined), 'takes either jwks_uri or jwks_file')
/** As many as the plane takes. */
const MAX_LOGIN_ISSUERS = 8
const address = z.string().regex(/^(https:\/\/|http:\/\/(127\.0\.0\.1|\[::1\]|localhost)[:/])/, 'takes an https address, or one on loopback').max(1_024)
const loginIssuer = z
  .strictObject({
    issuer: place,
    client_id: place,
    client_secret_file: place.optional(),
    authorization_endpoint: address,
    token_endpoint: address,
    algorithms: z.array(z.enum(['EdDSA', 'Ed25519', 'ES256', 'RS256'])).min(1),
    jwks_uri: address.optional(),
    jwks_file: place.optional(),
    role_claim: place,
    roles: z.record(z.string().min(1).max(256), z.enum(ROLES)).refine((roles) => Object.keys(roles).length > 0, 'give nobody a role, so nobody could log in'),
    name_claim: place.optional(),
  })
  .refine(({ jwks_uri, jwks_file }) => (jwks_uri === undefined) !== (jwks_file === undefined), 'takes either jwks_uri or jwks_file')
/** As `profiles.json` has them. */
const PROFILES = ['core', 'health', 'federal', 'defense'] as const
const profile = z.enum(PROFILES)
const trustDomain = z.strictObject({ name: z.string().regex(/^[a-z0-9._-]{1,255}$/), bundle: place, audience: place })
const distinct = <T>(list: readonly T[], name: (one: T) => string): boolean => new Set(list.map(name)).size === list.length

const shape = {
  owner: z.string().max(128).regex(/[\p{L}\p{N}]/u, 'names nobody').optional(),
  profile: z.union([profile.transform((name) => [name]), z.array(profile).min(1).max(PROFILES.length)], `takes one or more of ${PROFILES.join(', ')}`).default([]),
  policies: z.string().min(1).default('policies'),
  mode: z.enum(['enforce', 'shadow']).default('enforce'),
  receipt: z.enum(['before_reply', 'after_reply']).default('before_reply'),
  base: z.string().min(1).optional(),
  policy_max_age_days: z.number().int().min(1).max(36_500).optional(),
  log_entries: z.enum(['private', 'public']).default('private'),
  high_water: z.string().min(1).optional(),
  retention: z.strictObject({ bodies_days: z.number().int().min(1).max(36_500) }).optional(),
  approvals: z
    .strictObject({ wait_seconds: z.int().min(0).max(MAX_WAIT_SECONDS).default(0), webhook: z.strictObject({ url: place, secret_file: place, arguments: z.boolean().default(false) }).optional() })
    .optional(),
  environment: environmentShape,
  witnesses: z.string().min(1).optional(),
  witness_max_age_seconds: z.int().min(2).max(86_400).optional(),
  identity: z
    .strictObject({
      agents: z.enum(['named', 'registered']).default('named'),
      issuers: z.array(issuer).max(MAX_ISSUERS).default([]).refine((list) => distinct(list, (one) => one.issuer), 'an issuer is named twice'),
      trust_domains: z.array(trustDomain).max(MAX_ISSUERS).default([]).refine((list) => distinct(list, (one) => one.name), 'a trust domain is named twice'),
    })
    .optional(),
  people: z
    .strictObject({
      lift_quorum: z.int().min(1).max(16).default(1),
      issuers: z.array(loginIssuer).max(MAX_LOGIN_ISSUERS).default([]).refine((list) => distinct(list, (one) => one.issuer), 'an issuer is named twice'),
    })
    .optional(),
  federation: z
    .array(
      z.strictObject({
        origin: place,
        key: place,
        witnesses: place,
        max_age_seconds: z.int().min(1).max(MAX_FOREIGN_AGE_SECONDS).default(60),
        accepts: z.array(z.enum(['artifacts', 'approvals'])).min(1).refine((list) => distinct(list, (one) => one), 'a kind is named twice'),
        groups: z.record(z.string(), z.string()).default({}),
        scopes: z.array(z.strictObject({ type: z.enum(ACTION_TYPES), target: place, name: place.optional() })).max(MAX_FOREIGN_SCOPES).default([]),
      }),
    )
    .max(MAX_FOREIGN_PLANES)
    .default([]),
  federation_audiences: z.array(z.string().min(1).max(MAX_FOREIGN_ORIGIN).refine(isKeyName, 'the origin of a log')).max(MAX_FOREIGN_PLANES).default([]),
  anchors: z
    .array(z.discriminatedUnion('type', [z.strictObject({ type: z.literal('rfc3161'), url: place }), z.strictObject({ type: z.literal('file'), path: place }), z.strictObject({ type: z.literal('http'), url: place })]))
    .max(MAX_SINKS)
    .default([]),
  keys: z
    .strictObject({ checkpoints: z.enum(['ed25519', 'hybrid']).default('ed25519'), log: z.strictObject({ signer: place, next: place.optional() }).optional() })
    .optional(),
  anchor_interval_minutes: z.int().min(1).max(MAX_INTERVAL_MINUTES).default(60),
}
const MEMBERS = Object.keys(shape)
const configSchema: z.ZodType<Config> = z.strictObject(shape)

const MAX_CONFIG_BYTES = 65_536

/** Reads the configuration beside the plane's folder, or in that of a tenant; undefined when there is none. @throws {CliError} naming file and member */
export function readConfig({ config: file }: { readonly config: string }): { config: Config; file: string } | undefined {
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

/** The identity part with its paths made whole. */
export function identityConfig({ config, file }: NonNullable<ReturnType<typeof readConfig>>): IdentityConfig | undefined {
  const { identity } = config
  if (identity === undefined) return undefined
  const at = (name: string): string => path.resolve(path.dirname(file), name)
  return {
    ...identity,
    issuers: identity.issuers.map((one) => (one.jwks_file === undefined ? one : { ...one, jwks_file: at(one.jwks_file) })),
    trust_domains: identity.trust_domains.map((one) => ({ ...one, bundle: at(one.bundle) })),
  }
}

/** The issuers that people log in by, with their secrets read and their paths made whole. @throws {CliError} */
export function loginIssuers({ config, file }: NonNullable<ReturnType<typeof readConfig>>): readonly LoginIssuerConfig[] {
  const at = (name: string): string => path.resolve(path.dirname(file), name)
  return (config.people?.issuers ?? []).map(({ client_secret_file: secret, ...one }) => ({
    ...one,
    ...(one.jwks_file === undefined ? {} : { jwks_file: at(one.jwks_file) }),
    ...(secret === undefined ? {} : { client_secret: readSecret(at(secret)) }),
  }))
}

/** Where the plane of `folder` keeps its high-water mark. */
export function highWaterFile(folder: { readonly highWater: string }, config: ReturnType<typeof readConfig>): string {
  return config?.config.high_water === undefined ? folder.highWater : path.resolve(path.dirname(config.file), config.config.high_water)
}
