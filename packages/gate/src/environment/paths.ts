import * as fs from 'node:fs'
import * as path from 'node:path'
import { type Facts, type JsonObject, type JsonValue } from '@sealwrit/protocol'

/** Argument members that name files, whatever the tool. */
const PATH_MEMBERS: ReadonlySet<string> = new Set([
  'path', 'paths', 'file', 'files', 'filename', 'filepath', 'file_path', 'filePath', 'source', 'destination', 'src', 'dest',
  'dst', 'from', 'to', 'dir', 'directory', 'folder', 'root', 'cwd', 'target', 'uri', 'url',
])
const MAX_PATHS = 1_000
const MAX_LINKS = 40

/** The folders among a server's arguments, links resolved: what its user meant it to reach. */
export function serverRoots(serverArgs: readonly string[], cwd: string): readonly string[] {
  const roots: string[] = []
  for (const arg of serverArgs) {
    if (arg.startsWith('-')) continue
    try {
      const real = fs.realpathSync(path.resolve(cwd, arg))
      if (fs.statSync(real).isDirectory()) roots.push(real)
    } catch {
      // Not a folder: an argument of another kind, which opens nothing.
    }
  }
  return roots
}

/**
 * Where the path arguments of a call lead: one fact for policy instead of a prefix comparison on text. Lists are looked
 * through, links and `..` resolved, and what does not exist yet is placed by its nearest existing parent.
 *
 * @param roots from {@link serverRoots}
 */
export function pathFacts(args: JsonObject, roots: readonly string[], cwd: string): Facts {
  const found: string[] = []
  let unresolved = false
  const collect = (value: JsonValue, named: boolean): void => {
    if (typeof value === 'string') {
      if (named) found.push(value)
    } else if (Array.isArray(value)) {
      for (const item of value as readonly JsonValue[]) collect(item, named)
    } else if (typeof value === 'object' && value !== null) {
      for (const [name, member] of Object.entries(value)) collect(member, PATH_MEMBERS.has(name) || PATH_MEMBERS.has(name.toLowerCase()))
    } else if (named && value !== null && typeof value !== 'boolean') {
      unresolved = true
    }
  }
  collect(args, false)
  if (unresolved || found.length > MAX_PATHS) return { paths: 'unresolved' }
  if (found.length === 0) return { paths: 'none' }
  for (const one of found) {
    const place = locate(one, cwd)
    if (place === undefined) return { paths: 'unresolved' }
    if (!roots.some((root) => place === root || place.startsWith(root.endsWith(path.sep) ? root : root + path.sep))) return { paths: 'outside' }
  }
  return { paths: 'inside' }
}

/** The real place that `text` names, or undefined when that cannot be told: then it is not inside anything. */
function locate(text: string, cwd: string): string | undefined {
  let name = text
  if (/^file:\/\//i.test(name)) {
    try {
      const url = new URL(name)
      if (url.hostname !== '' && url.hostname !== 'localhost') return undefined
      name = decodeURIComponent(url.pathname)
    } catch {
      return undefined
    }
  } else if (/^[a-z][a-z0-9+.-]*:/i.test(name)) {
    return undefined // another scheme, or a drive letter: not a place in this file system
  }
  // `~` and quotes mean different things to different servers; NUL ends a string in some of them.
  if (name === '' || name.includes('\0') || name.startsWith('~') || /^["']|["']$/.test(name)) return undefined
  const place = realPlace(path.resolve(cwd, name), MAX_LINKS)
  return place !== undefined && leadsElsewhere(name, cwd, place) ? undefined : place
}

/** `link/..` is one place as text and another to the kernel: where the two differ, nobody knows which the server means. */
function leadsElsewhere(name: string, cwd: string, place: string): boolean {
  if (!name.split('/').includes('..')) return false
  try {
    return fs.realpathSync.native(path.isAbsolute(name) ? name : `${cwd}/${name}`) !== place
  } catch {
    return true
  }
}

/** `realpath` that also answers for what does not exist yet: the nearest existing parent decides. */
function realPlace(absolute: string, linksLeft: number): string | undefined {
  if (linksLeft === 0) return undefined
  try {
    return fs.realpathSync(absolute)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') return undefined
  }
  try {
    // It exists as a link whose target does not: follow it by hand.
    const target = fs.readlinkSync(absolute)
    return realPlace(path.resolve(path.dirname(absolute), target), linksLeft - 1)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'EINVAL') return undefined
  }
  const parent = path.dirname(absolute)
  if (parent === absolute) return undefined
  const real = realPlace(parent, linksLeft)
  return real === undefined ? undefined : path.join(real, path.basename(absolute))
}
