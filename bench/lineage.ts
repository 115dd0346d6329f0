import * as path from 'node:path'
import { asker } from './support/asker.ts'
import { type Figure, quantile, time } from './support/figure.ts'
import { grown } from './support/history.ts'
import { startPlane, stop } from './support/plane.ts'

const ENTRIES = 1_000_000
const CALLS = 200
/** What issue and targets ask for, in milliseconds. */
const BOUND_MS = 100

/** Lineage answers on a log of 10⁶ entries: of a tree that stands together, of one that is spread over all of it, and of one link in a chain. */
export async function lineage(): Promise<Figure[]> {
  const { folder, family } = await grown('lineage', ENTRIES, 0, { spread: 1_000, together: 1_000, chain: 8 })
  const { dir, child } = await startPlane(folder, 0)
  const plane = await asker(path.join(dir, 'plane.sock'))
  const ask = async (id: string, limit: number): Promise<number> => ((await plane.ask('lineage', { id, limit }))['below'] as readonly unknown[]).length
  const coldMs = await time(() => ask(family.leaf, 1))
  const of = async (id: string, limit: number, wanted: number): Promise<number[]> => {
    const times: number[] = []
    for (let i = 0; i < CALLS; i++) times.push(await time(async () => {
      if ((await ask(id, limit)) !== wanted) throw new Error('another lineage')
    }))
    return times
  }
  const measured = {
    'a leaf of eight levels, up to its root': await of(family.leaf, 100, 0),
    '100 of 1,000 below a root, written together': await of(family.together, 100, 100),
    'all 1,000 of them': await of(family.together, 1_000, 1_000),
    '100 of 1,000 below a root, spread over the whole log': await of(family.spread, 100, 100),
    'all 1,000 of those': await of(family.spread, 1_000, 1_000),
  }
  plane.close()
  await stop(child)
  const p99 = Math.max(quantile(measured['a leaf of eight levels, up to its root'], 0.99), quantile(measured['100 of 1,000 below a root, written together'], 0.99), quantile(measured['100 of 1,000 below a root, spread over the whole log'], 0.99))
  const row = ([name, times]: [string, number[]]): readonly [string, string] => [name, `p50 ${quantile(times, 0.5).toFixed(1)} ms, p99 ${quantile(times, 0.99).toFixed(1)} ms`]
  return [{
    id: 'lineage', what: 'p99 of a page of `lineage` with 10⁶ entries in the log', baseline: `${BOUND_MS} ms`, must: 1, stretch: 0.2, better: 'lower', ratio: p99 / BOUND_MS,
    rows: [...Object.entries(measured).map(row), ['the first answer after a start with nothing of the log indexed', `${(coldMs / 1_000).toFixed(1)} s`]],
    durability: 'SQLite WAL, read through the socket', note: 'the index lags behind the log: it is brought up after an idle second, or by whoever reads it',
  }]
}
