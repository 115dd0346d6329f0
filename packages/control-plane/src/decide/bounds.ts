import type { Policy } from './policy-set.ts'

/**
 * How deep the text of one policy may go. Cedar walks it by recursion, and running out of stack does not only fail: it leaves
 * the engine unusable for every later call (measured: brackets beyond 64, chains beyond 256). So it is counted before Cedar sees it.
 */
export const MAX_BRACKETS = 32
/** `&&`, `||`, `+`, `-` and `*` in one policy. */
export const MAX_CHAINED = 128
/** `if` in one policy. */
export const MAX_CONDITIONALS = 32
/** Members behind each other, as in `context.args.path`. */
export const MAX_ACCESSES = 32
/** Characters of one policy, and of a schema. */
export const MAX_POLICY_TEXT = 65_536
export const MAX_SCHEMA_TEXT = 262_144
/** Characters of one `like` pattern. */
export const MAX_LIKE_PATTERN = 256
/** Wildcards in one `like` pattern. */
export const MAX_LIKE_STARS = 8
/** Elements of one set literal. */
export const MAX_SET_LITERAL = 10_000
/** Nodes of one policy. */
export const MAX_POLICY_NODES = 20_000

/** The tokens of Cedar text that matter here, in one pass; strings and comments are skipped as wholes. */
function* tokensOf(text: string): Generator<string> {
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string
    if (c === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === '\\') i++
    } else if (c === '/' && text[i + 1] === '/') {
      while (i < text.length && text[i] !== '\n') i++
    } else if (isWordPart(c)) {
      const from = i
      while (isWordPart(text[i + 1] ?? '')) i++
      const word = text.slice(from, Math.min(i + 1, from + 8))
      if (WORDS.has(word)) yield word
    } else if ((c === '&' || c === '|' || c === '=') && text[i + 1] === c) {
      i++
      yield c + c
    } else if (PUNCTUATION.has(c)) yield c
  }
}

const WORDS: ReadonlySet<string> = new Set(['if', 'has', 'like', 'in'])
const PUNCTUATION: ReadonlySet<string> = new Set('()[]{}<>.,;+-*')
const isWordPart = (c: string): boolean => (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c === '_'

/**
 * Refuses text that Cedar could not walk.
 * @param what names the text in the message
 * @throws {Error}
 */
export function checkDepth(text: string, what: string): void {
  const accesses = [0]
  let [chained, conditionals] = [0, 0]
  const limit = (count: number, max: number, of: string): void => {
    if (count > max) throw new Error(`${what}: more than ${max} ${of}; split it`)
  }
  for (const token of tokensOf(text)) {
    const last = accesses.length - 1
    switch (token) {
      case '(': case '[': case '{':
        accesses.push(0)
        limit(accesses.length - 1, MAX_BRACKETS, 'brackets inside each other')
        break
      case ')': case ']': case '}':
        if (last > 0) accesses.pop()
        break
      case '.':
        accesses[last] = (accesses[last] ?? 0) + 1
        limit(accesses[last] ?? 0, MAX_ACCESSES, 'members behind each other')
        break
      case ';':
        ;[chained, conditionals] = [0, 0]
        accesses[last] = 0
        break
      case 'if':
        limit(++conditionals, MAX_CONDITIONALS, 'conditionals in one policy')
        break
      case '&&': case '||': case '+': case '-': case '*':
        accesses[last] = 0
        limit(++chained, MAX_CHAINED, 'chained operators in one policy')
        break
      default:
        accesses[last] = 0
    }
  }
}

/** The same for a schema, where types nest in `<>` too. @throws {Error} */
export function checkSchemaDepth(text: string): void {
  if (text.length > MAX_SCHEMA_TEXT) throw new Error(`more than ${MAX_SCHEMA_TEXT} characters`)
  let depth = 0
  for (const token of tokensOf(text)) {
    if ('[({<'.includes(token)) depth++
    else if ('])}>'.includes(token)) depth = Math.max(0, depth - 1)
    if (depth > MAX_BRACKETS) throw new Error(`more than ${MAX_BRACKETS} brackets inside each other`)
  }
}

/** What evaluating policies can cost at the most. */
export interface Weight {
  readonly nodes: number
  /** Characters of all their `like` patterns: each is compared with a whole string. */
  readonly likeLength: number
  /** How often they look at the context: each may walk a whole set of strings. */
  readonly setReads: number
}

/** @throws {Error} for a policy beyond the limits of one */
export function weigh(policy: Pick<Policy, 'json'>): Weight {
  let [nodes, likeLength, contexts] = [0, 0, 0]
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    nodes++
    if (Array.isArray(node)) return node.forEach(visit)
    if ('Var' in node && node.Var === 'context') contexts++
    if ('like' in node) {
      likeLength += patternLength(node.like)
      return visit((node.like as { left?: unknown }).left)
    }
    if ('Set' in node && Array.isArray(node.Set) && node.Set.length > MAX_SET_LITERAL) throw new Error(`a set of more than ${MAX_SET_LITERAL} elements`)
    for (const member of Object.values(node)) visit(member)
  }
  visit(policy.json.conditions)
  if (nodes > MAX_POLICY_NODES) throw new Error(`more than ${MAX_POLICY_NODES} parts; split it`)
  return { nodes, likeLength, setReads: contexts }
}

function patternLength(like: unknown): number {
  const pattern = (like as { pattern?: unknown }).pattern
  if (!Array.isArray(pattern)) throw new Error('a pattern that is not read here')
  const length = pattern.reduce<number>((sum, part: unknown) => sum + (typeof part === 'object' && part !== null && 'Literal' in part ? String(part.Literal).length : 1), 0)
  const stars = pattern.filter((part) => part === 'Wildcard').length
  if (length > MAX_LIKE_PATTERN) throw new Error(`a \`like\` pattern of more than ${MAX_LIKE_PATTERN} characters`)
  if (stars > MAX_LIKE_STARS) throw new Error(`a \`like\` pattern with more than ${MAX_LIKE_STARS} wildcards`)
  return length
}

export function sumOf(weights: readonly Weight[]): Weight {
  return weights.reduce((sum, one) => ({ nodes: sum.nodes + one.nodes, likeLength: sum.likeLength + one.likeLength, setReads: sum.setReads + one.setReads }), { nodes: 0, likeLength: 0, setReads: 0 })
}

/**
 * What one decision may cost, in steps of about 2 ns on the machine of `bench/RESULTS.md`: one character of a pattern against
 * one of a string. An evaluation cannot be interrupted, so whatever could go beyond is refused before it begins (ATK-059).
 */
export const MAX_STEPS = 50_000_000
/** Steps that one node stands for. */
const STEPS_PER_NODE = 250

/** @param longest characters of the longest string that reaches the policies @param inSets characters of all strings in sets that do */
export function stepsOf({ nodes, likeLength, setReads }: Weight, longest: number, inSets: number): number {
  return nodes * STEPS_PER_NODE + likeLength * longest + setReads * inSets
}
