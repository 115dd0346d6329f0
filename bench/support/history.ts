import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { loadKeyFile } from '../../packages/cli/src/adapters/key-file.ts'
import { type Draft, nodeClock, nodeCryptography, nodeRng, openSqliteStore, Sequencer, type Store, type StoredBody, type Written } from '@sealwrit/control-plane'
import { type Entry, leafDigest, leafHash, parseVerifierKey, type Permit } from '@sealwrit/protocol'
import { workFolder } from './disk.ts'
import { BenchGate, startPlane, stop } from './plane.ts'

/** Entries submitted at a time, one commit group: as many as a busy plane has waiting. */
const GROUP = 256

export const token = (): string => randomBytes(16).toString('base64url')

/** A plane's folder whose log has `entries` leaves; the plane does not run. @param name of the folder */
export async function grown(name: string, entries: number, open: number, sizes?: FamilySizes): Promise<{ readonly folder: string; readonly dir: string; readonly family: Family }> {
  const { folder, dir } = await begun(path.join(workFolder(), name))
  return { folder, dir, family: await grow(dir, entries, open, sizes) }
}

/** A plane's folder with one execution in its log; the plane does not run. */
export async function begun(folder: string): Promise<{ readonly folder: string; readonly dir: string }> {
  fs.mkdirSync(folder)
  const { dir, child } = await startPlane(folder, 0)
  const writer = new BenchGate(dir)
  await writer.open()
  await writer.execute('before_reply')
  writer.gate.close()
  await stop(child)
  return { folder, dir }
}

/**
 * Makes the log of a plane that does not run longer, by what one of its own executions left there: permits and receipts as large
 * as real ones, with their bodies, through the same sequencer and store.
 * @param entries leaves that the log shall have
 * @param open how many of its last permits stay without a receipt
 */
async function grow(dir: string, entries: number, open: number, sizes: FamilySizes = NO_FAMILY): Promise<Family> {
  const { log, store } = await openLog(dir)
  const [permit, receipt] = await templates(log, store)
  let waiting: Promise<unknown>[] = []
  const add = async (draft: Draft): Promise<void> => {
    if (waiting.push(log.submit(draft)) < GROUP) return
    await Promise.all(waiting)
    waiting = []
  }
  const size = (): number => log.size + waiting.length
  const permitted = async (parent?: Issued): Promise<string> => {
    const jti = token()
    await add((_state, _seq, timeMs) => written(permit, { jti, txn: jti, ...times(timeMs), ...(parent === undefined ? {} : below(parent)) }))
    return jti
  }
  /** At once, since its children name its leaf. */
  const issued = async (parent?: Issued): Promise<Issued> => {
    const jti = token()
    const { text, entry } = await log.submit((_state, _seq, timeMs) => written(permit, { jti, txn: jti, ...times(timeMs), delegates: DELEGATES, ...(parent === undefined ? {} : below(parent)) }))
    return { permit: entry as Permit, leaf: leafDigest(leafHash(Buffer.from(text), nodeCryptography.sha256)) }
  }
  const hasFamily = sizes !== NO_FAMILY
  const [spread, together] = hasFamily ? [await issued(), await issued()] : []
  const every = Math.floor((entries - size()) / 2 / Math.max(1, sizes.spread))
  for (let n = 1; size() + 1 + open + sizes.together + sizes.chain < entries; n++) {
    const isChild = sizes.spread > 0 && n % every === 0 && n / every <= sizes.spread
    const jti = await permitted(isChild ? spread : undefined)
    await add(() => written(receipt, { jti }))
  }
  for (let i = 0; i < sizes.together; i++) await permitted(together)
  let last = hasFamily ? await issued() : undefined
  for (let i = 0; i < sizes.chain; i++) last = await issued(last)
  for (let i = 0; i < open; i++) await permitted()
  await Promise.all(waiting)
  await store.close()
  return { spread: spread?.permit.jti ?? '', together: together?.permit.jti ?? '', leaf: last?.permit.jti ?? '' }
}

export interface OpenLog {
  readonly log: Sequencer
  readonly store: Store
}

/** The log of a plane that does not run, to be written as the plane writes it. */
export async function openLog(dir: string): Promise<OpenLog> {
  const store = openSqliteStore(path.join(dir, 'store.db'))
  const { sign } = loadKeyFile(path.join(dir, 'keys', 'log.pem'), false)
  const key = parseVerifierKey(fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8').trim(), nodeCryptography.sha256)
  const highWater = { read: (): undefined => undefined, write: (): void => undefined }
  return { log: await Sequencer.open({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey: { key, sign }, highWater, defer: setImmediate }, 'default'), store }
}

/** How many are below one root that stands at the beginning, over the whole log and at its end, and how long one more chain is. */
export interface FamilySizes {
  readonly spread: number
  readonly together: number
  readonly chain: number
}
const NO_FAMILY: FamilySizes = { spread: 0, together: 0, chain: 0 }
/** The roots of both trees, and the last of the chain. */
export interface Family {
  readonly spread: string
  readonly together: string
  readonly leaf: string
}

interface Issued {
  readonly permit: Permit
  readonly leaf: string
}
const DELEGATES = { until: 4_000_000_000, uses: 1_000_000, depth: 8, terms_commit: `sha256:${'a'.repeat(64)}` }

/** As the plane would make it, but for its times: the log is only read. */
function below({ permit, leaf }: Issued): object {
  const { jti, txn, depth } = permit
  const names = [...new Set([...(permit.above ?? []).filter((one) => one.startsWith('artifact:')), `artifact:${jti}`])].sort()
  return { txn, depth: depth + 1, par: { jti, leaf_hash: leaf }, above: names }
}

export const times = (timeMs: number): { iat: number; nbf: number; exp: number } => {
  const iat = Math.floor(timeMs / 1_000)
  return { iat, nbf: iat, exp: iat + 60 }
}

export interface Template {
  readonly entry: Entry
  readonly bodies: readonly StoredBody[]
}

/** The last permit and the last receipt of the log, with their bodies. */
export async function templates(log: Sequencer, store: Store): Promise<[Template, Template]> {
  const found = new Map<string, Template>()
  for (const { entry, seq } of await log.readRun(0, log.size)) found.set(entry.kind, { entry, bodies: await store.bodies(seq) })
  return [found.get('permit') as Template, found.get('receipt') as Template]
}

export function written({ entry, bodies }: Template, change: object): Written {
  const { v: _v, seq: _seq, time: _time, tenant: _tenant, ...body } = { ...entry, ...change, ...(entry.kind === 'permit' ? { challenge: token() } : {}) }
  return { body: body as Written['body'], bodies: bodies.map(({ seq: _own, ...rest }) => rest) }
}
