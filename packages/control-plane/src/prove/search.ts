import { ASSURANCE_LEVELS, Denied, type DenialCode, type Entry, Fields, isDenialCode, type JsonValue } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'
import { type Page, type Paged, placeIn, readPage } from '../page.ts'
import { type DecisionFilter, DECISIONS, ENDINGS, type ExecutionIndex, type FoundDecision } from './execution-index.ts'

/** Entries that one search reads because memory does not hold their names; beyond it the page ends early, and says where to go on. */
const MAX_LOOKED = 200
/** Entries read at a time to bring the index up to the log. */
const BATCH = 1_024

export type SearchRequest = DecisionFilter & { readonly page: Page }
/** `since`: of a log that is too long for the index, the oldest entry that was looked through. */
export type FoundPage = Paged<'executions', FoundDecision> & { readonly since?: number }

/** @throws {Denied} `request_malformed` */
export function parseSearch(value: JsonValue): SearchRequest {
  const fields = new Fields(value, 'request_malformed', 'executions.search')
  const agent = fields.optional('agent', (name) => fields.text(name))
  const request = {
    agent: agent === undefined || agent.startsWith('agent:') ? agent : `agent:${agent}`,
    tool: fields.optional('tool', (name) => fields.text(name, 3_200)),
    decision: fields.optional('decision', (name) => fields.oneOf(name, DECISIONS)),
    code: fields.optional('code', (name) => codeIn(fields.text(name))),
    outcome: fields.optional('outcome', (name) => fields.oneOf(name, ENDINGS)),
    assurance: fields.optional('assurance', (name) => fields.oneOf(name, ASSURANCE_LEVELS)),
    min_assurance: fields.optional('min_assurance', (name) => fields.oneOf(name, ASSURANCE_LEVELS)),
    from: fields.optional('from', (name) => fields.integer(name)),
    to: fields.optional('to', (name) => fields.integer(name)),
    page: readPage(fields),
  }
  fields.end()
  return request
}

function codeIn(text: string): DenialCode {
  if (!isDenialCode(text)) throw new Denied('request_malformed', 'executions.search: no such code')
  return text
}

/** Decisions that fit, newest first. @throws {Denied} `request_malformed` for a cursor that no page gave */
export async function searchExecutions({ page: { cursor, limit }, ...filter }: SearchRequest, index: ExecutionIndex, log: Sequencer): Promise<FoundPage> {
  await log.latest()
  await catchUp(index, log)
  const [from, to] = index.range
  const start = cursor === undefined ? to : index.before(placeIn(cursor))
  const executions: FoundDecision[] = []
  const since = from > 0 ? { since: index.seqOf(from) } : {}
  let looked = 0
  for (const { row, isSure } of index.matching(filter, start)) {
    if (executions.length === limit || looked === MAX_LOOKED) return { executions, next: String(index.seqOf(row) + 1), ...since }
    if (!index.isBare(row)) {
      executions.push(index.found(row))
      continue
    }
    looked++
    const { entry } = await log.read(index.seqOf(row))
    if (isSure || fits(entry, filter)) executions.push(index.found(row, entry))
  }
  return { executions, ...since }
}

function fits(entry: Entry, { agent, tool }: DecisionFilter): boolean {
  if (entry.kind !== 'permit' && entry.kind !== 'deny' && entry.kind !== 'hold') return false
  return (agent === undefined || entry.act?.sub === agent) && (tool === undefined || (entry.scope !== undefined && `${entry.scope.target}/${entry.scope.name}` === tool))
}

/** What the index did not hear of it reads. */
async function catchUp(index: ExecutionIndex, log: Sequencer): Promise<void> {
  while (index.next < log.size) {
    const run = await log.readRun(index.next, BATCH)
    if (run.length === 0) return
    for (const { entry } of run) index.take(entry)
  }
}
