import { type Profile, type Requirement, requirementsOf } from '@sealwrit/protocol'
import { printJudged } from '../assess/against.ts'
import { findFolder } from '../local/folder.ts'
import { judged, knownProfiles, NOTHING_TOLD, profilesNamed, toldByPlane } from '../local/profiles.ts'
import { bold, dim, type GlobalOptions, json, line } from '../output.ts'
import { selfLine } from '../self.ts'

/** Lists the profiles; or what one asks for, and how a plane that runs stands to it. What evidence shows is for `assess --profile`. */
export async function profile(name: string | undefined, options: GlobalOptions): Promise<void> {
  if (name === undefined) return list(options)
  const [chosen] = profilesNamed([name]) as [Profile]
  const told = await toldByPlane(findFolder(options.dir))
  const results = judged([chosen], told ?? NOTHING_TOLD)
  const evidence = requirementsOf([chosen], 'evidence')
  const isKnown = told !== undefined
  if (options.json === true) return json({ ...shown(chosen), requirements: [...results.map(({ requirement, value, isMet }) => ({ ...requirement, ...(isKnown ? { met: isMet, ...(value === undefined ? {} : { value }) } : {}) })), ...evidence] })
  line(`${bold(chosen.name)}  ${chosen.says}${chosen.extends === undefined ? '' : dim(` (and all of ${chosen.extends})`)}`)
  if (isKnown) printJudged(results)
  else for (const one of results) printAsked(one.requirement)
  for (const one of evidence) printAsked(one)
  line()
  if (!isKnown) line(dim('no plane answers here, so nothing is said of what is met'))
  line(`What the evidence shows: ${selfLine('assess', '--profile', chosen.name)}`)
  line(`To hold a plane to it: ${selfLine('up', '--profile', chosen.name)}, or \`profile: ${chosen.name}\` in sealwrit.yaml, which binds its gates too`)
}

function list(options: GlobalOptions): void {
  const all = knownProfiles()
  if (options.json === true) return json({ profiles: all.map(shown) })
  for (const one of all) line(`${bold(one.name.padEnd(9))} ${String(one.requirements.length).padStart(3)}  ${one.says}${one.extends === undefined ? '' : dim(` (and all of ${one.extends})`)}`)
  line(`\nWhat one asks for: ${selfLine('profile', 'federal')}`)
}

const shown = ({ name, says, extends: above, requirements }: Profile): object => ({ name, says, ...(above === undefined ? {} : { extends: above }), count: requirements.length })

function printAsked({ id, of, says }: Requirement): void {
  line(`  ${dim('–')} ${of.padEnd(9)} ${says}  ${dim(id)}`)
}
