import type { Artifact } from '../artifact/artifact.ts'
import { Denied, type DenialCode } from '../denial.ts'
import { isToken } from '../digest.ts'

/** What can be revoked or killed, from one artifact to everything of a tenant. */
export const SELECTOR_KINDS = ['artifact', 'lineage', 'agent', 'subject', 'tool', 'target', 'policy', 'key', 'tenant', 'all'] as const
export type SelectorKind = (typeof SELECTOR_KINDS)[number]

/** Longest selector, in UTF-16 units. */
export const MAX_SELECTOR = 3_200

/** What a selector is compared with: the members of a permit that name somebody or something. */
export type Selectable = Pick<Artifact, 'scope' | 'sub' | 'act' | 'policy' | 'jti' | 'txn' | 'aud'> & Partial<Pick<Artifact, 'cnf' | 'above'>> & { readonly tenant: string }

/**
 * Reads a selector: `all`, or a kind, a colon and what it names, as in `tool:mcp://fs/delete_file`. The text is the selector: it is
 * compared as it is, so there is one spelling.
 * @throws {Denied} `request_malformed`
 */
export function parseSelector(text: string): { readonly kind: SelectorKind; readonly value: string } {
  if (text === 'all') return { kind: 'all', value: '' }
  const colon = text.indexOf(':')
  const kind = SELECTOR_KINDS.find((known) => known === text.slice(0, colon))
  const value = text.slice(colon + 1)
  const isSound = kind !== undefined && kind !== 'all' && value !== '' && text.length <= MAX_SELECTOR && value.isWellFormed() && !/\p{Cc}/u.test(value)
  if (!isSound) throw new Denied('request_malformed', `a selector is all, or one of ${SELECTOR_KINDS.slice(0, -1).join(', ')} with a colon and a name`)
  if ((kind === 'artifact' || kind === 'lineage') && !isToken(value)) throw new Denied('request_malformed', 'an artifact or lineage is named by its jti')
  return { kind, value }
}

/** The members that selectors are compared with, alone and with texts of their own: what is kept of a permit must not hold on to its entry. */
export function selectableOf({ scope, sub, act, policy, jti, txn, aud, cnf, above, tenant }: Selectable): Selectable {
  return JSON.parse(JSON.stringify({ scope, sub, act, policy, jti, txn, aud, cnf, above, tenant })) as Selectable // oxlint-disable-line no-restricted-properties -- a copy of what was read strictly
}

/** Every selector that meets `permit` or an ancestor of it, so that any number of them is looked up in constant time. */
export function selectorsOf(permit: Selectable): string[] {
  const { scope, sub, act, policy, jti, txn, aud, cnf, above = [], tenant } = permit
  return [
    `artifact:${jti}`, `lineage:${txn}`, act.sub, `subject:${sub}`, `tool:${scope.target}/${scope.name}`, `target:${scope.target}`,
    ...policy.determining.map((id) => `policy:${id}`), `key:${aud}`, ...(cnf === undefined ? [] : [`key:${cnf}`]), `tenant:${tenant}`, 'all', ...above,
  ]
}

/** What is revoked and killed, by selector. */
export interface Prohibited {
  readonly revoked: Pick<ReadonlySet<string>, 'has' | 'size'>
  readonly killed: Pick<ReadonlySet<string>, 'has' | 'size'>
}

/** Why a permit of this kind may not be; a revocation is told before a kill, since it stays, and its own before that of an ancestor. */
export function prohibition(permit: Selectable, { revoked, killed }: Prohibited): Extract<DenialCode, 'revoked' | 'killed' | 'ancestor_revoked'> | undefined {
  if (revoked.size === 0 && killed.size === 0) return undefined
  const selectors = selectorsOf({ ...permit, above: [] })
  if (selectors.some((selector) => revoked.has(selector))) return 'revoked'
  if (selectors.some((selector) => killed.has(selector))) return 'killed'
  return permit.above?.some((selector) => revoked.has(selector) || killed.has(selector)) === true ? 'ancestor_revoked' : undefined
}
