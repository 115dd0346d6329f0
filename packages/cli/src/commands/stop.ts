import type { PlaneMethods } from '@sealwrit/control-plane/client'
import { CliError, EXIT } from '../errors.ts'
import { allOf, askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'

/** Time between two looks at how far something is, milliseconds. */
const POLL_MS = 20
/** How long a command waits for everybody before it says what is still to come, milliseconds. */
const MAX_WAIT_MS = 15_000

/** Revokes or kills, and says when it was recorded and when it holds at every gate. */
export async function stop(what: 'revoke' | 'kill', selector: string, options: GlobalOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const from = performanceMs()
  let effect = await ask(folder, what, selector)
  while (effect.effectiveMs === undefined && performanceMs() - from < MAX_WAIT_MS) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    effect = await askPlane(folder, 'effect', { seq: effect.seq })
  }
  if (options.json === true) return json(effect)
  const { seq, recordedMs, effectiveMs, waiting } = effect
  line(`${red(bold(what === 'kill' ? 'killed' : 'revoked'))}  ${plain(selector)}`)
  line(`  recorded   ${when(recordedMs)}  at index ${seq}: nothing new starts`)
  if (effectiveMs !== undefined) line(`  effective  ${when(effectiveMs)}  ${Math.max(0, effectiveMs - recordedMs)} ms later: every gate knows, or has run out of time`)
  else line(`  ${yellow('effective')}  not yet: ${waiting} gates have not answered; each stops by itself when its lease ends`)
  if (what === 'kill') line(dim(`  lift it: sealwrit unkill ${selector}`))
}

/** One person's word for lifting a kill; or what stands. */
export async function unkill(selector: string | undefined, options: GlobalOptions): Promise<void> {
  const folder = findFolder(options.dir)
  if (selector === undefined) return list(folder, options)
  const answer = await ask(folder, 'unkill', selector)
  if (options.json === true) json(answer)
  else if (answer.lifted) line(`${green(bold('lifted'))}  ${plain(selector)}: new requests are decided again; what was stopped stays stopped`)
  else line(`${yellow('asked')}  ${answer.asked} of ${answer.quorum} people have asked to lift ${plain(selector)}; it stays killed (quorum_not_met)`)
  if (!answer.lifted) process.exitCode = EXIT.held
}

async function list(folder: PlaneFolder, options: GlobalOptions): Promise<void> {
  const revoked = await allOf(folder, 'revocations.list')
  const killed = await allOf(folder, 'kills.list')
  if (options.json === true) return json({ revoked, killed })
  for (const { selector, seq, lifters } of killed) line(`${red('killed')}   ${plain(selector)}  (index ${seq}${lifters.length === 0 ? '' : `, ${lifters.length} asked to lift it`})`)
  for (const { selector, seq } of revoked) line(`${yellow('revoked')}  ${plain(selector)}  (index ${seq})`)
  if (killed.length + revoked.length === 0) line('nothing is revoked or killed')
}

async function ask<M extends 'revoke' | 'kill' | 'unkill'>(folder: PlaneFolder, method: M, selector: string): Promise<PlaneMethods[M]['result']> {
  try {
    return await askPlane(folder, method, { selector })
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== 'request_malformed') throw error
    const message = method === 'unkill' ? `nothing is killed under the name \`${selector.slice(0, 64)}\`` : `\`${selector.slice(0, 64)}\` is no selector`
    throw new CliError(message, { exit: EXIT.usage, hint: method === 'unkill' ? 'list what is: `sealwrit unkill`' : 'artifact:JTI, lineage:JTI, agent:NAME, subject:ID, tool:SERVER/NAME, target:SERVER, policy:ID, key:ID, tenant:NAME or all' })
  }
}

const when = (ms: number): string => new Date(ms).toISOString()
const performanceMs = (): number => Number(process.hrtime.bigint() / 1_000_000n)
