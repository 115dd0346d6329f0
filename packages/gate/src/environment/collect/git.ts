import * as path from 'node:path'
import { isCommit } from '@sealwrit/protocol'
import { type Look, NotTold } from './look.ts'

/** Folders above the program that are searched. */
export const MAX_PARENTS = 64
/** Longest `.git`, `HEAD`, `commondir` or loose reference, and longest `packed-refs`, in bytes. */
export const MAX_REF_BYTES = 4_096
export const MAX_PACKED_BYTES = 16_777_216
/** References that may name each other. */
const MAX_SYMBOLIC = 5
/** What git allows, and no more than we need: no component begins with a dot, none is empty. */
const REF = /^refs(?:\/(?!\.)[\w.+@-]{1,128}){1,8}$/
/** Kept for each worktree apart. @see gitrepository-layout(5) */
const OWN_REFS = /^refs\/(bisect|worktree|rewritten)\//

/**
 * The commit that HEAD names in the repository around `start`, read from its files: no git process runs, and nothing of the
 * repository's configuration is believed. Whether the working files are those of the commit is not told.
 * @throws {NotTold}
 */
export function collectGit(start: string, look: Look): { commit: string; ref?: string } {
  const { own, common } = findRepository(start, look)
  let ref: string | undefined
  let text = line(look.text(path.join(own, 'HEAD'), MAX_REF_BYTES)) ?? refuse('malformed')
  for (let step = 0; step <= MAX_SYMBOLIC; step++) {
    if (isCommit(text)) return ref === undefined ? { commit: text } : { commit: text, ref }
    if (!text.startsWith('ref: ')) refuse('malformed')
    const name = text.slice('ref: '.length)
    if (name === 'refs/heads/.invalid') refuse('not_told') // references are kept in a reftable
    if (!REF.test(name) || name.includes('..') || name.endsWith('.lock')) refuse('malformed')
    ref ??= name
    text = line(look.text(path.join(OWN_REFS.test(name) ? own : common, name), MAX_REF_BYTES)) ?? packed(name, common, look)
  }
  return refuse('malformed')
}

function refuse(reason: NotTold['reason']): never {
  throw new NotTold(reason)
}

/** One line without its end; undefined where there is no file. */
function line(text: string | undefined): string | undefined {
  return text?.replace(/\r?\n$/, '')
}

/** The folder of this worktree, and the one that all worktrees share. */
function findRepository(start: string, look: Look): { own: string; common: string } {
  for (let folder = start, n = 0; n < MAX_PARENTS; n++, folder = path.dirname(folder)) {
    const place = path.join(folder, '.git')
    const kind = look.kind(place)
    if (kind === 'folder' || kind === 'file') {
      const own = kind === 'folder' ? place : linked(look.text(place, MAX_REF_BYTES), folder)
      mustBeOurs(place, look)
      mustBeOurs(own, look)
      const shared = line(look.text(path.join(own, 'commondir'), MAX_REF_BYTES))
      return { own, common: shared === undefined ? own : absolute(shared, own) }
    }
    if (kind === 'other') refuse('malformed')
    if (folder === path.dirname(folder)) break
  }
  return refuse('none')
}

/** `gitdir: FOLDER`, as a worktree or a submodule has it. */
function linked(text: string | undefined, folder: string): string {
  const named = /^gitdir: (.+)$/.exec(line(text) ?? '')?.[1]
  return named === undefined ? refuse('malformed') : absolute(named, folder)
}

function absolute(name: string, folder: string): string {
  return name === '' || name.includes('\0') || name.includes('\n') ? refuse('malformed') : path.resolve(folder, name)
}

/** As git does it: what another user put above us is not our repository. */
function mustBeOurs(place: string, look: Look): void {
  const owner = look.owner(place)
  if (owner === undefined) refuse('malformed')
  const { getuid } = process
  if (getuid !== undefined && owner !== 0 && owner !== getuid()) refuse('not_told')
}

/** A reference among the packed ones. A branch without a commit is in neither place. */
function packed(name: string, common: string, look: Look): string {
  const text = look.text(path.join(common, 'packed-refs'), MAX_PACKED_BYTES) ?? ''
  const at = text.indexOf(` ${name}\n`)
  if (at < 0) return refuse('none')
  const commit = text.slice(text.lastIndexOf('\n', at - 1) + 1, at)
  return isCommit(commit) ? commit : refuse('malformed')
}
