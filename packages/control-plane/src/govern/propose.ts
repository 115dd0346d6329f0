import { isObject, type JsonObject, type JsonValue, type Sha256 } from '@sealwrit/protocol'
import { parseCases, type PolicyCase } from '../decide/cases.ts'
import { decide } from '../decide/decide.ts'
import { PolicyEngine } from '../decide/engine.ts'
import { loadPolicySet, PolicyError, SCHEMA_FILE } from '../decide/policy-set.ts'

/** Tools of one proposal. */
export const MAX_PROPOSED = 1_000
/** Names that policies may hold; what else a server lists is never shown to agents. */
const TOOL_NAME = /^[A-Za-z0-9_.-]{1,128}$/

/** What a server says a tool does. It is said by whoever would be held to it, so it sorts a list for people and decides nothing (ATK-090). */
export const CLAIMS = ['read_only', 'changes', 'destructive', 'nothing'] as const
export type Claim = (typeof CLAIMS)[number]
const CLAIM_TEXTS: Readonly<Record<Claim, string>> = {
  read_only: 'The server says of these that they only read:',
  changes: 'The server says of these that they change things, and destroy nothing:',
  destructive: 'The server says of these that they may destroy:',
  nothing: 'The server says nothing about these, so they may do anything:',
}

export interface ProposedTool {
  readonly name: string
  readonly claim: Claim
}

/** A starting policy for one server. */
export interface Proposal {
  /** The text of `FILE`; without a policy in it while nothing is chosen. */
  readonly text: string
  readonly file: string
  /** Cases as a `*.test.yaml` holds them. */
  readonly cases: readonly JsonObject[]
  readonly tools: readonly ProposedTool[]
  /** Tools whose names no policy can hold. */
  readonly skipped: number
  /** Where the policies that are there already decide otherwise than the proposal says. */
  readonly notes: readonly string[]
}

export interface Proposing {
  /** Name of the server: its target is `mcp://NAME`. */
  readonly server: string
  /** Definitions as the server listed them. */
  readonly definitions: readonly JsonValue[]
  /** Names that a person chose; nothing else is permitted. */
  readonly chosen: readonly string[]
  /** The registered agent that they are for; everybody where it is undefined. */
  readonly agent?: string | undefined
}

/**
 * Writes a policy that permits the chosen tools and names all others in a comment, sorted by what the server claims. Nothing of
 * a definition gets into the text but names of a closed grammar. It is loaded beside the policies that are there, and its cases
 * say what both together decide.
 * @param beside the files of the policy set that it would be added to, with their schema
 * @throws {PolicyError} when a chosen tool is not listed, there is too much, or the text cannot be loaded
 */
export function proposePolicy(proposing: Proposing, beside: Readonly<Record<string, string>>, sha256: Sha256): Proposal {
  const { server, definitions, chosen, agent } = proposing
  if (definitions.length > MAX_PROPOSED) throw new PolicyError(`more than ${MAX_PROPOSED} tools`)
  const all = definitions.map((definition) => ({ name: isObject(definition) ? definition['name'] : undefined, claim: claimOf(definition) }))
  const tools = all.filter((tool): tool is ProposedTool => typeof tool.name === 'string' && TOOL_NAME.test(tool.name)).sort((a, b) => (a.name < b.name ? -1 : 1))
  const missing = chosen.find((name) => !tools.some((tool) => tool.name === name))
  if (missing !== undefined) throw new PolicyError(`the server lists no tool \`${missing.slice(0, 128)}\``)
  const permitted = tools.filter(({ name }) => chosen.includes(name)).map(({ name }) => name)
  const file = `${fileName(server)}.cedar`
  const text = policyText(server, tools, permitted, agent)
  const proposal = { text, file, tools, skipped: all.length - tools.length }
  if (permitted.length === 0) return { ...proposal, cases: [], notes: [] }
  const alone = { [SCHEMA_FILE]: beside[SCHEMA_FILE] as string, [file]: text }
  const held = decided(alone, casesFor(server, tools, permitted, agent), sha256).find(({ wanted, decision }) => wanted !== decision)
  if (held !== undefined) throw new PolicyError(`the proposal does not hold: ${held.name}: ${held.decision}`)
  const together = decided({ ...beside, [file]: text }, casesFor(server, tools, permitted, agent), sha256)
  const notes = together.filter(({ wanted, decision }) => (wanted === 'permit') !== (decision === 'permit')).map(({ about, decision, by }) => `${about}: ${decision === 'permit' ? `permitted already, by ${by}` : `${decision} all the same, by ${by}`}`)
  return { ...proposal, cases: together.map(({ name, decision, given }) => ({ name: `${name}: ${decision === 'permit' ? 'permitted' : 'not permitted'}`, ...given, expect: decision })), notes }
}

interface Case {
  /** The tool, and what is special. */
  readonly name: string
  readonly about: string
  readonly given: JsonObject
  readonly wanted: 'permit' | 'policy_no_match'
}

/** What a set decides about cases. @throws {PolicyError} */
function decided(files: Readonly<Record<string, string>>, cases: readonly Case[], sha256: Sha256): readonly (Case & { readonly decision: string; readonly by: string })[] {
  const engine = new PolicyEngine(loadPolicySet(files, sha256))
  const parsed = parseCases(cases.map(({ name, given, wanted }) => ({ name, ...given, expect: wanted })), 'proposal')
  return cases.map((one, i) => {
    const decision = decide((parsed[i] as PolicyCase).input, { engine, epoch: 0 })
    return { ...one, decision: decision.kind === 'deny' ? decision.code : decision.kind, by: decision.policy.determining.join(', ') || 'no policy' }
  })
}

/** MCP's defaults where a hint is absent: not read-only, and destructive. */
function claimOf(definition: JsonValue): Claim {
  const hints = isObject(definition) ? definition['annotations'] : undefined
  if (!isObject(hints)) return 'nothing'
  if (hints['readOnlyHint'] === true) return 'read_only'
  if (hints['destructiveHint'] === false) return 'changes'
  return hints['destructiveHint'] === true ? 'destructive' : 'nothing'
}

function policyText(server: string, tools: readonly ProposedTool[], permitted: readonly string[], agent: string | undefined): string {
  const list = (names: readonly string[]): string => names.map((name) => `    ${JSON.stringify(name)},\n`).join('')
  const policy = [
    `@id("imported")`,
    'permit (',
    `  principal${agent === undefined ? '' : ` == Agent::${JSON.stringify(agent)}`},`,
    '  action == Action::"mcp.tool_call",',
    `  resource in Server::${JSON.stringify(`mcp://${server}`)}`,
    ')',
    'when {',
    ...(agent === undefined ? [] : ['  principal.verified &&']),
    '  ["inside", "none"].contains(context.facts.paths) &&',
    '  [',
    ...(permitted.length === 0 ? ['    "NAME",'] : list(permitted).trimEnd().split('\n')),
    '  ].contains(resource.name)',
    '};',
  ]
  const others = CLAIMS.flatMap((claim) => {
    const names = tools.filter((tool) => tool.claim === claim && !permitted.includes(tool.name)).map(({ name }) => name)
    return names.length === 0 ? [] : [`// ${CLAIM_TEXTS[claim]}`, ...names.map((name) => `//   ${name}`)]
  })
  return [
    `// Tools of the server ${server}, as it listed them. What it says of them is a claim, and nobody checked it.`,
    ...(permitted.length === 0 ? ['// Nothing is permitted: name the tools that you want, and take the slashes away.', ...policy.map((one) => `// ${one}`)] : ['// Permitted is what a person chose, where every path stays inside the folders that the server was started with.', ...policy]),
    ...(others.length === 0 ? [] : ['', '// Not permitted.', ...others]),
    '',
  ].join('\n')
}

function casesFor(server: string, tools: readonly ProposedTool[], permitted: readonly string[], agent: string | undefined): readonly Case[] {
  const one = (name: string, wanted: Case['wanted'], special = '', more: JsonObject = {}, target = server): Case => ({
    name: `${name}${special}`,
    about: `${target}/${name}${special}`,
    given: { ...(agent === undefined ? {} : { agent, verified: true }), action: { type: 'mcp.tool_call', target: `mcp://${target}`, name, arguments: {} }, ...more },
    wanted,
  })
  const first = permitted[0] as string
  return [
    ...tools.map(({ name }) => one(name, permitted.includes(name) ? 'permit' : 'policy_no_match')),
    one(first, 'policy_no_match', ' outside', { facts: { paths: 'outside' } }),
    one(first, 'policy_no_match', ' of another server', {}, `${server.slice(0, 57)}-other`),
    ...(agent === undefined ? [] : [one(first, 'policy_no_match', ` for who only says to be ${agent}`, { verified: false })]),
  ]
}

/** A server's name as that of a policy file, without its ending. */
function fileName(server: string): string {
  return /^[A-Za-z0-9_]/.test(server) ? server : `server${server}`
}
