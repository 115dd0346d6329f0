import { parseAction } from '../action.ts'
import type { Permit } from '../artifact/artifact.ts'
import { Denied } from '../denial.ts'
import { ownText } from '../encoding.ts'
import type { JsonValue } from '../json/value.ts'
import { isDelegated, isTermsWithin, parseDelegationTerms } from '../lineage/delegation.ts'
import { ancestorsOf, verifyDescent } from '../lineage/lineage.ts'
import type { PolicyEntry, RedemptionEntry } from '../log/entries.ts'
import type { EntryHead } from '../log/entry.ts'
import type { Body } from './bundle.ts'
import type { Endings } from './endings.ts'
import type { Tally } from './tally.ts'

/** A permit that lets others ask for something below it. */
interface KnownParent {
  readonly permit: Permit
  readonly leaf: string
  /** What it delegates, where the bundle holds it. */
  readonly terms: JsonValue | undefined
  issued: number
}

const DESCENDS = 'the permit descends from one that lets it, within its time, depth and count, and nothing above it had ended'
const NARROWS = 'what was asked for, and what it delegates itself, is within what its parent delegates'

/** Which permit descends from which: a child has its parent before it in the log, and can do no more. */
export class Lineages {
  readonly #tally: Tally
  readonly #lives: Pick<Endings, 'permit' | 'isDenied'>
  readonly #parents = new Map<string, KnownParent>()
  /** Ancestors of children, by their id. */
  readonly #above = new Map<string, readonly string[]>()
  /** Ids that were named before anything stood under them. */
  readonly #missing = new Set<string>()

  /** @param lives what the bundle says of the life of executions */
  constructor(tally: Tally, lives: Pick<Endings, 'permit' | 'isDenied'>) {
    this.#tally = tally
    this.#lives = lives
  }

  /** @param isWhole whether every entry before it was seen */
  permitted(permit: Permit, leaf: string, bodies: readonly Body[] | undefined, isWhole: boolean): void {
    const { jti, seq, par, delegates } = permit
    const at = { seq, jti }
    if (this.#missing.has(jti)) this.#tally.found('contradicted', 'a permit stands behind one that names it as its parent (lineage_cycle)', at)
    // What descends from another plane has no ancestor here, and delegates nothing.
    if (par !== undefined && par.foreign === undefined) this.#descends(permit, par.jti, bodies, isWhole)
    if (delegates === undefined) return
    const terms = bodies?.find(({ purpose, commit }) => purpose === 'delegation' && commit === delegates.terms_commit)?.body
    this.#parents.set(ownText(jti), { permit, leaf, terms, issued: 0 })
  }

  #descends(child: Permit, named: string, bodies: readonly Body[] | undefined, isWhole: boolean): void {
    const at = { seq: child.seq, jti: child.jti }
    const ancestors = ancestorsOf(child)
    this.#above.set(ownText(child.jti), ancestors.map(ownText))
    for (const ancestor of ancestors) {
      const known = this.#parents.get(ancestor)
      if (known !== undefined) known.issued++
    }
    const parent = this.#parents.get(named)
    if (parent === undefined) {
      if (this.#lives.isDenied(named)) return this.#tally.found('contradicted', 'the permit descends from what was denied (ancestor_denied)', at)
      if (isWhole) return this.#tally.found('contradicted', 'the permit names a parent that does not stand before it, delegates nothing, or is void (parent_unknown)', at)
      this.#missing.add(named)
      return this.#tally.found('not established', 'the permit descends from one that is not in this bundle', at)
    }
    const proved = this.#tally.claim(DESCENDS, () => {
      verifyDescent(child, parent.permit, parent.leaf)
      this.#verifyOpen(ancestors, child.time, isWhole)
      if (isWhole && ancestors.some((jti) => !this.#parents.has(jti))) throw new Denied('ancestor_revoked', 'an ancestor does not stand before it, or is void')
      if (ancestors.some((jti) => isOverused(this.#parents.get(jti)))) throw new Denied('budget_exceeded', 'more stand below an ancestor than it allows')
    }, at)
    if (proved !== undefined) this.#narrows(child, parent, bodies, at)
  }

  /** What has its ending authorizes nothing new, and what nobody spent nothing after its start window. */
  #verifyOpen(ancestors: readonly string[], timeMs: number, isWhole: boolean): void {
    for (const jti of ancestors) {
      const known = this.#lives.permit(jti)
      if (known === undefined) continue
      if (known.ending !== undefined) throw new Denied('artifact_expired', 'an ancestor had its ending')
      if (isWhole && known.use === 'redeem' && known.redemption === undefined && timeMs >= known.exp * 1_000) throw new Denied('artifact_expired', 'an ancestor was never spent')
    }
  }

  #narrows(child: Permit, parent: KnownParent, bodies: readonly Body[] | undefined, at: { readonly seq: number }): void {
    const bodyOf = (purpose: Body['purpose']): JsonValue | undefined => bodies?.find((body) => body.purpose === purpose)?.body
    const [action, own] = [bodyOf('action'), bodyOf('delegation')]
    if (parent.terms === undefined || action === undefined || (child.delegates !== undefined && own === undefined)) return this.#tally.notShown(`whether the permit at index ${at.seq} is within what its parent delegates: bodies are not in this bundle`)
    const { terms } = parent
    this.#tally.claim(NARROWS, () => {
      const outer = parseDelegationTerms(terms)
      const asked = { action: parseAction(action), agent: child.act.sub.slice('agent:'.length), audience: child.aud, environment: child.env.level }
      if (!isDelegated(asked, outer)) throw new Denied('delegation_widens', 'something else was asked for')
      if (own !== undefined && !isTermsWithin(parseDelegationTerms(own), outer)) throw new Denied('delegation_widens', 'it delegates more')
    }, at)
  }

  redeemed({ jti, seq, time }: RedemptionEntry & EntryHead, isWhole: boolean): void {
    const ancestors = this.#above.get(jti)
    if (ancestors !== undefined) this.#tally.prove('nothing above a permit has its ending when it is spent', () => this.#verifyOpen(ancestors, time, isWhole), { seq, jti })
  }

  /** An urgent set voids what was permitted under the ones before. */
  policy({ urgent, event = 'activated', epoch }: PolicyEntry): void {
    if (urgent !== true || event === 'staged') return
    for (const [jti, { permit }] of this.#parents) if (permit.policy.epoch < epoch) this.#parents.delete(jti)
  }

  /** What was issued below them may be in the history that was lost. */
  reAnchored(): void {
    this.#parents.clear()
  }
}

function isOverused(parent: KnownParent | undefined): boolean {
  return parent !== undefined && parent.issued > (parent.permit.delegates?.uses ?? 0)
}
