import type { LineageAnswer, LineageNode } from '@sealwrit/control-plane'
import { CliError, EXIT } from '../errors.ts'
import { askPlane, found } from '../local/client.ts'
import { findFolder } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'

/** Nodes that are asked for at a time. */
const PAGE = 1_000

/** Why a request was allowed, up to its root, and everything that descends from it. */
export async function lineage(id: string, options: GlobalOptions & { limit: string; after?: string }): Promise<void> {
  const limit = Number(options.limit)
  if (!Number.isSafeInteger(limit) || limit < 1) throw new CliError('--limit takes a whole number from 1 on', { exit: EXIT.usage })
  const folder = findFolder(options.dir)
  const ask = (after: string | undefined, count: number): Promise<LineageAnswer> => found(id, askPlane(folder, 'lineage', { id, limit: count, ...(after === undefined ? {} : { cursor: after }) }))
  let answer = await ask(options.after, Math.min(PAGE, limit))
  while (answer.next !== undefined && answer.below.length < limit) {
    const { below, next } = await ask(answer.next, Math.min(PAGE, limit - answer.below.length))
    const { next: _before, ...first } = answer
    answer = { ...first, below: [...answer.below, ...below], ...(next === undefined ? {} : { next }) }
  }
  if (options.json === true) return json(answer)
  show(answer)
}

function show({ ancestors, node, below, next }: LineageAnswer): void {
  const depths = new Map<string, number>()
  const depthOf = ({ jti, parent }: LineageNode): number => {
    const depth = parent === undefined ? 0 : (depths.get(parent) ?? -1) + 1
    depths.set(jti, depth)
    return depth
  }
  for (const one of [...ancestors, node]) {
    const depth = depthOf(one)
    line(`${branch(depth)}${one === node ? bold(describe(one)) : describe(one)}`)
    for (const reason of reasons(one)) line(`${'   '.repeat(depth)}   ${dim(plain(reason))}`)
  }
  // A page that begins further down does not show the parents of its first nodes.
  for (const one of below) line(`${branch(one.parent !== undefined && depths.has(one.parent) ? depthOf(one) : depthOf({ ...one, parent: node.jti }))}${describe(one)}`)
  if (below.length === 0) line(dim('nothing descends from it'))
  if (next !== undefined) line(dim(`more: sealwrit lineage ${node.jti} --after ${next}`))
}

const branch = (depth: number): string => (depth === 0 ? '' : `${'   '.repeat(depth - 1)}└─ `)

function describe({ decision, code, scope, act, jti, ending }: LineageNode): string {
  const what = scope === undefined ? '' : `${scope.target}/${scope.name}`
  const who = act === undefined ? '' : `${act.sub}${act.verified ? '' : ' (unverified)'}`
  const became = decision === 'deny' ? red(code ?? 'denied') : ending === undefined ? yellow('open') : green(plain(`${ending.outcome}${ending.cause === undefined ? '' : ` (${ending.cause})`}`))
  return `${decision === 'deny' ? red('deny  ') : green('permit')}  ${plain([what, who, jti].filter((part) => part !== '').join('  '))}  ${became}`
}

/** Why it was decided so, and what it let others ask for. */
function reasons({ policy, approvals, risk, delegates, foreign, seq }: LineageNode): readonly string[] {
  return [
    `index ${seq}${policy === undefined ? ', no policy was asked' : `, by ${policy.determining.join(', ') || 'no policy'} in epoch ${policy.epoch}`}${risk === undefined ? '' : `, risk ${risk}`}`,
    ...(foreign === undefined ? [] : [`lent by ${foreign.origin} as ${foreign.jti}, taken under its checkpoint of size ${foreign.size}`]),
    ...(approvals ?? []).map(({ person, seq: at, grant }) => `approved by ${person} at index ${at}${grant ? ', by a grant' : ''}`),
    ...(delegates === undefined ? [] : [`delegates up to ${delegates.uses} requests, ${delegates.depth} levels deep, until ${new Date(delegates.until * 1_000).toISOString()}`]),
  ]
}
