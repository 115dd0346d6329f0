import { type Change, type ChangeKind, compareVerdicts, PolicyEngine, RequestReplay } from '@sealwrit/control-plane'
import { nodeCryptography } from '@sealwrit/gate'
import type { JsonObject } from '@sealwrit/protocol'
import { EXIT } from '../errors.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { chosenPolicies, readPolicies } from '../local/policies.ts'
import { policyTexts, recordedRequests, type RecordedRequest } from '../local/requests.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'

export interface ReplayOptions extends GlobalOptions {
  readonly since?: string
  readonly failOnPermit?: boolean
}

/** Groups of changes that are told. */
const MAX_GROUPS = 1_000

interface Group {
  readonly kind: ChangeKind
  readonly policies: readonly string[]
  readonly agent: string
  readonly tool: string
  /** Leaf index of one of them. */
  readonly example: number
  readonly before: JsonObject
  readonly after: JsonObject
  count: number
}

interface Tally {
  readonly groups: Map<string, Group>
  readonly counts: Record<ChangeKind | 'same', number>
  requests: number
  /** Requests whose bodies were erased or redacted, or whose set is not kept. */
  unreadable: number
  omitted: number
}

const newTally = (): Tally => ({ groups: new Map(), counts: { newly_permitted: 0, newly_held: 0, newly_denied: 0, changed_obligations: 0, changed_reason: 0, same: 0 }, requests: 0, unreadable: 0, omitted: 0 })

/** Decides recorded requests anew under a candidate set, and prints what would change. */
export async function policyReplay(given: string | undefined, options: ReplayOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const candidate = new PolicyEngine(readPolicies(chosenPolicies(given, options)))
  const replay = new RequestReplay(candidate, (digest) => policyTexts(folder, digest), nodeCryptography.sha256)
  const tally = newTally()
  for await (const request of recordedRequests(folder, options.since ?? '0', 'replaying', options.json === true)) {
    const verdicts = await replay.verdicts(request)
    count(tally, request, verdicts)
  }
  if (options.failOnPermit === true && tally.counts.newly_permitted > 0) process.exitCode = EXIT.fault
  print(tally, options, `under ${candidate.set.digest}`)
}

/** Prints where recorded verdicts of shadow sets differ from what was enforced. */
export async function policyShadow(options: ReplayOptions): Promise<void> {
  const folder: PlaneFolder = findFolder(options.dir)
  const tally = newTally()
  for await (const request of recordedRequests(folder, options.since ?? '0', 'reading', options.json === true)) {
    if (request.shadow === undefined) continue
    const { mode: _, digest: __, ...after } = request.shadow
    count(tally, request, { before: enforced(request), after: after as JsonObject })
  }
  if (options.failOnPermit === true && tally.counts.newly_permitted > 0) process.exitCode = EXIT.fault
  print(tally, options, 'under the sets in shadow mode')
}

/** What the log says was decided, as a verdict. */
function enforced({ entry }: RecordedRequest): JsonObject {
  const { kind, code, policy } = entry as unknown as { kind: string; code?: string; policy: { determining: readonly string[] } }
  return { decision: kind, determining: policy.determining, ...(code === undefined ? {} : { code }) }
}

function count(tally: Tally, request: RecordedRequest, verdicts: { before: JsonObject; after: JsonObject } | undefined): void {
  tally.requests++
  if (verdicts === undefined) return void tally.unreadable++
  const change = compareVerdicts(verdicts.before, verdicts.after)
  tally.counts[change?.kind ?? 'same']++
  if (change !== undefined) add(tally, request, change)
}

function add(tally: Tally, { entry }: RecordedRequest, { kind, policies, before, after }: Change): void {
  const agent = entry.act?.sub ?? 'unknown'
  const tool = entry.scope === undefined ? 'unknown' : `${entry.scope.target}/${entry.scope.name}`
  const key = JSON.stringify([kind, policies, agent, tool])
  const known = tally.groups.get(key)
  if (known !== undefined) known.count++
  else if (tally.groups.size >= MAX_GROUPS) tally.omitted++
  else tally.groups.set(key, { kind, policies, agent, tool, example: entry.seq, before, after, count: 1 })
}

const TITLES: Readonly<Record<ChangeKind, string>> = {
  newly_permitted: 'newly permitted',
  newly_held: 'newly held',
  newly_denied: 'newly denied',
  changed_obligations: 'other obligations',
  changed_reason: 'denied for another reason',
}
const KINDS = Object.keys(TITLES) as ChangeKind[]

function print({ groups, counts, requests, unreadable, omitted }: Tally, options: GlobalOptions, under: string): void {
  const sorted = [...groups.values()].sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || b.count - a.count)
  if (options.json === true) return json({ requests, unreadable, counts, groups: sorted, omitted })
  for (const kind of KINDS) {
    const own = sorted.filter((group) => group.kind === kind)
    if (own.length === 0) continue
    const paint = kind === 'newly_permitted' ? red : kind === 'changed_reason' ? dim : yellow
    line(paint(bold(`${TITLES[kind]} (${counts[kind]})`)))
    for (const group of own) {
      line(`  ${String(group.count).padStart(6)} ×  ${plain(group.agent)}  ${plain(group.tool)}  by ${group.policies.length === 0 ? 'no policy' : group.policies.map(plain).join(', ')}  ${dim(`as at index ${group.example}`)}`)
      if (kind === 'changed_obligations') line(`            ${plain(JSON.stringify(group.before['obligations']))} → ${plain(JSON.stringify(group.after['obligations']))}`)
    }
  }
  if (omitted > 0) line(dim(`… and ${omitted} further changes`))
  line(`${requests} recorded requests ${under}: ${counts.same === requests - unreadable ? green('nothing changes') : `${counts.same} stay as they are`}${unreadable === 0 ? '' : `; ${unreadable} cannot be replayed (erased, redacted, or their policies are not kept)`}`)
}
