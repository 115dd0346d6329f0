import { Denied, type Fields } from '@sealwrit/protocol'

/** Items on one page of a list at the most, and where nobody says how many. */
export const MAX_PAGE_ITEMS = 1_000
export const PAGE_ITEMS = 100

/** Which page of a list is asked for. Every list takes these two and nothing else for it. */
export interface Page {
  /** `next` of the page before; undefined for the first. */
  readonly cursor: string | undefined
  readonly limit: number
}

/** A page as it is answered: `next` stands where more follows. */
export type Paged<Name extends string, T> = { readonly [N in Name]: readonly T[] } & { readonly next?: string }

/** @throws {Denied} the code of the object that is read */
export function readPage(fields: Fields): Page {
  return {
    cursor: fields.optional('cursor', (name) => fields.text(name, 256)),
    limit: fields.optional('limit', (name) => readLimit(fields, name)) ?? PAGE_ITEMS,
  }
}

function readLimit(fields: Fields, name: string): number {
  const limit = fields.integer(name, MAX_PAGE_ITEMS)
  if (limit === 0) throw new Denied('request_malformed', 'limit: a page of nothing')
  return limit
}

/**
 * The page of `items` that was asked for. They stand in an order that only grows at its end, so what is taken away or added between two
 * pages neither hides nor doubles anything else.
 * @param placeOf a number that grows along `items`
 * @throws {Denied} `request_malformed` for a cursor that no page gave
 */
export function pageOf<T>(items: Iterable<T>, placeOf: (item: T) => number, { cursor, limit }: Page): { readonly page: readonly T[]; readonly next?: string } {
  const after = cursor === undefined ? -1 : placeIn(cursor)
  const page: T[] = []
  for (const item of items) {
    if (placeOf(item) <= after) continue
    if (page.length === limit) return { page, next: String(placeOf(page.at(-1) as T)) }
    page.push(item)
  }
  return { page }
}

/** A cursor that is a place in a list. @throws {Denied} `request_malformed` */
export function placeIn(cursor: string): number {
  if (!/^(0|[1-9]\d{0,14})$/.test(cursor)) throw new Denied('request_malformed', 'a cursor is what the page before gave as next')
  return Number(cursor)
}
