import { confirm } from '../confirm.ts'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { type GlobalOptions, json, line } from '../output.ts'

interface Erased {
  readonly entries: number
  readonly bodies: number
  readonly recorded: readonly number[]
  readonly tooYoung: number
}

/** Deletes the bodies and salts that stand behind entries. It cannot be undone, so it asks. */
export async function erase(selector: string, options: GlobalOptions & { yes?: boolean; dryRun?: boolean }): Promise<void> {
  const folder = findFolder(options.dir)
  const planned = await ask(folder, selector, true)
  if (options.dryRun === true || planned.entries === 0) {
    if (options.json === true) return json(planned)
    return line(planned.entries === 0 ? 'nothing matches; nothing was erased' : `${planned.entries} entries match; nothing was erased`)
  }
  if (options.yes !== true) await confirm(`Delete for ever the arguments, inputs and environments behind ${planned.entries} entries? Entries and proofs stay. [y/N] `)
  const done = await ask(folder, selector, false)
  if (options.json === true) return json(done)
  line(`${done.bodies} bodies of ${done.entries - done.tooYoung} entries erased${done.recorded.length === 0 ? '' : `, recorded at index ${done.recorded.join(', ')}`}; every proof still verifies`)
  if (done.tooYoung > 0) line(`${done.tooYoung} entries are younger than two minutes and were left: a lost reply may still be asked for again; repeat the command later`)
}

async function ask(folder: PlaneFolder, selector: string, dry: boolean): Promise<Erased> {
  try {
    return await askPlane(folder, 'erase', { selector, dry })
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== 'request_malformed') throw error
    throw new CliError(`the log holds nothing that \`${selector.slice(0, 64)}\` names`, { exit: EXIT.usage, hint: 'a selector is a jti, an index, agent:NAME, sub:ID, or before:YYYY-MM-DD' })
  }
}
