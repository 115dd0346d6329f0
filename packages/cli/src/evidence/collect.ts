import { type BundleEntry, type BundleHead, closeLine, headLine, type JsonObject, type JsonValue, type LinkedCheckpoint, openLine } from '@sealwrit/protocol'
import { askPlane } from '../local/client.ts'
import type { PlaneFolder } from '../local/folder.ts'

interface FirstPage {
  readonly head: BundleHead
  readonly size: number
  readonly checkpoints: readonly LinkedCheckpoint[]
  readonly anchors: readonly unknown[]
  readonly policies: readonly string[]
  readonly entries: readonly BundleEntry[]
  readonly next?: number
}

/**
 * The lines of an evidence bundle, asked from the plane page by page.
 * @param since an earlier signed checkpoint to link it with
 * @param told hears how many entries there are so far, and how many there will be for a whole log
 */
export async function* evidenceLines(folder: PlaneFolder, selector: string, since?: string, told: (entries: number, of: number | undefined) => void = () => undefined): AsyncGenerator<string> {
  const first = (await askPlane(folder, 'evidence', { selector, ...(since === undefined ? {} : { since }) })) as unknown as FirstPage
  yield headLine(first.head)
  yield openLine('checkpoints')
  yield* items(first.checkpoints)
  yield closeLine('checkpoints')
  yield openLine('anchors')
  yield* items(first.anchors)
  yield closeLine('anchors')
  yield openLine('policies')
  const policies: JsonValue[] = []
  for (const digest of first.policies) policies.push(await askPlane(folder, 'policies.text', { digest }))
  yield* items(policies)
  yield closeLine('policies')
  yield openLine('entries')
  let count = 0
  for (let page: { entries: readonly BundleEntry[]; next?: number } | undefined = first; page !== undefined; ) {
    const { next, entries }: { entries: readonly BundleEntry[]; next?: number } = page
    count += entries.length
    told(count, selector === 'all' ? first.size : undefined)
    yield* items(entries, next !== undefined)
    page = next === undefined ? undefined : ((await askPlane(folder, 'evidence.more', { checkpoint: first.head.checkpoint, size: first.size, from: next } satisfies JsonObject)) as unknown as typeof page)
  }
  yield closeLine('entries')
}

/** One item a line, each but the last followed by a comma. */
function* items(list: readonly unknown[], isFollowed = false): Generator<string> {
  for (const [i, item] of list.entries()) yield `${JSON.stringify(item)}${isFollowed || i < list.length - 1 ? ',' : ''}`
}
