import type { JsonObject, JsonLimits } from '@sealwrit/protocol'
import { MAX_BUNDLE_LINE } from '@sealwrit/protocol'
import type { MethodName, PlaneMethods } from '../rpc/api.ts'

/** What one answer may hold: a page of evidence. */
export const ANSWER_LIMITS: JsonLimits = Object.freeze({ maxBytes: MAX_BUNDLE_LINE, maxDepth: 64, maxMembers: 1_000_000 })
/** How long an answer is waited for, in milliseconds, unless said otherwise. */
export const DEADLINE_MS = 60_000
/** Pages of one list that are asked for at the most. */
const MAX_PAGES = 10_000

/** No plane answers there, or not in time: nothing ran. */
export class PlaneUnreachable extends Error {}

/** Asks a plane for `method`. @throws {Denied} what the plane refuses with @throws {PlaneUnreachable} */
export type Ask<Names extends MethodName = MethodName> = <M extends Names>(method: M, params: PlaneMethods[M]['params']) => Promise<PlaneMethods[M]['result']>

/** A plane, wherever it is. A wrong method, parameter or use of an answer does not compile. */
export interface PlaneClient<Names extends MethodName = MethodName> {
  readonly request: Ask<Names>
  close(): void
}

/** Methods that answer a list page by page, with the member that holds it. */
type ListMember<M extends MethodName> = Exclude<keyof PlaneMethods[M]['result'], 'next' | 'since'>
type ListMethod = { [M in MethodName]: PlaneMethods[M]['params'] extends { readonly cursor?: string; readonly limit?: number } ? (PlaneMethods[M]['result'] extends { readonly next?: string } ? M : never) : never }[MethodName]
type Item<M extends MethodName> = PlaneMethods[M]['result'][ListMember<M>] extends readonly (infer T)[] ? T : never

/** Everything that a list holds, page by page. @throws as {@link Ask} */
export async function* everything<M extends ListMethod>(ask: Ask<NoInfer<M>>, method: M, params: PlaneMethods[M]['params']): AsyncGenerator<Item<M>> {
  for (let cursor: JsonObject = {}, page = 0; page < MAX_PAGES; page++) {
    const { next, since: _since, ...lists } = (await ask(method, { limit: 1_000, ...params, ...cursor } as PlaneMethods[M]['params'])) as unknown as { next?: string; since?: number } & Record<string, readonly Item<M>[]>
    for (const list of Object.values(lists)) yield* list
    if (next === undefined) return
    cursor = { cursor: next }
  }
}
