import * as fs from 'node:fs'
import * as path from 'node:path'
import { type Action, Denied, type Facts, isObject, type JsonObject, type JsonValue, parseAction } from '@sealwrit/protocol'
import { parseDocument } from 'yaml'
import type { Plane } from '@sealwrit/control-plane'
import { TOOL_DIGEST } from '../../packages/control-plane/test/support/rig.ts'
import { pathFacts, serverRoots } from '../../packages/gate/src/environment/paths.ts'

export const CORPUS_FOLDER: string = path.resolve(import.meta.dirname, '../../corpus')
export const PARTS = ['written against', 'held back'] as const
export type Part = (typeof PARTS)[number]
export type Intent = 'attack' | 'benign'

/** One request of the corpus. */
export interface CorpusRequest {
  readonly intent: Intent
  readonly part: Part
  readonly family: string
  readonly server: string
  readonly cls: string
  readonly tool: string
  readonly arguments: JsonObject
}
/** `denied` by policy or form; `held` for a person; `permitted`. */
export type Verdict = 'denied' | 'held' | 'permitted'
export interface Decided extends CorpusRequest {
  readonly verdict: Verdict
  /** The denial code, or the policies that determined it. */
  readonly why: string
}

const MAX_REQUESTS = 10_000

export function readCorpus(): readonly CorpusRequest[] {
  const files: readonly (readonly [string, Intent, Part])[] = [['attacks.yaml', 'attack', 'written against'], ['attacks.held-back.yaml', 'attack', 'held back'], ['benign.yaml', 'benign', 'written against'], ['benign.held-back.yaml', 'benign', 'held back']]
  return files.flatMap(([file, intent, part]) => {
    const document = parseDocument(fs.readFileSync(path.join(CORPUS_FOLDER, file), 'utf8'), { uniqueKeys: true, strict: true })
    if (document.errors.length + document.warnings.length > 0) throw new Error(`${file}: ${(document.errors[0] ?? document.warnings[0])?.message}`)
    return (document.toJS() as JsonObject[]).flatMap((family) => expand(family, intent, part))
  })
}

/** Every combination of a family's parameters. */
function expand(given: JsonObject, intent: Intent, part: Part): CorpusRequest[] {
  const { family, server, tool, class: cls, arguments: args, with: values } = given as { family: string; server: string; tool: string; class: string; arguments: JsonObject; with: Record<string, JsonValue[]> }
  let all: Record<string, JsonValue>[] = [{}]
  for (const [name, some] of Object.entries(values)) all = all.flatMap((one) => some.map((value) => ({ ...one, [name]: value })))
  if (all.length > MAX_REQUESTS) throw new Error(`${family}: too many`)
  return all.map((one) => ({ intent, part, family, server: String(filled(server, one)), cls: String(filled(cls, one)), tool: String(filled(tool, one)), arguments: filled(args, one) as JsonObject }))
}

function filled(value: JsonValue, parameters: Readonly<Record<string, JsonValue>>): JsonValue {
  if (typeof value === 'string') {
    const whole = /^\$([a-z]+)$/.exec(value)?.[1]
    return whole !== undefined ? (parameters[whole] as JsonValue) : value.replaceAll(/\$([a-z]+)/g, (all, name: string) => (name in parameters ? String(parameters[name]) : all))
  }
  if (Array.isArray(value)) return value.map((item: JsonValue) => filled(item, parameters))
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name, filled(member, parameters)])) : value
}

/** The folders that the servers of the corpus were started with: what a gate measures is measured, not written down. */
export class Workplace {
  readonly #root: string

  constructor(parent: string) {
    this.#root = path.join(fs.realpathSync(parent), 'work')
    for (const folder of ['docs', 'src', '.git/hooks', '../secrets']) fs.mkdirSync(path.join(this.#root, folder), { recursive: true })
    for (const file of ['notes.txt', 'docs/guide.md', 'src/main.ts', '../secrets/key.pem']) fs.writeFileSync(path.join(this.#root, file), 'x')
    fs.symlinkSync('/etc', path.join(this.#root, 'exit'))
  }

  /** Only a file server is started with a folder. */
  facts({ server, arguments: args }: CorpusRequest): Facts {
    return pathFacts(this.#placed(args) as JsonObject, server === 'filesystem' ? serverRoots([this.#root], this.#root) : [], this.#root)
  }

  action(request: CorpusRequest): Action {
    return parseAction({ type: 'mcp.tool_call', target: `mcp://${request.server}`, name: request.tool, arguments: this.#placed(request.arguments), tool_digest: TOOL_DIGEST })
  }

  #placed(value: JsonValue): JsonValue {
    if (typeof value === 'string') return value.startsWith('ROOT/') ? path.join(this.#root, value.slice(5)) : value
    if (Array.isArray(value)) return value.map((item: JsonValue) => this.#placed(item))
    return isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name, this.#placed(member)])) : value
  }
}

/** What the plane decides about it, as for a dry run. */
export async function decided(request: CorpusRequest, place: Workplace, plane: Plane): Promise<Decided> {
  try {
    const decision = await plane.decide({ action: place.action(request), agent: { name: 'coder', verified: true }, facts: place.facts(request) })
    const by = decision.policy.determining.join(', ')
    if (decision.kind === 'permit') return { ...request, verdict: 'permitted', why: by }
    return { ...request, verdict: decision.kind === 'hold' ? 'held' : 'denied', why: decision.kind === 'deny' ? decision.code : by }
  } catch (error) {
    if (error instanceof Denied) return { ...request, verdict: 'denied', why: error.code }
    throw error
  }
}

export interface Share {
  readonly n: number
  readonly denied: number
  readonly held: number
  readonly permitted: number
}
export function share(some: readonly Decided[]): Share {
  const count = (wanted: Verdict): number => some.filter(({ verdict }) => verdict === wanted).length
  return { n: some.length, denied: count('denied'), held: count('held'), permitted: count('permitted') }
}

const percent = (part: number, whole: number): string => (whole === 0 ? '' : `${((100 * part) / whole).toFixed(1)} %`)

/** `corpus/RESULTS.md`. */
export function resultsPage(all: readonly Decided[]): string {
  const of = (intent: Intent, part: Part, some: readonly Decided[] = all): readonly Decided[] => some.filter((one) => one.intent === intent && one.part === part)
  const row = (name: string, some: readonly Decided[]): string => {
    const cells = (['attack', 'benign'] as const).flatMap((intent) =>
      PARTS.map((part) => {
        const { n, denied, held } = share(of(intent, part, some))
        return n === 0 ? '' : intent === 'attack' ? `${percent(denied + held, n)}, denied ${percent(denied, n)}, of ${n}` : `${percent(denied, n)}, held ${percent(held, n)}, of ${n}`
      }),
    )
    return `| ${name} | ${cells.join(' | ')} |`
  }
  const head = (what: string): string => `| ${what} | attacks stopped, written against | attacks stopped, held back | benign denied, written against | benign denied, held back |\n|---|---|---|---|---|`
  const groups = (pick: (one: Decided) => string): string => [...new Set(all.map(pick))].sort().map((name) => row(name, all.filter((one) => pick(one) === name))).join('\n')
  const list = (some: readonly Decided[]): string => [...new Set(some.map(({ server, family, tool, why }) => `- ${server}, *${family}*: \`${tool}\` (${why})`))].join('\n')
  const parts = (['attack', 'benign'] as const).flatMap((intent) => PARTS.map((part) => `| ${intent}, ${part} | ${Object.values(share(of(intent, part))).join(' | ')} |`))
  return `# What the library decides about the corpus

Written by \`npm run corpus\`; \`test/corpus.test.ts\` fails where a number here gets worse. Each request is decided by a plane in its own process, under the ready
policies of all servers at once and nothing else; the facts about paths are measured by the gate's own code in a real folder.

*Stopped* is denied, or held for a person: what an approver then says is not measured. *Held back* are families that were written before the policies, and for
which no policy was changed; both were written by the same authors, who know their own mind: take it as an upper bound, not as what a stranger would reach. Who
knows a policy can look for what it permits: the library is a fence, and says nothing of what happens inside it (a permitted message can still carry a secret).

| requests | n | denied | held | permitted |
|---|---|---|---|---|
${parts.join('\n')}

${head('all')}
${row('all', all)}

${head('by class')}
${groups(({ cls }) => cls)}

${head('by server')}
${groups(({ server }) => server)}

## Attacks that are permitted

${list(all.filter(({ intent, verdict }) => intent === 'attack' && verdict === 'permitted')) || 'None.'}

## Everyday work that is denied

${list(all.filter(({ intent, verdict }) => intent === 'benign' && verdict === 'denied')) || 'None.'}

## Everyday work that waits for a person

${list(all.filter(({ intent, verdict }) => intent === 'benign' && verdict === 'held')) || 'None.'}
`
}

/** The counts that stand in a page, by their row. */
export function standing(page: string): ReadonlyMap<string, Share> {
  return new Map([...page.matchAll(/^\| ((?:attack|benign), [a-z ]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$/gm)].map(([, name, ...counts]) => {
    const [n, denied, held, permitted] = counts.map(Number) as [number, number, number, number]
    return [name as string, { n, denied, held, permitted }]
  }))
}
