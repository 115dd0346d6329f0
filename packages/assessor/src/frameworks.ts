import { Denied, Fields, type JsonValue } from '@sealwrit/protocol'
import type { Model } from './criteria.ts'
import type { Grade } from './grade.ts'

/** What a framework asks for somewhere, which points speak to it, and what of it nothing here shows. */
export interface FrameworkItem {
  readonly framework: string
  readonly reference: string
  readonly about: string
  readonly points: readonly string[]
  readonly not_covered: string
}

/** One item, with how many of its points are met by evidence. A claim of nobody is in it. */
export interface Covered extends FrameworkItem {
  readonly met: number
}

/** @throws {Denied} `request_malformed` for another form, or a point that the model does not have */
export function parseFrameworks(value: JsonValue, model: Model): readonly FrameworkItem[] {
  const fields = new Fields(value, 'request_malformed', 'frameworks')
  fields.text('version', 64)
  const items = fields.value('items')
  fields.end()
  if (!Array.isArray(items) || items.length > 200) throw new Denied('request_malformed', 'frameworks: items')
  const known = new Set(model.criteria.map(({ id }) => id))
  return items.map((one: JsonValue) => {
    const item = new Fields(one, 'request_malformed', 'framework item')
    const read: FrameworkItem = { framework: item.text('framework', 100), reference: item.text('reference', 60), about: item.string('about', 200), points: item.strings('points', 32), not_covered: item.text('not_covered', 300) }
    item.end()
    for (const point of read.points) if (!known.has(point)) throw new Denied('request_malformed', `framework item: ${point} is no criterion`)
    return read
  })
}

export function coverage(items: readonly FrameworkItem[], { dimensions }: Grade): readonly Covered[] {
  const met = new Set(dimensions.flatMap(({ points }) => points.flatMap(({ criterion, isMet }) => (isMet ? [criterion.id] : []))))
  return items.map((item) => ({ ...item, met: item.points.filter((id) => met.has(id)).length }))
}
