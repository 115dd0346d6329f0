import { Denied } from './denial.ts'
import { type Digest, isDigest } from './digest.ts'
import { Fields } from './json/fields.ts'
import { isObject, type JsonObject, type JsonValue } from './json/value.ts'
import { ENVIRONMENT_LEVELS, type EnvironmentLevel } from './log/entries.ts'
import { present } from './json/present.ts'

/** What need not be there: each is a member of the document, or named in its `absent`. */
export const OPTIONAL_FACTS = ['cgroup', 'git', 'image', 'lock', 'script', 'uid'] as const
export type OptionalFact = (typeof OPTIONAL_FACTS)[number]

/** Why a fact is not told: there is no such thing, this machine does not say, or what was found is not to be believed. */
export const ABSENCES = ['none', 'not_told', 'unreadable', 'malformed', 'too_large', 'too_slow'] as const
export type Absence = (typeof ABSENCES)[number]

/** Arguments of a server command, and the longest text among them, in UTF-16 units. */
const MAX_ARGS = 1_000
const MAX_TEXT = 16_384
/** Longest reference name, kernel release or other short text. */
const MAX_SHORT = 512

/** What a gate measured of the MCP server that it starts: the body behind `env.commit`. @see spec/environment.md */
export interface EnvironmentDocument {
  readonly kind: 'mcp.server'
  readonly absent: Readonly<Partial<Record<OptionalFact, Absence>>>
  readonly arch: string
  readonly args: readonly string[]
  /** The control groups of the gate, which those of its server are; hashed, since the names can be long. */
  readonly cgroup?: Digest
  readonly cwd: string
  readonly cwd_inode: string
  readonly executable: { readonly digest: Digest; readonly path: string }
  readonly gate_version: string
  /** What HEAD names in the folder of the program. Whether the files are those of the commit is not told. */
  readonly git?: { readonly commit: string; readonly ref?: string }
  /** Opaque: a digest of the host's name. */
  readonly host: Digest
  /** As the orchestrator that started the container says it. */
  readonly image?: { readonly digest: Digest; readonly from: 'file' | 'variable' }
  readonly kernel: string
  readonly lock?: { readonly digest: Digest; readonly path: string }
  readonly os: string
  readonly script?: { readonly digest: Digest; readonly path: string }
  readonly uid?: number
}

/** What policies may read of an environment as `context.environment`, beside `level`; what is absent is absent. */
export interface EnvironmentFacts {
  readonly arch?: string
  readonly cgroup?: string
  readonly executable_digest?: Digest
  readonly gate_version?: string
  readonly git_commit?: string
  readonly git_ref?: string
  readonly host?: string
  readonly image_digest?: Digest
  readonly kernel?: string
  readonly lock_digest?: Digest
  readonly os?: string
  readonly script_digest?: Digest
  /** Digest of all tool definitions that the log has recorded for the target of the action: the plane's own knowledge. */
  readonly tools_digest?: Digest
  readonly uid?: number
}
export type EnvironmentFact = keyof EnvironmentFacts

/** Every fact with its type; what is no digest, commit or number is text. */
export const ENVIRONMENT_FACTS: Readonly<Record<EnvironmentFact, 'digest' | 'commit' | 'text' | 'integer'>> = {
  arch: 'text',
  cgroup: 'digest',
  executable_digest: 'digest',
  gate_version: 'text',
  git_commit: 'commit',
  git_ref: 'text',
  host: 'digest',
  image_digest: 'digest',
  kernel: 'text',
  lock_digest: 'digest',
  os: 'text',
  script_digest: 'digest',
  tools_digest: 'digest',
  uid: 'integer',
}
const FACT_NAMES = Object.keys(ENVIRONMENT_FACTS) as readonly EnvironmentFact[]

export function isEnvironmentFact(name: string): name is EnvironmentFact {
  return Object.hasOwn(ENVIRONMENT_FACTS, name)
}

/** A git commit: SHA-1 or SHA-256, in lowercase hex. */
export function isCommit(text: string): boolean {
  return (text.length === 40 || text.length === 64) && /^[0-9a-f]+$/.test(text)
}

/**
 * Reads the document of an enrolment. One without `kind` says nothing, and no fact reaches policy; any other is closed.
 * @throws {Denied} `request_malformed`
 */
export function parseEnvironmentDocument(document: JsonObject): EnvironmentDocument | undefined {
  if (!('kind' in document)) return undefined
  const fields = new Fields(document, 'request_malformed', 'environment')
  const read = present<EnvironmentDocument>({
    kind: fields.literal('kind', 'mcp.server'),
    absent: readAbsent(fields.object('absent'), document),
    arch: fields.text('arch', MAX_SHORT),
    args: fields.strings('args', MAX_ARGS, MAX_TEXT),
    cgroup: fields.optional('cgroup', (name) => fields.digest(name)),
    cwd: fields.text('cwd', MAX_TEXT),
    cwd_inode: fields.text('cwd_inode', MAX_SHORT),
    executable: readFile(fields.object('executable')),
    gate_version: fields.text('gate_version', MAX_SHORT),
    git: fields.optional('git', (name) => readGit(fields.object(name))),
    host: fields.digest('host'),
    image: fields.optional('image', (name) => readImage(fields.object(name))),
    kernel: fields.text('kernel', MAX_SHORT),
    lock: fields.optional('lock', (name) => readFile(fields.object(name))),
    os: fields.text('os', MAX_SHORT),
    script: fields.optional('script', (name) => readFile(fields.object(name))),
    uid: fields.optional('uid', (name) => fields.integer(name)),
  })
  fields.end()
  return read
}

/** Each optional fact is there, or named as absent with its reason: never both, never neither. */
function readAbsent(fields: Fields, document: JsonObject): EnvironmentDocument['absent'] {
  const absent: Partial<Record<OptionalFact, Absence>> = {}
  for (const fact of OPTIONAL_FACTS) {
    if (fields.has(fact)) absent[fact] = fields.oneOf(fact, ABSENCES)
    if ((absent[fact] === undefined) !== fact in document) throw new Denied('request_malformed', `environment: ${fact} is neither told nor absent, or both`)
  }
  fields.end()
  return absent
}

function readFile(fields: Fields): { digest: Digest; path: string } {
  const file = { digest: fields.digest('digest'), path: fields.text('path', MAX_TEXT) }
  fields.end()
  return file
}

function readGit(fields: Fields): { commit: string; ref?: string } {
  const git = present<{ commit: string; ref?: string }>({ commit: readCommit(fields, 'commit'), ref: fields.optional('ref', (name) => fields.text(name, MAX_SHORT)) })
  fields.end()
  return git
}

function readCommit(fields: Fields, name: string): string {
  const commit = fields.text(name, 64)
  if (!isCommit(commit)) throw new Denied('request_malformed', 'environment: git commit')
  return commit
}

function readImage(fields: Fields): { digest: Digest; from: 'file' | 'variable' } {
  const image = { digest: fields.digest('digest'), from: fields.oneOf('from', ['file', 'variable'] as const) }
  fields.end()
  return image
}

/** What policies see of a document. */
export function factsOf(document: EnvironmentDocument | undefined): EnvironmentFacts {
  if (document === undefined) return {}
  const { arch, cgroup, executable, gate_version, git, host, image, kernel, lock, os, script, uid } = document
  return present<EnvironmentFacts>({
    arch, cgroup, executable_digest: executable.digest, gate_version, git_commit: git?.commit, git_ref: git?.ref, host, image_digest: image?.digest,
    kernel, lock_digest: lock?.digest, os, script_digest: script?.digest, uid, tools_digest: undefined,
  })
}

/** Reads facts where they are given by name: recorded inputs, tests of policies, dry runs. @throws {Denied} `request_malformed` */
function parseEnvironmentFacts(fields: Fields): EnvironmentFacts {
  const facts: Record<string, JsonValue> = {}
  for (const name of FACT_NAMES) {
    if (!fields.has(name)) continue
    const kind = ENVIRONMENT_FACTS[name]
    if (kind === 'integer') facts[name] = fields.integer(name)
    else if (kind === 'digest') facts[name] = fields.digest(name)
    else facts[name] = kind === 'commit' ? readCommit(fields, name) : fields.text(name, MAX_SHORT)
  }
  return facts as EnvironmentFacts
}

/** As {@link parseLevelAndFacts}, where something is only supposed. @throws {Denied} `request_malformed` */
export function parseSupposed(fields: Fields): { readonly level: EnvironmentLevel } & EnvironmentFacts {
  const level = fields.optional('level', (name) => fields.oneOf<EnvironmentLevel>(name, ENVIRONMENT_LEVELS)) ?? 'software'
  const environment = { level, ...parseEnvironmentFacts(fields) }
  fields.end()
  return environment
}

/** Level and facts of a closed object. @throws {Denied} `request_malformed` */
export function parseLevelAndFacts(fields: Fields): { readonly level: EnvironmentLevel } & EnvironmentFacts {
  const environment = { level: fields.oneOf<EnvironmentLevel>('level', ENVIRONMENT_LEVELS), ...parseEnvironmentFacts(fields) }
  fields.end()
  return environment
}

/** Whether `digest` is that of a program, lock or image that was measured. */
export function measuredDigests(document: JsonValue): readonly Digest[] {
  const facts = isObject(document) ? factsOf(parseEnvironmentDocument(document)) : {}
  return [facts.executable_digest, facts.script_digest, facts.lock_digest, facts.image_digest].filter(isDigest)
}
