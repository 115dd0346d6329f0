import { type Action, parseAction } from './action.ts'
import type { SealedEntry } from './artifact/seal.ts'
import { Denied, type DenialCode, DENIALS, isDenialCode } from './denial.ts'
import type { Digest } from './digest.ts'
import { fromBase64 } from './encoding.ts'
import { MAX_TOOL_DEFINITION } from './govern/tool.ts'
import { type Identity, parseIdentity } from './identity.ts'
import { type Declared, readDeclared } from './intent.ts'
import { Fields } from './json/fields.ts'
import { parseStrict } from './json/parse.ts'
import { isObject, type JsonLimits, type JsonObject, type JsonValue, MAX_DEPTH } from './json/value.ts'
import { type Delegation, parseDelegation } from './lineage/delegation.ts'
import { type ParentRef, parseParentRef } from './lineage/lineage.ts'
import { ENVIRONMENT_LEVELS, type EnvironmentLevel, MAX_JWS, MAX_RENEWED } from './log/entries.ts'
import { present } from './json/present.ts'
import { HASH_BYTES, MAX_PROOF_HASHES } from './log/merkle.ts'
import { MAX_PROOF_LENGTH } from './log/proof.ts'
import { parseTraceparent } from './traceparent.ts'

/** One line between gate and plane, in bytes: an action of 1 MiB and what surrounds it. */
export const MAX_WIRE_LINE = 2_097_152
export const WIRE_LIMITS: JsonLimits = Object.freeze({ maxBytes: MAX_WIRE_LINE, maxDepth: MAX_DEPTH, maxMembers: 50_000 })

/** What the gate found out about the arguments by looking at the machine; policy sees it as `context.facts`. */
export interface Facts {
  /** Where every path argument leads, links resolved, against the roots of the measured server command. */
  readonly paths: 'none' | 'inside' | 'outside' | 'unresolved'
}
const PATH_FACTS: readonly Facts['paths'][] = ['none', 'inside', 'outside', 'unresolved']

/** Who acts: the name that `--agent` gave, or what a client calls itself. */
export interface Agent {
  readonly name: string
  readonly verified: boolean
}

export interface AuthorizeRequest extends Declared {
  readonly session: string
  readonly challenge: string
  readonly action: Action
  readonly agent: Agent
  /** Commitment of the environment that the session registered. */
  readonly environment: Digest
  readonly facts: Facts
  /** The hold that this very request waits for. */
  readonly hold?: string
  /** The permit below which it is asked for. */
  readonly parent?: ParentRef
  /** What others shall be able to ask for below it. */
  readonly delegates?: Delegation
  /** Who asks, where it is asserted. */
  readonly identity?: Identity
  /** What it descends from at another plane, as it was shown; its verifier reads it. @see spec/federation.md */
  readonly foreign?: JsonValue
  /** The gate was started to run also what policy denies, where the plane observes. */
  readonly observe?: true
  /** What the gate's trace is doing meanwhile; never logged, never decided on. */
  readonly traceparent?: string
}

export interface EnrolRequest {
  /** Public key of the gate, base64url of 32 bytes. */
  readonly key: string
  readonly session: string
  /** The gate's signature over log, session and a nonce that the plane gave: a gate can only speak for itself. */
  readonly proof: string
  readonly environment: { readonly commit: Digest; readonly level: EnvironmentLevel; readonly salt: string; readonly document: JsonObject; readonly attestation?: JsonObject }
  /** `anchorDigest` of the log key that it was given. */
  readonly anchor?: Digest
  /** Size of the newest tree that the gate has verified. */
  readonly floor?: number
  /** The newest checkpoint that it has verified, as it was signed: what shows a plane that its store is an older one. */
  readonly checkpoint?: string
}

export interface ReceiptRequest {
  readonly session: string
  readonly receipt: string
  /** Salt and digest behind the result commitment. */
  readonly result?: { readonly salt: string; readonly digest: Digest }
}

export interface DenialRequest {
  readonly session: string
  readonly denial: string
  /** Signed denials that overflowed the gate's queue since the last report. */
  readonly lost?: number
}

/** A tool as a gate saw it. */
export interface SeenTool {
  readonly name: string
  readonly digest: Digest
  /** Its canonical definition, the text behind the digest; without it nobody can be shown what they pin. */
  readonly definition?: string
}
/** A tool with the definition that is pinned, where one is. */
export interface PinnedTool {
  readonly name: string
  readonly pinned?: Digest
}
export interface ToolsRequest {
  readonly session: string
  readonly target: string
  readonly tools: readonly SeenTool[]
}
/** Tools that one server may list. */
export const MAX_TOOLS = 1_000

/** What the plane answers to `authorize`. */
export type AuthorizeReply =
  | { readonly decision: 'permit'; readonly sealed: SealedEntry; readonly consistency: readonly string[]; /** Where it was asked for; never by a gate. */ readonly jws?: string }
  | { readonly decision: 'deny'; readonly code: DenialCode; readonly seq: number }
  | { readonly decision: 'hold'; readonly hold: string; readonly seq: number }

export function parseAuthorizeRequest(value: JsonValue): AuthorizeRequest {
  const fields = new Fields(value, 'request_malformed', 'authorize')
  const request = present<AuthorizeRequest>({
    session: fields.token('session'),
    challenge: fields.token('challenge'),
    action: parseAction(fields.value('action')),
    agent: parseAgent(fields.object('agent')),
    environment: fields.digest('environment'),
    facts: parseFacts(fields.object('facts')),
    hold: fields.optional('hold', (name) => fields.token(name)),
    ...parseLineage(fields),
    identity: fields.optional('identity', (name) => parseIdentity(fields.object(name))),
    foreign: fields.optional('foreign', (name) => fields.value(name)),
    observe: fields.optional('observe', (name) => fields.literal(name, true)),
    traceparent: fields.optional('traceparent', (name) => readTraceparent(fields.text(name, 55))),
    ...readDeclared(fields),
  })
  fields.end()
  return request
}

/** Reads the members that place a request in a lineage. */
export function parseLineage(fields: Fields): { readonly parent: ParentRef | undefined; readonly delegates: Delegation | undefined } {
  return {
    parent: fields.optional('parent', (name) => parseParentRef(fields.object(name))),
    delegates: fields.optional('delegates', (name) => parseDelegation(fields.object(name))),
  }
}

function readTraceparent(text: string): string {
  if (parseTraceparent(text) === undefined) throw new Denied('request_malformed', 'authorize: traceparent')
  return text
}

export function parseAgent(fields: Fields): Agent {
  const agent = { name: fields.text('name', 128), verified: fields.boolean('verified') }
  fields.end()
  return agent
}

export function parseFacts(fields: Fields): Facts {
  const facts = { paths: fields.oneOf('paths', PATH_FACTS) }
  fields.end()
  return facts
}

export function parseEnrolRequest(value: JsonValue): EnrolRequest {
  const fields = new Fields(value, 'request_malformed', 'enrol')
  const env = fields.object('environment')
  const document = env.value('document')
  if (!isObject(document)) throw new Denied('request_malformed', 'enrol: environment document')
  const request = present<EnrolRequest>({
    key: fields.text('key', 43),
    session: fields.token('session'),
    proof: fields.text('proof', MAX_JWS),
    environment: present<EnrolRequest['environment']>({ commit: env.digest('commit'), level: env.oneOf('level', ENVIRONMENT_LEVELS), salt: env.token('salt'), document, attestation: env.optional('attestation', (name) => readObject(env.value(name))) }),
    anchor: fields.optional('anchor', (name) => fields.digest(name)),
    floor: fields.optional('floor', (name) => fields.integer(name)),
    checkpoint: fields.optional('checkpoint', (name) => fields.text(name, MAX_PROOF_LENGTH)),
  })
  env.end()
  fields.end()
  return request
}

function readObject(value: JsonValue): JsonObject {
  if (!isObject(value)) throw new Denied('request_malformed', 'enrol: attestation')
  return value
}

export function parseReceiptRequest(value: JsonValue): ReceiptRequest {
  const fields = new Fields(value, 'request_malformed', 'receipts')
  const request = present<ReceiptRequest>({
    session: fields.token('session'),
    receipt: fields.text('receipt', MAX_JWS),
    result: fields.optional('result', (name) => {
      const result = fields.object(name)
      const out = { salt: result.token('salt'), digest: result.digest('digest') }
      result.end()
      return out
    }),
  })
  fields.end()
  return request
}

export function parseDenialRequest(value: JsonValue): DenialRequest {
  const fields = new Fields(value, 'request_malformed', 'denials')
  const request = present<DenialRequest>({
    session: fields.token('session'),
    denial: fields.text('denial', MAX_JWS),
    lost: fields.optional('lost', (name) => fields.integer(name)),
  })
  fields.end()
  return request
}

export function parseToolsRequest(value: JsonValue): ToolsRequest {
  const fields = new Fields(value, 'request_malformed', 'tools')
  const session = fields.token('session')
  const target = fields.text('target')
  const tools = readTools(fields, (tool) => present<SeenTool>({ name: tool.text('name'), digest: tool.digest('digest'), definition: tool.optional('definition', (name) => tool.text(name, MAX_TOOL_DEFINITION)) }))
  fields.end()
  return { session, target, tools }
}

/** Reads the plane's answer to `tools.record`. */
export function parsePinnedTools(value: JsonValue): readonly PinnedTool[] {
  const fields = new Fields(value, 'request_malformed', 'tools')
  const tools = readTools(fields, (tool) => present<PinnedTool>({ name: tool.text('name'), pinned: tool.optional('pinned', (name) => tool.digest(name)) }))
  fields.end()
  return tools
}

/** Reads the member `tools`, each by `read`. @throws {Denied} `request_malformed`, `limit_exceeded` */
export function readTools<T>(fields: Fields, read: (tool: Fields) => T): readonly T[] {
  const list = fields.value('tools')
  if (!Array.isArray(list)) throw new Denied('request_malformed', 'tools is not a list')
  if (list.length > MAX_TOOLS) throw new Denied('limit_exceeded', `more than ${MAX_TOOLS} tools`)
  return list.map((item: JsonValue) => {
    const tool = new Fields(item, 'request_malformed', 'tool')
    const out = read(tool)
    tool.end()
    return out
  })
}

/** Reads the plane's answer to `authorize`. The sealed artifact stays a parsed value: its verifier reads it. */
export function parseAuthorizeReply(value: JsonValue):
  | { readonly decision: 'permit'; readonly sealed: JsonValue; readonly consistency: readonly Uint8Array[] }
  | { readonly decision: 'deny'; readonly code: DenialCode; readonly seq: number }
  | { readonly decision: 'hold'; readonly hold: string; readonly seq: number } {
  const fields = new Fields(value, 'request_malformed', 'reply')
  const decision = fields.oneOf('decision', ['permit', 'deny', 'hold'])
  switch (decision) {
    case 'permit': {
      const reply = { decision, sealed: fields.value('sealed'), consistency: parseHashes(fields, 'consistency') } as const
      fields.end()
      return reply
    }
    case 'deny': {
      const code = fields.value('code')
      if (!isDenialCode(code)) throw new Denied('request_malformed', 'reply: unknown code')
      const reply = { decision, code, seq: fields.integer('seq') } as const
      fields.end()
      return reply
    }
    case 'hold': {
      const reply = { decision, hold: fields.token('hold'), seq: fields.integer('seq') } as const
      fields.end()
      return reply
    }
  }
}

export function parseHashes(fields: Fields, name: string): Uint8Array[] {
  return fields.strings(name, MAX_PROOF_HASHES, 44).map((text) => {
    const hash = fromBase64(text)
    if (hash.length !== HASH_BYTES) throw new Denied('request_malformed', 'hash length')
    return hash
  })
}

/** Asks to go on with executions of one gate session; the nonce is fresh for each time. */
export interface RenewRequest {
  readonly session: string
  readonly nonce: string
  readonly jtis: readonly string[]
}
export interface RenewReply {
  readonly sealed: SealedEntry
  readonly consistency: readonly string[]
}

export function parseRenewRequest(value: JsonValue): RenewRequest {
  const fields = new Fields(value, 'request_malformed', 'leases.renew')
  const request = { session: fields.token('session'), nonce: fields.token('nonce'), jtis: fields.tokens('jtis', MAX_RENEWED) }
  fields.end()
  return request
}

/** A sealed entry with the proof from what was shown before: an event, or the answer to a renewal. */
export function parseShownEntry(value: JsonValue): { readonly sealed: JsonValue; readonly consistency: readonly Uint8Array[] } {
  const fields = new Fields(value, 'request_malformed', 'sealed entry')
  const shown = { sealed: fields.value('sealed'), consistency: parseHashes(fields, 'consistency') }
  fields.end()
  return shown
}

/** A JSON-RPC 2.0 request line. @see https://www.jsonrpc.org/specification */
export interface RpcRequest {
  readonly id: number
  readonly method: string
  readonly params: JsonValue
}

/** @throws {Denied} `request_malformed` and the codes of the strict parser */
export function parseRpcRequest(line: Uint8Array): RpcRequest {
  const fields = new Fields(parseStrict(line, WIRE_LIMITS), 'request_malformed', 'request')
  fields.literal('jsonrpc', '2.0')
  const request = { id: fields.integer('id'), method: fields.text('method', 64), params: fields.value('params') }
  fields.end()
  return request
}

/** An answer line: its id with the result, or the denial it carries; or what the plane tells unasked. */
export function parseRpcReply(line: Uint8Array): { id: number; result: JsonValue | Denied } | { event: JsonValue } {
  const fields = new Fields(parseStrict(line, WIRE_LIMITS), 'request_malformed', 'answer')
  fields.literal('jsonrpc', '2.0')
  if (fields.has('method')) {
    fields.literal('method', 'event')
    const event = fields.value('params')
    fields.end()
    return { event }
  }
  const id = fields.integer('id')
  if (!fields.has('error')) {
    const result = fields.value('result')
    fields.end()
    return { id, result }
  }
  const error = fields.value('error')
  fields.end()
  const data = isObject(error) ? error['data'] : undefined
  const code = isObject(data) ? data['code'] : undefined
  return { id, result: new Denied(isDenialCode(code) ? code : 'unavailable', 'the plane refused') }
}

/** The error object of a JSON-RPC answer: code and fixed hint outside, never the cause (ATK-123). */
export function rpcError(code: DenialCode): { code: number; message: string; data: { code: DenialCode; hint: string } } {
  const { jsonRpc, meaning, hint } = DENIALS[code]
  return { code: jsonRpc, message: meaning, data: { code, hint } }
}
