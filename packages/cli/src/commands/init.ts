import * as fs from 'node:fs'
import * as path from 'node:path'
import { SCHEMA_FILE } from '@sealwrit/control-plane'
import { CliError } from '../errors.ts'
import { starterFolder } from '../local/folder.ts'
import { readLibrary, splitNames, withArguments } from '../local/library.ts'
import { CONFIG_FILE, FOLDER } from '../local/places.ts'
import { type GlobalOptions, json, line } from '../output.ts'
import { selfLine } from '../self.ts'

const CONFIG_TEXT = `# Sealwrit configuration; unknown members are refused. There is no setting that fails open.
# owner: team-platform      # who answers for what runs; an opaque id, the local user when absent
policies: policies          # folder of the policies, relative to this file
receipt: before_reply       # after_reply answers sooner and may lose the receipt of a crash
# log_entries: public       # lets anybody who reaches the plane read the entries of the log (never arguments or results)
# environment: { trust: [] }     # whose signed statements make evidence of the environment more than software-only: spec/environment.md
# retention: { bodies_days: 90 }  # erases arguments, inputs and environments after that time; entries and proofs stay
`

/** Writes a configuration, starter policies, those of the library that are named, their schema and their tests. Existing files are left alone. */
export async function init(options: GlobalOptions & { with?: string }): Promise<void> {
  const files: [string, string][] = [[CONFIG_FILE, CONFIG_TEXT]]
  const starter = (name: string): void => void files.push([name, fs.readFileSync(path.join(starterFolder, name), 'utf8')])
  for (const name of fs.readdirSync(path.join(starterFolder, 'policies')).sort()) starter(path.join('policies', name))
  const chosen = readLibrary(splitNames(options.with ?? '')).filter(({ name }) => !files.some(([file]) => file === path.join('policies', `${name}.cedar`)))
  for (const one of chosen) for (const [name, text] of one.files) files.push([path.join('policies', name), text])
  const schema = fs.readFileSync(path.join(starterFolder, SCHEMA_FILE), 'utf8')
  files.push([SCHEMA_FILE, chosen.reduce((text, one) => withArguments(text, one), schema)])
  const existing = files.map(([name]) => name).filter((name) => fs.existsSync(name))
  if (existing.length > 0) throw new CliError(`${existing.join(', ')} ${existing.length === 1 ? 'exists' : 'exist'} already; nothing was written`, { hint: 'run it in a folder without them' })
  fs.mkdirSync('policies')
  for (const [name, text] of files) fs.writeFileSync(name, text, { flag: 'wx' })
  if (options.json === true) return json({ written: files.map(([name]) => name) })
  for (const [name] of files) line(`wrote ${name}`)
  line('Next: edit the policies, test them, and start a plane that uses them:')
  line(`  ${selfLine('policy', 'test', path.resolve('policies'))}`)
  line(`  ${selfLine('up', '--dir', path.resolve(FOLDER))}`)
}
