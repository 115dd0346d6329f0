import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { createPrivateKey, sign } from 'node:crypto'
import { type Draft, nodeClock, nodeCryptography, nodeRng, openSqliteStore, Sequencer, type StoredBody, type Written } from '@sealwrit/control-plane'
import { type Entry, parseVerifierKey } from '@sealwrit/protocol'

/** Entries submitted at a time: one commit group. */
const GROUP = 4_096

const token = (): string => randomBytes(16).toString('base64url')

/**
 * Makes the log of a plane that does not run longer, by what one of its own executions left there: permits and receipts as large
 * as real ones, with their bodies, through the same sequencer and store.
 * @param entries leaves that the log shall have
 * @param open how many of its last permits stay without a receipt
 */
export async function grow(dir: string, entries: number, open: number): Promise<void> {
  const store = openSqliteStore(path.join(dir, 'store.db'))
  const privateKey = createPrivateKey(fs.readFileSync(path.join(dir, 'keys', 'log.pem')))
  const key = parseVerifierKey(fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8').trim(), nodeCryptography.sha256)
  const highWater = { read: (): undefined => undefined, write: (): void => undefined }
  const log = await Sequencer.open({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey: { key, sign: (m) => sign(null, m, privateKey) }, highWater, defer: setImmediate }, 'default')
  const [permit, receipt] = await templates(log, store)
  let waiting: Promise<unknown>[] = []
  const add = async (draft: Draft): Promise<void> => {
    if (waiting.push(log.submit(draft)) < GROUP) return
    await Promise.all(waiting)
    waiting = []
  }
  const size = (): number => log.size + waiting.length
  const permitted = async (): Promise<string> => {
    const jti = token()
    await add((_state, _seq, timeMs) => written(permit, { jti, txn: jti, ...times(timeMs) }))
    return jti
  }
  while (size() + 1 + open < entries) {
    const jti = await permitted()
    await add(() => written(receipt, { jti }))
  }
  for (let i = 0; i < open; i++) await permitted()
  await Promise.all(waiting)
  await store.close()
}

const times = (timeMs: number): { iat: number; nbf: number; exp: number } => {
  const iat = Math.floor(timeMs / 1_000)
  return { iat, nbf: iat, exp: iat + 60 }
}

interface Template {
  readonly entry: Entry
  readonly bodies: readonly StoredBody[]
}

/** The last permit and the last receipt of the log, with their bodies. */
async function templates(log: Sequencer, store: ReturnType<typeof openSqliteStore>): Promise<[Template, Template]> {
  const found = new Map<string, Template>()
  for (const { entry, seq } of await log.readRun(0, log.size)) found.set(entry.kind, { entry, bodies: await store.bodies(seq) })
  return [found.get('permit') as Template, found.get('receipt') as Template]
}

function written({ entry, bodies }: Template, change: object): Written {
  const { v: _v, seq: _seq, time: _time, tenant: _tenant, ...body } = { ...entry, ...change, ...(entry.kind === 'permit' ? { challenge: token() } : {}) }
  return { body: body as Written['body'], bodies: bodies.map(({ seq: _own, ...rest }) => rest) }
}
