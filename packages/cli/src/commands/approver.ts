import * as fs from 'node:fs'
import * as path from 'node:path'
import { present, toBase64Url } from '@sealwrit/protocol'
import { KeyFileError, loadKeyFile } from '../adapters/key-file.ts'
import { CliError, EXIT } from '../errors.ts'
import { allOf, askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, json, line, plain } from '../output.ts'

/** Where the key of an approver of this machine is kept. */
export function approverKeyFile(folder: PlaneFolder, name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) throw new CliError('a name has up to 64 letters, digits, dots, dashes and underscores', { exit: EXIT.usage })
  return path.join(folder.dir, 'approvers', `${name}.pem`)
}

/** Registers a person who may approve, with their public key, or with a key that is made here. */
export async function approverAdd(name: string, options: GlobalOptions & { group: string[]; key?: string; sub?: string }): Promise<void> {
  const folder = findFolder(options.dir)
  const file = approverKeyFile(folder, name)
  if (options.key !== undefined && !/^[A-Za-z0-9_-]{43}$/.test(options.key)) throw new CliError('--key takes an Ed25519 public key: 43 characters of base64url', { exit: EXIT.usage })
  const isNew = options.key === undefined && !fs.existsSync(file)
  const key = options.key ?? toBase64Url(explainedKey(file, true).publicKey)
  try {
    const answer = await askPlane(folder, 'approvers.add', present({ name, groups: options.group, key, sub: options.sub }))
    if (options.json === true) return json({ ...answer, ...(options.key === undefined ? { file } : {}) })
    line(`${bold(plain(name))} is ${plain(answer.person)} in ${options.group.map(plain).join(', ')}, recorded at index ${answer.seq}`)
    if (options.key === undefined) line(`  key ${file}${isNew ? dim(' (made now; keep it where agents cannot read it)') : ''}`)
  } catch (error) {
    if (isNew) fs.rmSync(file, { force: true }) // of nobody
    throw error
  }
}

export function explainedKey(file: string, create: boolean): ReturnType<typeof loadKeyFile> {
  try {
    return loadKeyFile(file, create)
  } catch (error) {
    throw error instanceof KeyFileError ? new CliError(error.message) : error
  }
}

export async function approverList(options: GlobalOptions): Promise<void> {
  const approvers = await allOf(findFolder(options.dir), 'approvers.list')
  if (options.json === true) return json({ approvers })
  if (approvers.length === 0) line('nobody may approve anything; add somebody: sealwrit approver add NAME --group GROUP')
  for (const { person, name, groups, keys, sub } of approvers) {
    line(`${bold(plain(name ?? '(name erased)'))}  ${plain(person)}  ${groups.map(plain).join(', ')}${sub === undefined ? '' : `  is ${plain(sub)}`}`)
    for (const key of keys) line(`  ${dim(`key ${plain(key)}`)}`)
  }
}

/** Removes a person, or one key of theirs; approvals that were not used yet do not count from then on. */
export async function approverRemove(who: string, options: GlobalOptions & { key?: string }): Promise<void> {
  const answer = await askPlane(findFolder(options.dir), 'approvers.remove', present({ who, key: options.key }))
  if (options.json === true) return json(answer)
  line(`${options.key === undefined ? plain(who) : `the key of ${plain(who)}`} is removed, recorded at index ${answer.seq}`)
}
