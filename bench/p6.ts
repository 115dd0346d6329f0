import { generateKeyPairSync, sign } from 'node:crypto'
import * as path from 'node:path'
import { nodeClock, nodeCryptography, nodeRng, openSqliteStore, Sequencer } from '@sealwrit/control-plane'
import { fromBase64Url, noteKey } from '@sealwrit/protocol'
import { BareDisk, workFolder } from './support/disk.ts'
import { type Figure, median, micros, perSecond, quantile, time } from './support/figure.ts'

const ROUNDS = 7
const WAITING = 256

/** The log alone: acknowledging one durable entry, and entries a second with 256 waiting. */
export async function p6(): Promise<Figure[]> {
  const folder = workFolder()
  const keys = generateKeyPairSync('ed25519')
  const key = noteKey('bench.test/default', fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string), nodeCryptography.sha256)
  const store = openSqliteStore(path.join(folder, 'store.db'))
  const log = await Sequencer.open({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey: { key, sign: (m) => sign(null, m, keys.privateKey) }, highWater: { read: () => undefined, write: () => undefined }, defer: setImmediate }, 'default')
  let n = 0
  const append = (): Promise<unknown> => log.submit(() => ({ body: { kind: 'tool', target: 'mcp://bench', name: `tool${n++}`, digest: `sha256:${'a'.repeat(64)}` }, bodies: [] }))
  const disk = new BareDisk(folder)
  for (let i = 0; i < 300; i++) await append()
  const acks: number[] = []
  const bare: number[] = []
  const rates: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(disk.p50(200))
    for (let i = 0; i < 200; i++) acks.push(await time(append))
    const groups = 20
    rates.push((groups * WAITING) / ((await time(async () => {
      for (let g = 0; g < groups; g++) await Promise.all(Array.from({ length: WAITING }, append))
    })) / 1_000))
  }
  await store.close()
  const base = median(bare)
  const durability = 'SQLite WAL, synchronous=FULL; one signed checkpoint a group'
  return [
    { id: 'P6a', what: 'acknowledgement of one durable entry', baseline: 'bare fdatasync p50', must: 1.5, stretch: 1.2, better: 'lower', ratio: median(acks) / base, rows: [['ack p50', micros(median(acks))], ['ack p99', micros(quantile(acks, 0.99))], ['fdatasync p50', micros(base)]], durability, note: 'the signature of the checkpoint and the entry’s canonical form are on the path' },
    { id: 'P6b', what: `entries a second with ${WAITING} waiting`, baseline: 'bare fdatasync a second', must: 15, stretch: 30, better: 'higher', ratio: median(rates) * (base / 1_000), rows: [['entries a second', perSecond(median(rates))], ['fdatasync a second', perSecond(1_000 / base)]], durability },
  ]
}
