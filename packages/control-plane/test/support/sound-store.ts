import { createHash } from 'node:crypto'
import { type Head, type Store, endOverdue, eraseOld, fsck, type FsckReport, nodeCryptography } from '@sealwrit/control-plane'
import type { Rig } from './rig.ts'
import { issue, redeem } from './push.ts'
import { policySet, PERMIT_ALL, toolCall } from './rig.ts'

/** A row as it stands in a store. */
export type Row = Store extends { audit(): AsyncIterable<infer R> } ? R : never

/** Lets a plane write everything that a store can hold, until its log has at least `entries` entries. */
export async function fill(rig: Rig, entries: number): Promise<void> {
  const gate = await rig.gate()
  await gate.permit() // ends as indeterminate, and the carried one that nobody redeems as expired
  for (let i = 0; i < 4; i++) {
    const artifact = await issue(rig.plane, gate)
    if (i < 3) await redeem(rig.plane, gate, artifact, rig.token())
  }
  const { permit, leaf } = await gate.permit()
  await gate.report(gate.receiptFor(permit.jti, leaf))
  rig.clock.advance(240_000)
  await endOverdue(rig.plane.log, rig.clock.wallMs())
  await eraseOld(180_000, rig.plane.log, rig.store, rig.clock)
  while (rig.plane.log.size < entries) {
    const permits = await Promise.all(Array.from({ length: 5 }, (_, i) => gate.permit(gate.request(toolCall('read_file', { path: `/srv/${rig.plane.log.size}/${i}` })))))
    await gate.report(gate.receiptFor(permits[0]?.permit.jti as string, permits[0]?.leaf as string))
  }
  rig.policies = policySet(`${PERMIT_ALL} ${PERMIT_ALL}`)
  await rig.restart()
  const last = await gate.permit()
  await gate.report(gate.receiptFor(last.permit.jti, last.leaf))
  await rig.plane.log.cover()
  await rig.plane.reader.show(last.permit.jti) // brings the index of executions up to date
}

export async function rowsOf(store: Store): Promise<Row[]> {
  const rows: Row[] = []
  for await (const row of store.audit()) rows.push(row.kind === 'tile' ? { ...row, hashes: new Uint8Array(row.hashes) } : row)
  return rows
}

/**
 * Everything that a store holds, as one digest: two stores with the same one are the same to whoever reads them. A counter that
 * lags behind `counters` is caught up with, and counts as the same.
 */
export async function dumpOf(store: Store, counters: Readonly<Record<string, number>>): Promise<string> {
  const hash = createHash('sha256')
  hash.update(JSON.stringify(await store.head()))
  for (const row of await rowsOf(store)) {
    const limit = row.kind === 'meta' ? counters[row.key] : undefined
    const lags = row.kind === 'meta' && limit !== undefined && String(Number(row.value)) === row.value && Number(row.value) >= 0 && Number(row.value) <= limit
    hash.update(JSON.stringify(lags ? { ...row, value: 'lags' } : row, (_, value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value)))
  }
  return hash.digest('hex')
}

/** A store that holds exactly these rows. */
export function storeOf(rows: readonly Row[]): Store {
  const head = (): Head => {
    const groups = rows.filter((row) => row.kind === 'group')
    const last = groups.at(-1)
    return { size: last === undefined ? 0 : last.firstSeq + last.count, checkpoint: groups.findLast(({ checkpoint }) => checkpoint !== undefined)?.checkpoint }
  }
  const meta = (name: string): string | undefined => rows.flatMap((row) => (row.kind === 'meta' && row.key === name ? row.value : []))[0]
  return {
    isShared: false,
    head: async () => head(),
    indexedSize: async () => Number(meta('indexed_size') ?? '0'),
    getMeta: async (name: string) => meta(name),
    audit: async function* () {
      yield* rows
    },
  } as unknown as Store
}

export function check(store: Store, rig: Rig, highWater?: string): Promise<FsckReport> {
  return fsck(store, { logKey: rig.key, crypto: nodeCryptography, tenant: 'default', highWater })
}
