import * as fs from 'node:fs'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder, planeFolder, readVerifierKey } from '../local/folder.ts'
import { addTenant, TENANT, tenantDirs } from '../local/places.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain } from '../output.ts'
import { selfLine } from '../self.ts'

/** Makes the folder of a tenant. */
export async function tenantAdd(name: string, options: GlobalOptions): Promise<void> {
  const folder = findFolder(options.dir)
  if (!fs.existsSync(folder.verifierKey)) throw new CliError(`no plane was ever started on ${folder.dir}`, { exit: EXIT.usage, hint: `start it first: ${selfLine('up')}` })
  const dir = addTenant(folder.dir, name)
  if (options.json === true) return json({ tenant: name, dir })
  line(`${green('added')}    tenant ${bold(name)} in ${plain(dir)}`)
  line('  the plane opens it when it is started again: its own log and keys, policies, token and socket are made then')
  line(`  then     ${selfLine('person', 'add', 'NAME', '--role', 'admin', '--tenant', name)}`)
}

/** Lists the tenants. */
export async function tenantList(options: GlobalOptions): Promise<void> {
  const tenants = await Promise.all(tenantDirs(findFolder(options.dir).dir).map((dir) => described(planeFolder(dir))))
  if (options.json === true) return json({ tenants })
  for (const { tenant, dir, origin, open } of tenants) line(`${bold(tenant)}  ${open ? green('open') : dim('not open')}  ${origin ?? dim('never opened')}  ${dim(plain(dir))}${tenant === TENANT ? dim('  (without --tenant)') : ''}`)
}

async function described(folder: PlaneFolder): Promise<{ tenant: string; dir: string; origin?: string; open: boolean }> {
  const open = fs.existsSync(folder.socket) && (await askPlane(folder, 'status', {}).then(() => true, () => false))
  const origin = fs.existsSync(folder.verifierKey) ? readVerifierKey(folder.verifierKey).name : undefined
  return { tenant: folder.tenant, dir: folder.dir, ...(origin === undefined ? {} : { origin }), open }
}
