import { ASSURANCE_LEVELS, type AssuranceLevel, type DenialCode, DENIALS, type Entry, fromBase64Url, type Outcome, OUTCOMES, ownText, type Scope, toBase64Url, TOKEN_BYTES } from '@sealwrit/protocol'
import { loggedClaims } from '../log/numbers.ts'
import { SessionIndex } from './session-index.ts'

/** Rows that stand together in memory. */
const CHUNK = 16_384
/** Decisions that are found at once; of a longer log the newest ones. About 50 bytes each. */
export const MAX_INDEXED: number = 256 * CHUNK
/** Agents, subjects and tools that are told apart in memory; what comes beyond it is looked up in its entry. */
export const MAX_NAMES = 100_000

export const DECISIONS = ['permit', 'deny', 'hold'] as const
export type Ending = 'open' | Outcome | 'expired'
/** How a permit ended; `open` while it has no ending. */
export const ENDINGS: readonly Ending[] = ['open', ...OUTCOMES, 'expired']
const CODES = Object.keys(DENIALS) as readonly DenialCode[]

/** One decision as it is found. */
export interface FoundDecision {
  readonly seq: number
  /** Milliseconds since 1970. */
  readonly time: number
  readonly decision: (typeof DECISIONS)[number]
  readonly code?: DenialCode
  /** What policy denied a permit with that is only observed. */
  readonly observed?: DenialCode
  readonly outcome?: Ending
  /** What its receipt states that was reached. */
  readonly assurance?: AssuranceLevel
  /** The `jti` of a permit, or the id of a hold. */
  readonly id?: string
  readonly agent?: string
  readonly sub?: string
  readonly scope?: Scope
}

/** What is looked for; a member that is undefined is as it may. */
export interface DecisionFilter {
  readonly agent?: string | undefined
  /** Server and name, as in the selector `tool:`. */
  readonly tool?: string | undefined
  readonly decision?: (typeof DECISIONS)[number] | undefined
  readonly code?: DenialCode | undefined
  readonly outcome?: Ending | undefined
  /** The level that its receipt states, and the least of it. */
  readonly assurance?: AssuranceLevel | undefined
  readonly min_assurance?: AssuranceLevel | undefined
  /** Milliseconds since 1970; `to` is exclusive. */
  readonly from?: number | undefined
  readonly to?: number | undefined
}

/** Texts by small numbers: 0 is none at all, 1 is one that nobody remembers. */
class Names {
  readonly #numbers = new Map<string, number>()
  readonly #texts: string[] = ['', '']

  put(text: string | undefined): number {
    if (text === undefined) return 0
    const known = this.#numbers.get(text)
    if (known !== undefined) return known
    if (this.#texts.length > MAX_NAMES) return 1
    const own = ownText(text) // it must not hold on to its entry
    this.#numbers.set(own, this.#texts.length)
    return this.#texts.push(own) - 1
  }
  text(number: number): string | undefined {
    return number < 2 ? undefined : this.#texts[number]
  }
  number(text: string): number | undefined {
    return this.#numbers.get(text)
  }
}

class Chunk {
  readonly seq = new Float64Array(CHUNK)
  readonly time = new Float64Array(CHUNK)
  readonly agent = new Uint32Array(CHUNK)
  readonly sub = new Uint32Array(CHUNK)
  readonly tool = new Uint32Array(CHUNK)
  readonly scope = new Uint32Array(CHUNK)
  readonly decision = new Uint8Array(CHUNK)
  /** One more than the place in {@link CODES}; 0 for none. */
  readonly code = new Uint8Array(CHUNK)
  readonly ending = new Uint8Array(CHUNK)
  /** One more than the place in the levels; 0 where no receipt states one. */
  readonly assurance = new Uint8Array(CHUNK)
  readonly id = new Uint8Array(CHUNK * TOKEN_BYTES)
}

/**
 * Decisions in memory, in columns: a million of them are looked through in a few milliseconds. It is derived from entries alone, in
 * their order; whoever uses it brings it up to the log first.
 */
export class ExecutionIndex {
  readonly sessions: SessionIndex = new SessionIndex()
  readonly #agents = new Names()
  readonly #subs = new Names()
  readonly #tools = new Names()
  readonly #scopes = new Names()
  readonly #open = new Map<string, number>()
  readonly #chunks: Chunk[] = []
  /** Rows that were dropped, and rows that there ever were. */
  #dropped = 0
  #rows = 0
  #next = 0

  /** Leaf index of the entry that it waits for. */
  get next(): number {
    return this.#next
  }
  /** Rows from the oldest that is kept to before the newest one to come. */
  get range(): readonly [from: number, to: number] {
    return [this.#dropped, this.#rows]
  }

  /** Takes the entry that comes next; any other one changes nothing. */
  take(entry: Entry): void {
    if (entry.seq !== this.#next) return
    this.#next++
    switch (entry.kind) {
      case 'permit':
        this.#open.set(ownText(entry.jti), this.#rows)
        return this.#add(entry, 0, entry.observed, entry.jti)
      case 'deny':
        return this.#add(entry, 1, entry.code, undefined)
      case 'hold':
        return this.#add(entry, 2, undefined, entry.hold)
      case 'receipt':
        return this.#end(entry.jti, ...toldBy(entry.receipt), true)
      case 'expiry':
        return this.#end(entry.jti, entry.outcome, 0, entry.outcome === 'expired')
      case 'gate':
        return this.sessions.take(entry)
      default:
    }
  }

  #add(entry: Extract<Entry, { kind: 'permit' | 'deny' | 'hold' }>, decision: number, code: DenialCode | undefined, id: string | undefined): void {
    const at = this.#rows % CHUNK
    if (at === 0 && this.#chunks.push(new Chunk()) * CHUNK > MAX_INDEXED) {
      this.#chunks.shift()
      this.#dropped += CHUNK
    }
    this.#rows++
    const chunk = this.#chunks.at(-1) as Chunk
    const { scope } = entry
    chunk.seq[at] = entry.seq
    chunk.time[at] = entry.time
    chunk.agent[at] = this.#agents.put(entry.act?.sub)
    chunk.sub[at] = this.#subs.put(entry.sub)
    chunk.tool[at] = this.#tools.put(scope === undefined ? undefined : `${scope.target}/${scope.name}`)
    chunk.scope[at] = this.#scopes.put(scope === undefined ? undefined : `${scope.type}\n${scope.target}\n${scope.name}`)
    chunk.decision[at] = decision
    chunk.code[at] = code === undefined ? 0 : CODES.indexOf(code) + 1
    if (id !== undefined) chunk.id.set(fromBase64Url(id), at * TOKEN_BYTES)
  }

  #end(jti: string, outcome: Outcome | 'expired', assurance: number, isLast: boolean): void {
    const row = this.#open.get(jti)
    if (row === undefined) return
    if (isLast) this.#open.delete(jti) // what the plane ended as indeterminate a late receipt may still resolve
    if (row < this.#dropped) return
    const chunk = this.#chunk(row)
    chunk.ending[row % CHUNK] = ENDINGS.indexOf(outcome)
    chunk.assurance[row % CHUNK] = assurance
  }

  #chunk(row: number): Chunk {
    return this.#chunks[Math.floor((row - this.#dropped) / CHUNK)] as Chunk
  }

  /** The newest row whose entry stands before leaf index `seq`, and one more: rows up to there are meant. */
  before(seq: number): number {
    let [low, high] = [this.#dropped, this.#rows]
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((this.#chunk(middle).seq[middle % CHUNK] as number) < seq) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Rows before `start` that fit, the newest first, one chunk at a time; `isSure` is false where only the entry can say. */
  *matching(filter: DecisionFilter, start: number): Generator<{ readonly row: number; readonly isSure: boolean }> {
    const agent = filter.agent === undefined ? undefined : (this.#agents.number(filter.agent) ?? 1)
    const tool = filter.tool === undefined ? undefined : (this.#tools.number(filter.tool) ?? 1)
    const decision = filter.decision === undefined ? undefined : DECISIONS.indexOf(filter.decision)
    const code = filter.code === undefined ? undefined : CODES.indexOf(filter.code) + 1
    const ending = filter.outcome === undefined ? undefined : ENDINGS.indexOf(filter.outcome)
    const assurance = filter.assurance === undefined ? undefined : ASSURANCE_LEVELS.indexOf(filter.assurance) + 1
    const least = filter.min_assurance === undefined ? 0 : ASSURANCE_LEVELS.indexOf(filter.min_assurance) + 1
    const [from, to] = [filter.from ?? 0, filter.to ?? Number.POSITIVE_INFINITY]
    for (let row = start - 1; row >= this.#dropped; row -= (row % CHUNK) + 1) {
      const chunk = this.#chunk(row)
      const base = row - (row % CHUNK)
      for (let at = row % CHUNK; at >= 0; at--) {
        if (decision !== undefined && chunk.decision[at] !== decision) continue
        if (code !== undefined && chunk.code[at] !== code) continue
        if (ending !== undefined && (chunk.decision[at] !== 0 || chunk.ending[at] !== ending)) continue
        const level = chunk.assurance[at] as number
        if (level < least || (assurance !== undefined && level !== assurance)) continue
        const time = chunk.time[at] as number
        if (time < from || time >= to) continue
        const [ownAgent, ownTool] = [chunk.agent[at], chunk.tool[at]]
        if ((agent !== undefined && ownAgent !== agent && ownAgent !== 1) || (tool !== undefined && ownTool !== tool && ownTool !== 1)) continue
        yield { row: base + at, isSure: !((agent !== undefined && ownAgent === 1) || (tool !== undefined && ownTool === 1)) }
      }
    }
  }

  /** @param entry where the row alone does not say everything */
  found(row: number, entry?: Entry): FoundDecision {
    const chunk = this.#chunk(row)
    const at = row % CHUNK
    const decision = DECISIONS[chunk.decision[at] as number] as FoundDecision['decision']
    const own = entry?.kind === decision ? entry : undefined
    const code = CODES[(chunk.code[at] as number) - 1]
    const assurance = ASSURANCE_LEVELS[(chunk.assurance[at] as number) - 1]
    const [agent, sub, scope] = [own?.act?.sub ?? this.#agents.text(chunk.agent[at] as number), own?.sub ?? this.#subs.text(chunk.sub[at] as number), own?.scope ?? scopeOf(this.#scopes.text(chunk.scope[at] as number))]
    return {
      seq: chunk.seq[at] as number, time: chunk.time[at] as number, decision,
      ...(code === undefined ? {} : decision === 'permit' ? { observed: code } : { code }),
      ...(decision === 'permit' ? { outcome: ENDINGS[chunk.ending[at] as number] as Ending } : {}),
      ...(assurance === undefined ? {} : { assurance }),
      ...(decision === 'deny' ? {} : { id: toBase64Url(chunk.id.subarray(at * TOKEN_BYTES, (at + 1) * TOKEN_BYTES)) }),
      ...(agent === undefined ? {} : { agent }), ...(sub === undefined ? {} : { sub }), ...(scope === undefined ? {} : { scope }),
    }
  }

  /** Leaf index of the row. */
  seqOf(row: number): number {
    return this.#chunk(row).seq[row % CHUNK] as number
  }
  /** Whether names of the row are not kept here. */
  isBare(row: number): boolean {
    const chunk = this.#chunk(row)
    return [chunk.agent, chunk.sub, chunk.tool, chunk.scope].some((column) => column[row % CHUNK] === 1)
  }
}

function scopeOf(text: string | undefined): Scope | undefined {
  if (text === undefined) return undefined
  const [type, target, name] = text.split('\n') as [Scope['type'], string, string]
  return { type, target, name }
}

/**
 * What a receipt says that became of it, and one more than the place of the assurance that it states. It was verified when it was logged;
 * no text inside JSON holds a bare quotation mark, so these are the members.
 */
function toldBy(receipt: string): [Outcome, number] {
  const claims = loggedClaims(receipt)
  const [outcome, assurance] = [/"outcome":"([a-z_]+)"/, /"assurance":"(A[0-5])"/].map((member) => member.exec(claims)?.[1])
  return [OUTCOMES.find((one) => one === outcome) ?? 'indeterminate', ASSURANCE_LEVELS.findIndex((level) => level === assurance) + 1]
}
