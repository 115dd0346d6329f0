import * as fs from 'node:fs'
import * as path from 'node:path'
import { isTenant } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'

export const FOLDER = '.sealwrit'
export const CONFIG_FILE = 'sealwrit.yaml'
/** The tenant whose files lie in the plane's folder itself. */
export const TENANT = 'default'
/** Folder of the others, each of the shape of the plane's own, and the file in it that says which one it is. */
const TENANTS = 'tenants'
const MARK = 'tenant'

/** `--dir`, `SEALWRIT_DIR`, or the nearest `.sealwrit` above the working directory; else one in it. */
export function findDir(given: string | undefined): string {
  const named = given ?? process.env['SEALWRIT_DIR']
  if (named !== undefined) return path.resolve(named)
  for (let folder = process.cwd(); ; folder = path.dirname(folder)) {
    if (fs.existsSync(path.join(folder, FOLDER))) return path.join(folder, FOLDER)
    if (folder === path.dirname(folder)) return path.resolve(FOLDER)
  }
}

/** What the mark in a folder says: a folder is a tenant's because `tenant add` made it so, and not by where it lies. @throws {CliError} */
export function tenantIn(dir: string): string {
  const mark = path.join(dir, MARK)
  if (!fs.existsSync(mark)) return TENANT
  const name = fs.readFileSync(mark, 'utf8').trim()
  if (!isTenant(name) || name === TENANT || name !== path.basename(dir)) throw new CliError(`${mark} does not name the tenant of its folder`, { hint: 'restore the folder from a backup' })
  return name
}

/** Folder of the tenant `name` of the plane in `dir`. @throws {CliError} for what is no name, or was not added */
export function tenantDir(dir: string, name: string): string {
  const at = placeOf(dir, name)
  if (tenantIn(at) !== name) throw new CliError(`${dir} has no tenant \`${name}\``, { exit: EXIT.usage, hint: 'list them: `sealwrit tenant list`' })
  return at
}

/** Every tenant's folder, the plane's own first. @throws {CliError} where one of them is not whole: none is left out in silence */
export function tenantDirs(dir: string): readonly string[] {
  const at = path.join(dir, TENANTS)
  const names = fs.existsSync(at) ? fs.readdirSync(at).sort() : []
  return [dir, ...names.map((name) => {
    const found = path.join(at, name)
    if (tenantIn(found) !== name) throw new CliError(`${found} is not the folder of a tenant`, { hint: 'restore it from a backup, or move it away' })
    return found
  })]
}

/** Makes the folder of a new tenant; keys and policies are made when the plane opens it. @throws {CliError} */
export function addTenant(dir: string, name: string): string {
  const at = placeOf(dir, name)
  if (fs.existsSync(at)) throw new CliError(`tenant \`${name}\` is there already`, { exit: EXIT.usage })
  fs.mkdirSync(at, { recursive: true, mode: 0o700 })
  fs.writeFileSync(path.join(at, MARK), `${name}\n`, { flag: 'wx', mode: 0o600, flush: true })
  return at
}

/** The folder that a tenant's lies in, or would. */
export function planeDirOf(tenant: string): string {
  return path.dirname(path.dirname(tenant))
}

function placeOf(dir: string, name: string): string {
  if (!isTenant(name)) throw new CliError(`\`${name.slice(0, 64)}\` is no name of a tenant`, { exit: EXIT.usage, hint: '1 to 63 lower-case letters, digits or dashes' })
  return name === TENANT ? dir : path.join(dir, TENANTS, name)
}
