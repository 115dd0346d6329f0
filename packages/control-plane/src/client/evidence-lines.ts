import { type BundleEntry, closeLine, headLine, openLine } from '@sealwrit/protocol'
import type { PlaneMethods } from '../rpc/api.ts'

type Ask = <M extends 'evidence' | 'evidence.more' | 'policies.text'>(method: M, params: PlaneMethods[M]['params']) => Promise<PlaneMethods[M]['result']>

/**
 * The lines of an evidence bundle, asked from the plane page by page.
 * @param since an earlier signed checkpoint to link it with
 * @param told hears how many entries there are so far, and how many there will be for a whole log
 */
export async function* evidenceLines(ask: Ask, selector: string, since?: string, told: (entries: number, of: number | undefined) => void = () => undefined): AsyncGenerator<string> {
  const first = await ask('evidence', { selector, ...(since === undefined ? {} : { since }) })
  yield headLine(first.head)
  yield openLine('checkpoints')
  yield* items(first.checkpoints)
  yield closeLine('checkpoints')
  yield openLine('anchors')
  yield* items(first.anchors)
  yield closeLine('anchors')
  yield openLine('policies')
  const policies: unknown[] = []
  for (const digest of first.policies) policies.push(await ask('policies.text', { digest }))
  yield* items(policies)
  yield closeLine('policies')
  yield openLine('entries')
  let count = 0
  for (let page: { entries: readonly BundleEntry[]; next: number | undefined } | undefined = first; page !== undefined; ) {
    const { next, entries }: { entries: readonly BundleEntry[]; next: number | undefined } = page
    count += entries.length
    told(count, selector === 'all' ? first.size : undefined)
    yield* items(entries, next !== undefined)
    page = next === undefined ? undefined : await ask('evidence.more', { selector, checkpoint: first.head.checkpoint, size: first.size, from: next })
  }
  yield closeLine('entries')
}

/** One item a line, each but the last followed by a comma. */
function* items(list: readonly unknown[], isFollowed = false): Generator<string> {
  for (const [i, item] of list.entries()) yield `${JSON.stringify(item)}${isFollowed || i < list.length - 1 ? ',' : ''}`
}
