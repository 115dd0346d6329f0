import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import {
  BundleVerifier, type Checkpoint, decodeEntries, Denied, equalBytes, type FollowedKeys, followKeys, type KeyRing, leafHash, MAX_KEY_ENTRIES, type NoteKey, parseCheckpointText, parseNote, type Report, type TileName, tilePath, tilesOf, TileStack, type Trust, utf8, verifyCheckpoint, widthOf, parseEntry,
} from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { ahead } from './ahead.ts'
import { FolderSource, type LogSource } from './source.ts'

const { sha256 } = nodeCryptography
/** Tiles that are asked for at once. */
const TILES_AHEAD = 4

/** How a mirror stands after it was brought up to date. */
export interface Mirrored {
  readonly origin: string
  readonly from: number
  readonly size: number
}

/**
 * Copies a log into `folder`, from where it was left, as files that any file server can serve. Nothing is believed: the
 * hashes are computed from the entries, and the checkpoint is written last, and only when it is the one of exactly these entries.
 * @throws {CliError} exit 13 when the log shows another history than the mirror holds, or entries that its key did not sign
 */
export async function mirrorLog(source: LogSource, folder: string, key: NoteKey, progress: Progress): Promise<Mirrored> {
  const own = new FolderSource(folder)
  const note = await source.checkpoint()
  const kept = fs.existsSync(path.join(folder, 'checkpoint')) ? await own.checkpoint() : undefined
  const { trusted, named } = await knownKeys(source, note, kept, key)
  const head = verified(note, trusted, 'the checkpoint of the log')
  const before = kept === undefined ? undefined : verified(kept, named, `${folder}: its checkpoint`)
  const from = before?.size ?? 0
  if (head.size < from) throw contradicted(`the log has ${head.size} entries, and this mirror holds ${from} that the same key signed`)
  const stack = await TileStack.resume(from, (tile) => own.tile(tile), sha256)
  if (before !== undefined && !equalBytes(stack.root(), before.root)) throw contradicted(`${folder} is damaged: its tiles are not those of its checkpoint`)
  for await (const { tile, bytes } of entryTiles(source, head.size, from)) {
    const texts = decodeEntries(bytes, tile.width)
    for (const text of texts.slice(Math.max(0, stack.size - tile.index * 256))) {
      for (const { level, index, hashes } of stack.append(leafHash(utf8(text), sha256))) writeTile(folder, { level, index, width: 256 }, hashes)
    }
    writeTile(folder, tile, bytes)
    progress.at(stack.size, head.size, 'entries')
  }
  progress.end()
  for (const { name, bytes } of stack.partial()) writeTile(folder, name, bytes)
  if (!equalBytes(stack.root(), head.root)) throw contradicted('the entries are not those that the log key signed, or the log shows another history than this mirror holds')
  replace(path.join(folder, 'checkpoint'), note)
  return { origin: head.origin, from, size: head.size }
}

/** Verifies a mirror as one verifies a bundle; its hash tiles are compared with those of its entries. */
export async function checkMirror(folder: string, trust: Trust, progress: Progress): Promise<Report> {
  const source = new FolderSource(folder)
  const verifier = new BundleVerifier(trust)
  try {
    const note = await source.checkpoint()
    const keys = await keyTexts(source, note)
    const head = verified(note, followed(keys, trust.logKey).trusted, `${folder}: its checkpoint`)
    const stack = new TileStack(sha256)
    const compare = async (name: TileName, hashes: Uint8Array): Promise<void> => {
      if (!equalBytes(await source.tile(name), hashes)) throw contradicted(`${tilePath(name)} is not that of the entries`)
    }
    let isHeaded = false
    for (const tile of tilesOf('entries', head.size)) {
      for (const text of decodeEntries(await source.tile(tile), tile.width)) {
        if (!isHeaded) verifier.head({ v: 1, origin: head.origin, tenant: parseEntry(text).tenant, checkpoint: note }, keys)
        isHeaded = true
        verifier.leaf(text)
        for (const { level, index, hashes } of stack.append(leafHash(utf8(text), sha256))) await compare({ level, index, width: 256 }, hashes)
      }
      progress.at(widthOf('entries', stack.size), head.size, 'entries')
    }
    for (const { name, bytes } of stack.partial()) await compare(name, bytes)
    return verifier.end()
  } catch (error) {
    if (error instanceof Denied) throw contradicted(`${error.code}: ${error.message}`)
    throw error
  } finally {
    progress.end()
  }
}

/** The newest checkpoint of a log, signed by a key that the given one leads to. @throws {CliError} exit 13 */
export async function readHead(source: LogSource, key: NoteKey): Promise<{ readonly note: string; readonly head: Checkpoint; readonly keys: NoteKey | KeyRing }> {
  const note = await source.checkpoint()
  const { trusted } = await knownKeys(source, note, undefined, key)
  return { note, head: verified(note, trusted, 'the checkpoint of the log'), keys: trusted }
}

/** The keys of a log that is mirrored: the given one, unless a checkpoint is not signed by it; then those that it leads to. */
async function knownKeys(source: LogSource, note: string, kept: string | undefined, key: NoteKey): Promise<{ trusted: NoteKey | KeyRing; named: NoteKey | KeyRing }> {
  try {
    for (const one of kept === undefined ? [note] : [note, kept]) verifyCheckpoint(one, key, nodeCryptography)
    return { trusted: key, named: key }
  } catch {
    return followed(await keyTexts(source, note), key)
  }
}

/** What the entries under a checkpoint say of keys; that they are those that were signed is looked at with all of them. */
async function keyTexts(source: LogSource, note: string): Promise<readonly string[]> {
  const texts: string[] = []
  let size: number
  try {
    size = parseCheckpointText(parseNote(note).text).size
  } catch (error) {
    throw contradicted(`the checkpoint is none (${error instanceof Error ? error.message : 'malformed'})`)
  }
  for await (const { tile, bytes } of entryTiles(source, size)) texts.push(...decodeEntries(bytes, tile.width).filter((text) => /"kind":"key",.*"purpose":"(log|gate)"/.test(text)))
  if (texts.length > MAX_KEY_ENTRIES) throw contradicted('the log says more of keys than a log may')
  return texts
}

/** Tiles of entries in order, with those that come next asked for already. */
function entryTiles(source: LogSource, size: number, from = 0): AsyncGenerator<{ readonly tile: TileName; readonly bytes: Uint8Array }> {
  return ahead(tilesOf('entries', size, from), TILES_AHEAD, async (tile) => ({ tile, bytes: await source.tile(tile) }))
}

function followed(texts: readonly string[], key: NoteKey): FollowedKeys {
  try {
    const entries = texts.map(parseEntry).filter((entry) => entry.kind === 'key' && entry.purpose === 'log')
    return followKeys([key], entries, nodeCryptography)
  } catch (error) {
    throw contradicted(`what the log says of its keys does not hold (${error instanceof Error ? error.message : 'unknown'})`)
  }
}

function verified(note: string, key: NoteKey | KeyRing, what: string): Checkpoint {
  try {
    return verifyCheckpoint(note, key, nodeCryptography)
  } catch (error) {
    throw contradicted(`${what} is not signed by the log key (${error instanceof Error ? error.message : 'unknown'})`)
  }
}

function contradicted(message: string): CliError {
  return new CliError(message, { exit: EXIT.unverified, hint: 'keep both as they are: together they are evidence' })
}

export function writeTile(folder: string, tile: TileName, bytes: Uint8Array): void {
  const file = path.join(folder, tilePath(tile))
  fs.mkdirSync(path.dirname(file), { recursive: true })
  replace(file, bytes)
}

/** A reader sees the old file or the new one. */
function replace(file: string, bytes: Uint8Array | string): void {
  const made = `${file}.${process.pid}.new`
  const descriptor = fs.openSync(made, 'w')
  try {
    fs.writeSync(descriptor, typeof bytes === 'string' ? utf8(bytes) : bytes)
    if (typeof bytes === 'string') fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
  fs.renameSync(made, file)
}
