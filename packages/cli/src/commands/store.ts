import * as fs from 'node:fs'
import * as path from 'node:path'
import { fsck as check, type FsckReport, nodeClock, nodeRng, openStore, reAnchor as anchorAnew, isDatabase, type Store, StoreOpenError } from '@sealwrit/control-plane'
import { floorFile, nodeCryptography } from '@sealwrit/gate'
import { equalBytes, formatVerifierKey, noteKey } from '@sealwrit/protocol'
import { loadKeyFile } from '../adapters/key-file.ts'
import { confirm } from '../confirm.ts'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { highWaterFile, readConfig } from '../local/config.ts'
import { findFolder, loadLogKey, type PlaneFolder, readVerifierKey } from '../local/folder.ts'
import { bold, type GlobalOptions, green, json, line, plain, red } from '../output.ts'
import { Progress } from '../progress.ts'
import { chosenStore, explained, storeName } from './up.ts'

/** Time between two looks at a check that runs inside the plane, milliseconds. */
const POLL_MS = 200
const MAX_PRINTED = 50

/** Hashes everything again that is stored. Where the plane has the store open it does that itself, and goes on working. */
export async function fsck(options: GlobalOptions & { store?: string }): Promise<void> {
  const folder = findFolder(options.dir)
  const store = chosenStore(options.store, folder)
  if (!fs.existsSync(folder.verifierKey)) throw new CliError(`no plane was ever started on ${folder.dir}`, { exit: EXIT.usage, hint: 'name its folder with --dir' })
  const progress = new Progress('checking', options.json === true)
  const report = await whereOpen(folder, store, progress)
  progress.end()
  if (options.json === true) json(report)
  else print(report, storeName(store))
  if (report.problems.length > 0) process.exitCode = EXIT.unverified
}

async function whereOpen(folder: PlaneFolder, name: string, progress: Progress): Promise<FsckReport> {
  let store: Store
  const highWater = floorFile(highWaterFile(folder, readConfig(folder))).read()
  try {
    if (!isDatabase(name) && !fs.existsSync(name)) throw new CliError(`there is no store ${name}`, { hint: 'restore it from a backup' })
    store = await openStore(name, folder.tenant)
  } catch (error) {
    if (error instanceof StoreOpenError && error.isLocked) return insideThePlane(folder, progress)
    throw explained(error, folder, storeName(name))
  }
  try {
    return await check(store, { logKey: readVerifierKey(folder.verifierKey), crypto: nodeCryptography, tenant: folder.tenant, highWater }, (done, of) => progress.at(done, of, 'entries'))
  } finally {
    await store.close()
  }
}

async function insideThePlane(folder: PlaneFolder, progress: Progress): Promise<FsckReport> {
  for (let isFirst = true; ; isFirst = false) {
    const state = await askPlane(folder, 'fsck', { begin: isFirst })
    if (state.report !== undefined) return state.report
    progress.at(state.done, state.of, 'entries')
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

function print({ problems, omitted, entries, groups, bodies, tiles, checkpoints }: FsckReport, store: string): void {
  const found = problems.length + omitted
  line(`${found === 0 ? green(bold('sound')) : red(bold('damaged'))}  ${store}: ${entries} entries in ${groups} groups, ${bodies} bodies, ${tiles} tiles, ${checkpoints} checkpoints hashed again`)
  for (const problem of problems.slice(0, MAX_PRINTED)) line(`  ${red('problem')}: ${plain(problem)}`)
  if (found > MAX_PRINTED) line(`  … and ${found - MAX_PRINTED} further problems`)
  if (found > 0) line('  keep the store as it is, and restore a backup: nothing was changed')
}

/** Goes on from an older store under a new log key, with an entry that says what was lost. The plane must be stopped. */
export async function reAnchor(options: GlobalOptions & { store?: string; yes?: boolean }): Promise<void> {
  const folder = findFolder(options.dir)
  const name = chosenStore(options.store, folder)
  const next = `${folder.logKey}.next`
  if (await isAnswering(folder)) throw new CliError(`a plane runs on ${folder.dir}`, { hint: 'stop it first' })
  if (isHalfAdopted(folder)) return finish(folder, options)
  const old = loadLogKey(folder)
  if (options.yes !== true) {
    await confirm('Whoever holds a checkpoint beyond this store will refuse the log from here on: gates, witnesses and auditors need the new key. Go on? [y/N] ')
  }
  const fresh = loadKeyFile(next, true)
  const logKey = { key: noteKey(old.key.name, fresh.publicKey, nodeCryptography.sha256), sign: fresh.sign }
  let store: Store | undefined
  try {
    store = await openStore(name, folder.tenant)
    const ports = { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey, formerLogKey: old.key, highWater: floorFile(highWaterFile(folder, readConfig(folder))), defer: setImmediate }
    const { seq, lost } = await anchorAnew(ports, folder.tenant)
    const moved = adopt(folder, next, old.key.id, formatVerifierKey(logKey.key))
    if (options.json === true) return json({ seq, lost, key: formatVerifierKey(logKey.key), floorsMoved: moved })
    line(`${green('re-anchored')} at index ${seq}; ${lost.size > seq ? `${lost.size - seq} entries of the earlier history are lost (newest known: size ${lost.size}, root ${lost.root})` : 'no later entry was known'}`)
    line(`  new log key: ${formatVerifierKey(logKey.key)}`)
    line(`  hand it to every gate, witness and verifier elsewhere; ${moved} gates of this folder begin anew`)
  } catch (error) {
    if (error instanceof StoreOpenError && error.isLocked) throw new CliError(`a plane runs on ${folder.dir}`, { hint: 'stop it first' })
    throw explained(error, folder, storeName(name))
  } finally {
    await store?.close()
  }
}

async function isAnswering(folder: PlaneFolder): Promise<boolean> {
  return fs.existsSync(folder.socket) && askPlane(folder, 'status', {}).then(() => true, () => false)
}

/**
 * Puts the new key in the place of the old one, which is kept aside, and lets the gates of this folder learn their floor anew.
 * Cut off before the key is in its place, the command can be run again as it is; after that, {@link finish} is what is left.
 * @returns how many gates
 */
function adopt(folder: PlaneFolder, next: string, oldId: string, verifierKey: string): number {
  const retired = `${folder.logKey}.${oldId}.retired`
  fs.copyFileSync(folder.logKey, retired)
  fs.chmodSync(retired, 0o600)
  fs.writeFileSync(adoptedKey(folder), `${verifierKey}\n`, { mode: 0o600 })
  fs.renameSync(next, folder.logKey)
  const pq = folder.logKey.replace(/\.pem$/, '.pq.pem') // the new key is no hybrid one
  if (fs.existsSync(pq)) fs.renameSync(pq, `${pq}.${oldId}.retired`)
  return trustAdopted(folder, oldId)
}

function adoptedKey(folder: PlaneFolder): string {
  return `${folder.verifierKey}.new`
}

/** Whether a run was cut off after the new key took its place, and before its public half did. */
function isHalfAdopted(folder: PlaneFolder): boolean {
  const made = adoptedKey(folder)
  return fs.existsSync(made) && fs.existsSync(folder.logKey) && equalBytes(loadKeyFile(folder.logKey, false).publicKey, readVerifierKey(made).publicKey)
}

function finish(folder: PlaneFolder, options: GlobalOptions): void {
  const key = readVerifierKey(adoptedKey(folder))
  const moved = trustAdopted(folder, readVerifierKey(folder.verifierKey).id)
  if (options.json === true) return json({ key: formatVerifierKey(key), floorsMoved: moved })
  line(`${green('re-anchored')} before, and cut off: the new log key ${formatVerifierKey(key)} is the one from here on; ${moved} gates of this folder begin anew`)
}

function trustAdopted(folder: PlaneFolder, oldId: string): number {
  fs.renameSync(adoptedKey(folder), folder.verifierKey)
  let moved = 0
  if (!fs.existsSync(folder.gates)) return 0
  for (const name of fs.readdirSync(folder.gates, { recursive: true }) as string[]) {
    if (path.basename(name) !== 'floor.json') continue
    fs.renameSync(path.join(folder.gates, name), path.join(folder.gates, `${name}.${oldId}.lost`))
    moved++
  }
  return moved
}
