import { canonicalText } from '@sealwrit/protocol'
import type { Store } from '../store/store.ts'

/** Names that are known to be in the store; beyond it the oldest is written again when it is met. */
const MAX_KNOWN = 10_000
const key = (id: string): string => `directory ${id}`

/**
 * Which name an opaque id stands for. Names of people stand here and in no leaf, so that they can be erased: the id stays, and
 * says nothing but that it was the same one.
 */
export class Directory {
  readonly #store: Store
  readonly #known = new Set<string>()

  constructor(store: Store) {
    this.#store = store
  }

  async remember(id: string, named: { readonly iss: string; readonly name: string }): Promise<void> {
    if (this.#known.has(id)) return
    const { iss, name } = named
    await this.#store.putMeta(key(id), canonicalText({ iss, name }))
    if (this.#known.size >= MAX_KNOWN) this.#known.delete(this.#known.values().next().value as string)
    this.#known.add(id)
  }

  /** Canonical JSON of issuer and name; undefined where nothing is known, or any more. */
  async find(id: string): Promise<string | undefined> {
    const text = await this.#store.getMeta(key(id))
    return text === '' ? undefined : text
  }

  async erase(id: string): Promise<void> {
    this.#known.delete(id)
    if ((await this.find(id)) !== undefined) await this.#store.putMeta(key(id), '')
  }
}
