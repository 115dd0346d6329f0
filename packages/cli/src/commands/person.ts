import * as fs from 'node:fs'
import { type JsonValue, type Role, ROLES } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { allOf, askPlane } from '../local/client.ts'
import { findFolder } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, yellow } from '../output.ts'
import { askPassword } from '../password.ts'
import { selfLine } from '../self.ts'

export interface PersonOptions extends GlobalOptions {
  readonly role?: string
  readonly passwordFile?: string
}

interface Changed {
  readonly person: string
  readonly seq: number
}

/** Longest password file, in bytes. */
const MAX_FILE_BYTES = 4_096

/** Adds a person who logs in with a password. */
export async function personAdd(name: string, options: PersonOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const role = roleOf(options.role)
  const password = await passwordOf(options, `Password for ${name}: `)
  const added = await told(askPlane(folder, 'people.add', { name, role, password }), `\`${name.slice(0, 64)}\` cannot be added`, 'a name has up to 64 lower-case letters, digits or ._@+- and is not taken; a password has at least 12 characters')
  if (options.json === true) return json({ ...added, name, role })
  line(`${green('added')}    ${plain(name)} as ${role}, ${plain(added.person)}, recorded at index ${added.seq}`)
}

export async function personList(options: GlobalOptions): Promise<void> {
  const people = await allOf(findFolder(options.dir), 'people.list')
  if (options.json === true) return json({ people })
  if (people.length === 0) line(dim(`nobody but the owner of this folder; ${selfLine('person', 'add', 'NAME', '--role', 'viewer')} adds somebody`))
  for (const { person, name, role, login } of people) line(`${bold(plain(name ?? '(name erased)'))}  ${role}  ${dim(`${plain(person)}${login === 'oidc' ? ', by an issuer' : ''}`)}`)
}

/** Gives a person another role; their sessions end. */
export async function personRole(who: string, role: string, options: GlobalOptions): Promise<void> {
  const changed = await told(askPlane(findFolder(options.dir), 'people.role', { who, role: roleOf(role) }), `the role of \`${who.slice(0, 64)}\` cannot be changed here`, 'the roles of people of an issuer come from it')
  if (options.json === true) return json({ ...changed, role })
  line(`${green('changed')}  ${plain(who)} is ${role} from index ${changed.seq} on; their sessions ended`)
}

/** Removes a person for good; their sessions end. */
export async function personRemove(who: string, options: GlobalOptions): Promise<void> {
  const removed = (await askPlane(findFolder(options.dir), 'people.remove', { who })) as unknown as Changed
  if (options.json === true) return json(removed)
  line(`${yellow('removed')}  ${plain(who)}, recorded at index ${removed.seq}; their sessions ended`)
}

/** Gives a person another password; their sessions end. */
export async function personPassword(who: string, options: PersonOptions): Promise<void> {
  const folder = findFolder(options.dir)
  const password = await passwordOf(options, `New password for ${who}: `)
  const changed = await told(askPlane(folder, 'people.password', { who, password }), 'the password is not taken', 'a password has at least 12 characters')
  if (options.json === true) return json(changed)
  line(`${green('changed')}  the password of ${plain(who)}, recorded at index ${changed.seq}; their sessions ended`)
}

async function told(answer: Promise<JsonValue>, message: string, hint: string): Promise<Changed> {
  try {
    return (await answer) as unknown as Changed
  } catch (error) {
    if (error instanceof CliError && error.code === 'request_malformed') throw new CliError(message, { exit: EXIT.usage, hint })
    throw error
  }
}

function roleOf(given: string | undefined): Role {
  const role = ROLES.find((one) => one === given)
  if (role === undefined) throw new CliError(`a role is one of ${ROLES.join(', ')}`, { exit: EXIT.usage, hint: 'each may do what those before it may' })
  return role
}

/** From a file that only its owner may read, or from whoever sits here: never an argument, which everybody on the machine can see. */
async function passwordOf({ passwordFile }: PersonOptions, question: string): Promise<string> {
  if (passwordFile === undefined) return askPassword(question)
  let text: string
  try {
    const { mode, size } = fs.statSync(passwordFile)
    if ((mode & 0o077) !== 0) throw new CliError(`${passwordFile} can be read by others (mode ${(mode & 0o777).toString(8)})`, { hint: `run \`chmod 600 ${passwordFile}\`` })
    if (size > MAX_FILE_BYTES) throw new CliError(`${passwordFile} is larger than ${MAX_FILE_BYTES} bytes`)
    text = fs.readFileSync(passwordFile, 'utf8')
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`${passwordFile} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  return text.replace(/\r?\n$/, '')
}
