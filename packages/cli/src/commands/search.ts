import type { PlaneMethods } from '@sealwrit/control-plane/client'
import { present } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { findFolder } from '../local/folder.ts'
import { dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'

export interface SearchOptions extends GlobalOptions {
  readonly agent?: string
  readonly tool?: string
  readonly decision?: string
  readonly code?: string
  readonly outcome?: string
  readonly assurance?: string
  readonly minAssurance?: string
  readonly since?: string
  readonly until?: string
  readonly cursor?: string
  readonly limit: string
}

type Search = PlaneMethods['executions.search']

/** Lists decisions that fit, newest last, each with how it ended. */
export async function search(options: SearchOptions): Promise<void> {
  const { agent, tool, decision, code, outcome, assurance, minAssurance, cursor } = options
  const limit = Number(options.limit)
  if (!/^\d{1,4}$/.test(options.limit) || limit < 1 || limit > 1_000) throw new CliError('--limit takes a whole number from 1 to 1000', { exit: EXIT.usage })
  const wanted = present({ agent, tool, decision, code, outcome, assurance, min_assurance: minAssurance, cursor, limit, from: timeOf('--since', options.since), to: timeOf('--until', options.until) }) as Search['params']
  const answer = await asked(options, wanted)
  if (options.json === true) return json(answer)
  for (const found of answer.executions.toReversed()) line(describe(found))
  if (answer.executions.length === 0) line(dim('nothing fits'))
  if (answer.next !== undefined) line(dim(`older: the same with --cursor ${answer.next}`))
  else if (answer.since !== undefined) line(dim(`looked through from index ${answer.since} on; what is older: sealwrit log --before ${answer.since}`))
}

async function asked(options: SearchOptions, wanted: Search['params']): Promise<Search['result']> {
  try {
    return await askPlane(findFolder(options.dir), 'executions.search', wanted)
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== 'request_malformed') throw error
    throw new CliError('the plane does not know a decision, code, outcome or level of that name, or a cursor', { exit: EXIT.usage, hint: '--decision permit, deny or hold; --outcome open, completed, failed, terminated, not_started, indeterminate or expired; --assurance A0 to A5; codes are in spec/denial.md' })
  }
}

function describe({ seq, time, decision, code, observed, outcome, assurance, id, agent, scope }: Search['result']['executions'][number]): string {
  const when = new Date(time).toISOString().replace('T', ' ').slice(0, 19)
  const word = decision === 'permit' ? green(decision.padEnd(6)) : decision === 'deny' ? red(decision.padEnd(6)) : yellow(decision.padEnd(6))
  return [String(seq).padStart(6), dim(when), word, ...[observed === undefined ? undefined : `observed, not governed: ${observed}`, code ?? outcome, assurance, scope === undefined ? undefined : `${scope.target}/${scope.name}`, agent, id].filter((part) => part !== undefined).map(plain)].join('  ')
}

/** A day or a time, as milliseconds since 1970. */
function timeOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$/.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isSafeInteger(ms) || ms < 0) throw new CliError(`${option} takes a day or a time with its zone, as in 2030-01-31 or 2030-01-31T08:00:00Z`, { exit: EXIT.usage })
  return ms
}
