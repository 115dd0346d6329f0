import * as path from 'node:path'
import { type Check, CHECKS, isDenialCode, type JsonObject } from '@sealwrit/protocol'
import { z } from 'zod'
import { starterFolder } from '../local/folder.ts'
import { readJson } from '../read-json.ts'
import type { Change } from './change.ts'

export type Suite = 'plane' | 'profile' | 'gate' | 'client'

/** What a rule may expect in place of a refusal: the call runs, once. */
export const RUNS = 'runs'

/** One piece of text, and what stands in its place. */
type Rewriting = readonly [string, string]

/** What the runner, as the plane, does to its answer to a gate. */
export interface GateDo {
  /** Which answer it is done to. */
  readonly on: 'authorize' | 'gates.enrol' | 'leases.renew' | 'redeem'
  /** About `redeem`: the permit that was issued is another one before it is logged; what is presented to the gate is changed. */
  readonly issued?: Change | undefined
  readonly carried?: { readonly entry?: Change | undefined; readonly proof?: Change | undefined; readonly whole?: Change | undefined } | undefined
  /** The gate's question is another one before it is answered, truly. */
  readonly asked?: Change | undefined
  /** The entry is another one before it is logged: its seal is true. */
  readonly logged?: Change | undefined
  /** Its text is another one before it is logged. */
  readonly leaf?: Rewriting | undefined
  /** It is changed after it was sealed. */
  readonly entry?: Change | undefined
  readonly proof?: Change | undefined
  /** Who signs the changed checkpoint: the log, or somebody else of its name. Absent: nobody does. */
  readonly signed?: 'log' | 'stranger' | undefined
  /** The result, and the whole message. */
  readonly result?: Change | undefined
  readonly message?: Change | undefined
  /** The line as it leaves, or one in its place. */
  readonly line?: Rewriting | undefined
  readonly instead?: string | undefined
  /** What is longer than any line may be. */
  readonly long?: true | undefined
  readonly late_ms?: number | undefined
  readonly times?: number | undefined
  /** No answer comes, or the connection ends in its place. */
  readonly lost?: true | undefined
  readonly hangs_up?: true | undefined
  /** What cannot be said so. */
  readonly step?: string | undefined
  /** The call that the agent makes. */
  readonly call: { readonly tool: string; readonly arguments: JsonObject }
  /** Seconds that the permit gives between two renewals and in all. */
  readonly lasts?: { readonly lease: number; readonly most: number } | undefined
}

/** One request to a plane, and how it is made wrong. */
export interface PlaneDo {
  readonly ask: string
  /** Who asks: over a socket each has a connection of its own. */
  readonly as: 'gate' | 'other gate' | 'asker'
  /** What is signed is another text before it is signed, or signed by somebody else, or as another type. */
  readonly claims?: Change | undefined
  readonly signer?: 'gate' | 'other gate' | undefined
  readonly typ?: string | undefined
  /** The parameters are other ones. */
  readonly change?: Change | undefined
  readonly line?: Rewriting | undefined
  readonly http?: { readonly verb?: string | undefined; readonly path?: string | undefined; readonly headers?: Readonly<Record<string, string | null>> | undefined } | undefined
  readonly long?: true | undefined
  readonly batch?: true | undefined
  readonly step?: string | undefined
}

/** One request of a client to a gate over HTTP. */
export interface ClientDo {
  /** A method of MCP; a tool that is called is none that any server lists. */
  readonly ask: string
  readonly verb: string
  readonly headers?: Readonly<Record<string, string | null>> | undefined
  readonly message?: Change | undefined
  readonly line?: Rewriting | undefined
  readonly long?: true | undefined
  readonly batch?: true | undefined
}

interface Any {
  readonly id: string
  readonly check: Check
  /** Page and section of the specification. */
  readonly spec: string
  /** What has to hold, one sentence. */
  readonly says: string
  /** Codes of which one must come, or {@link RUNS}. */
  readonly expect: readonly string[]
}
export type GateRule = Any & { readonly suite: 'gate'; readonly do: GateDo }
export type PlaneRule = Any & { readonly suite: 'plane'; readonly do: PlaneDo; readonly over?: 'http' | 'socket' | undefined }
export type ClientRule = Any & { readonly suite: 'client'; readonly do: ClientDo }
/** What a plane under one of these profiles, or one that extends it, shows. */
export type ProfileRule = Any & { readonly suite: 'profile'; readonly do: { readonly step: string }; readonly profile: readonly string[]; readonly over?: 'http' | 'socket' | undefined }
export type Rule = GateRule | PlaneRule | ClientRule | ProfileRule

const pointer = z.string().regex(/^\/.+/)
const object = z.record(z.string(), z.json()) as unknown as z.ZodType<JsonObject>
const change = z.strictObject({ set: z.record(pointer, z.json()).optional(), drop: z.array(pointer).optional(), add: z.record(pointer, z.int()).optional(), flip: z.record(pointer, z.int()).optional() }) as unknown as z.ZodType<Change>
const rewriting = z.tuple([z.string(), z.string()])
const headers = z.record(z.string(), z.union([z.string(), z.null()]))
const yes = z.literal(true)

const gateDo = z.strictObject({
  on: z.enum(['authorize', 'gates.enrol', 'leases.renew', 'redeem']).default('authorize'),
  issued: change.optional(), carried: z.strictObject({ entry: change.optional(), proof: change.optional(), whole: change.optional() }).optional(), asked: change.optional(), logged: change.optional(), leaf: rewriting.optional(), entry: change.optional(), proof: change.optional(), signed: z.enum(['log', 'stranger']).optional(), result: change.optional(), message: change.optional(),
  line: rewriting.optional(), instead: z.string().optional(), long: yes.optional(), late_ms: z.int().optional(), times: z.int().optional(), lost: yes.optional(), hangs_up: yes.optional(), step: z.string().optional(),
  call: z.strictObject({ tool: z.string().default('touch'), arguments: object.default({}) }).default({ tool: 'touch', arguments: {} }),
  lasts: z.strictObject({ lease: z.int(), most: z.int() }).optional(),
})
const planeDo = z.strictObject({
  ask: z.string(), as: z.enum(['gate', 'other gate', 'asker']).default('gate'), claims: change.optional(), signer: z.enum(['gate', 'other gate']).optional(), typ: z.string().optional(), change: change.optional(), line: rewriting.optional(),
  http: z.strictObject({ verb: z.string().optional(), path: z.string().optional(), headers: headers.optional() }).optional(), long: yes.optional(), batch: yes.optional(), step: z.string().optional(),
})
const clientDo = z.strictObject({ ask: z.string().default('tools/list'), verb: z.string().default('POST'), headers: headers.optional(), message: change.optional(), line: rewriting.optional(), long: yes.optional(), batch: yes.optional() })

const shared = {
  id: z.string().regex(/^[a-z-]+(\.[a-z0-9-]+)+$/),
  check: z.enum(CHECKS),
  spec: z.string().regex(/^[a-z-]+\.md(#[a-z0-9-]+)?$/),
  says: z.string(),
  expect: z.union([z.string(), z.array(z.string()).min(1)]).transform((one) => (typeof one === 'string' ? [one] : one)),
}
const file = z.strictObject({
  v: z.literal(1),
  rules: z.array(z.discriminatedUnion('suite', [
    z.strictObject({ ...shared, suite: z.literal('gate'), do: gateDo }),
    z.strictObject({ ...shared, suite: z.literal('plane'), do: planeDo, over: z.enum(['http', 'socket']).optional() }),
    z.strictObject({ ...shared, suite: z.literal('client'), do: clientDo }),
    z.strictObject({ ...shared, suite: z.literal('profile'), do: z.strictObject({ step: z.string() }), profile: z.array(z.string()).min(1), over: z.enum(['http', 'socket']).optional() }),
  ])),
})

/** The file that comes with the program; the one of the specification is the same. */
export const rulesFile: string = path.join(starterFolder, 'conformance.json')

/** Every rule, in the order in which they are tried. @throws {Error} where the file that comes with the program is none */
export function readRules(): readonly Rule[] {
  const { rules } = file.parse(readJson(rulesFile))
  for (const { id, expect } of rules) for (const one of expect) if (one !== RUNS && !isDenialCode(one)) throw new TypeError(`${id}: ${one} is no code`)
  return rules
}
