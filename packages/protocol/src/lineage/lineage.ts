import { MAX_DEPTH_LINEAGE, type Permit } from '../artifact/artifact.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { type Selectable, selectorsOf } from '../govern/selector.ts'
import type { Fields } from '../json/fields.ts'
import { isBoundedBy } from './delegation.ts'

/** Names a permit by its id and its leaf: links of different lineages cannot be put together (ATK-053). */
export interface ParentRef {
  readonly jti: string
  readonly leaf_hash: Digest
}

/** @throws {Denied} the code of `fields` */
export function parseParentRef(fields: Fields): ParentRef {
  const parent = { jti: fields.token('jti'), leaf_hash: fields.digest('leaf_hash') }
  fields.end()
  return parent
}

/**
 * Every selector that meets an ancestor of a permit and not the permit itself, in the order of their code units: what stops an
 * ancestor stops it too, wherever it runs, and nobody needs to know the ancestors for that.
 * @param own the permit, without what it inherits
 */
export function aboveOf(own: Selectable, parent: Selectable): readonly string[] {
  const mine = new Set(selectorsOf({ ...own, above: [] }))
  return [...new Set(selectorsOf(parent))].filter((selector) => !mine.has(selector)).sort()
}

const ARTIFACT = 'artifact:'

/** Ids of all ancestors of a permit. */
export function ancestorsOf({ above = [] }: Pick<Selectable, 'above'>): readonly string[] {
  return above.filter((selector) => selector.startsWith(ARTIFACT)).map((selector) => selector.slice(ARTIFACT.length))
}

/** Those of them that stand in the same log: what descends from another plane has none here. */
export function localAncestors(permit: Pick<Permit, 'above' | 'par'>): readonly string[] {
  return permit.par?.foreign === undefined ? ancestorsOf(permit) : []
}

/** When nothing below a permit may run any more: its own time is over, or what it delegates. Seconds since 1970. */
export function endOfDescent({ exp, constraints, delegates }: Pick<Permit, 'exp' | 'constraints' | 'delegates'>): number {
  return Math.min(exp + constraints.max_runtime_seconds, delegates?.until ?? Number.MAX_SAFE_INTEGER)
}

/** What a permit says of its own place in its lineage agrees with itself. @throws {Denied} `artifact_malformed`, `lineage_cycle` */
export function verifyPlace({ depth, jti, txn, par, above }: Pick<Permit, 'depth' | 'jti' | 'txn' | 'par' | 'above'>): void {
  const wrong = (what: string): never => {
    throw new Denied('artifact_malformed', what)
  }
  if (depth > MAX_DEPTH_LINEAGE) throw new Denied('lineage_depth')
  if (par?.jti === jti) throw new Denied('lineage_cycle', 'it is its own parent')
  if ((depth === 0) !== (par === undefined) || (depth === 0) !== (above === undefined)) wrong('depth, parent and what is above it disagree')
  if ((depth === 0) !== (txn === jti)) wrong('depth and txn disagree')
  if (par === undefined || above === undefined) return
  if (above.some((selector, i) => i > 0 && selector <= (above[i - 1] as string))) wrong('what is above it is not in order, each once')
  const ancestors = ancestorsOf({ above })
  if (ancestors.includes(jti)) throw new Denied('lineage_cycle', 'it is its own ancestor')
  if (ancestors.length !== depth || !ancestors.includes(par.jti) || !ancestors.includes(txn) || (depth === 1 && par.jti !== txn)) wrong('what is above it are not its ancestors')
}

/**
 * Verifies that a permit descends from the one that it names: what can be told from the two leaves.
 * @param parent what stands in the log under the id that the permit names
 * @throws {Denied} `parent_unknown`, `lineage_cycle`, `lineage_depth`, `subject_mismatch`, `delegation_widens`, `artifact_expired`
 */
export function verifyDescent(child: Permit, parent: Permit, parentLeaf: Digest): void {
  if (child.par?.jti !== parent.jti || child.par.leaf_hash !== parentLeaf) throw new Denied('parent_unknown', 'another leaf than it names')
  if (parent.seq >= child.seq) throw new Denied('lineage_cycle', 'its parent stands behind it')
  if (child.txn !== parent.txn) throw new Denied('parent_unknown', 'its root is another one than that of its parent')
  if (child.depth !== parent.depth + 1) throw new Denied('lineage_depth', 'it is not one level below its parent')
  if (child.sub !== parent.sub) throw new Denied('subject_mismatch', 'the principal does not change along a lineage')
  if (child.above?.join('\n') !== aboveOf(child, parent).join('\n')) throw new Denied('parent_unknown', 'what stops its ancestors would not stop it')
  if (parent.delegates === undefined) throw new Denied('delegation_widens', 'its parent delegates nothing')
  if (child.delegates !== undefined && !isBoundedBy(child.delegates, parent.delegates)) throw new Denied('delegation_widens', 'it delegates more than its parent')
  if (child.time >= endOfDescent(parent) * 1_000) throw new Denied('artifact_expired', 'the time of its parent was over')
  if (child.exp + child.constraints.max_runtime_seconds > endOfDescent(parent)) throw new Denied('delegation_widens', 'it may outlive its parent')
}
