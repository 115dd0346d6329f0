import type { Policy } from './policy-set.ts'

/** Which tool arguments a slice of policies can look at. */
export interface Reads {
  /** True when a policy uses `context` or `context.args` as a whole, so that nothing may be left out. */
  readonly all: boolean
  /** Members of `context.args` that are read or tested by name. */
  readonly args: ReadonlySet<string>
}

/** Walks the parsed conditions: sound, since every use of `context` in Cedar is a variable node. */
export function readsOf(policies: readonly Policy[]): Reads {
  const args = new Set<string>()
  let all = false
  /** Depth of the access path from `context`: 0 is `context` itself, 1 one of its members, 2 a member of `context.args`. */
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (typeof node !== 'object' || node === null) return
    const access = contextAccess(node)
    if (access !== undefined) {
      const [first, second] = access
      if (first === undefined || (first === 'args' && second === undefined)) all = true
      else if (first === 'args') args.add(second as string)
      return
    }
    for (const member of Object.values(node)) visit(member)
  }
  for (const policy of policies) visit(policy.json.conditions)
  return { all, args }
}

/** The member names behind `context`, outermost last; undefined when `node` is no access to `context`. */
function contextAccess(node: object): readonly string[] | undefined {
  if ('Var' in node) return node.Var === 'context' ? [] : undefined
  for (const operator of ['.', 'has'] as const) {
    const access = (node as Record<string, unknown>)[operator]
    if (typeof access !== 'object' || access === null || !('left' in access) || !('attr' in access)) continue
    const left = typeof access.left === 'object' && access.left !== null ? contextAccess(access.left) : undefined
    if (left === undefined) return undefined
    // `has` of several names at once, as in `context has args.path`, is written as a list.
    const names: readonly unknown[] = Array.isArray(access.attr) ? access.attr : [access.attr]
    return [...left, ...names.map(String)]
  }
  return undefined
}
