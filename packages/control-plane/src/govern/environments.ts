import { canonicalize, type Digest, digestOf, type EnvironmentFacts, factsOf, type GateEntry, isObject, parseEnvironmentDocument, parseStrictText, type Sha256 } from '@sealwrit/protocol'
import type { DecisionInput } from '../decide/mapping.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { Store } from '../store/store.ts'

/** Environments, and sets of tool definitions, whose facts are kept. */
const MAX_KEPT = 1_024

/** Where something would run, as the log says it and as policies see it. */
export interface Situated {
  /** The environment of the gate's open session; what is decided on it holds for no other. */
  readonly env: GateEntry['env']
  readonly environment: DecisionInput['environment']
}

/** What the plane knows of the environments of its gates: the level from the log, the facts from the document that it commits to. */
export class Environments {
  readonly #log: Sequencer
  readonly #store: Store
  readonly #sha256: Sha256
  readonly #facts = new Map<Digest, EnvironmentFacts>()
  readonly #tools = new Map<string, { readonly at: number; readonly digest: Digest | undefined }>()

  constructor(log: Sequencer, store: Store, sha256: Sha256) {
    this.#log = log
    this.#store = store
    this.#sha256 = sha256
  }

  /** @param target the server whose tools are told */
  async of(gate: string, target: string): Promise<Situated> {
    const { env, sessionSeq } = this.#log.state.gates.get(gate) ?? {}
    if (env === undefined || sessionSeq === undefined) return { env: undefined, environment: { level: 'none' } }
    const facts = this.#facts.get(env.commit) ?? (await this.#read(env.commit, sessionSeq))
    const tools = this.#toolsOf(target)
    return { env, environment: { level: env.level, ...facts, ...(tools === undefined ? {} : { tools_digest: tools }) } }
  }

  /** What was erased or cannot be read tells nothing: whoever demands it is denied. */
  async #read(commit: Digest, seq: number): Promise<EnvironmentFacts> {
    const text = (await this.#store.bodies(seq)).find((body) => body.purpose === 'environment' && body.commit === commit)?.text
    let facts: EnvironmentFacts = {}
    try {
      const document = text === undefined ? undefined : parseStrictText(text)
      if (isObject(document)) facts = factsOf(parseEnvironmentDocument(document))
    } catch {
      // a document of an older version
    }
    return keep(this.#facts, commit, facts)
  }

  /** What is pinned of the target, by name: what was only seen decides nothing. */
  #toolsOf(target: string): Digest | undefined {
    const { tools, toolsSeq } = this.#log.state
    const known = this.#tools.get(target)
    if (known?.at === toolsSeq) return known.digest
    const own = [...tools.values()].flatMap((tool) => (tool.target === target ? [[tool.name, tool.pinned?.digest] as const] : [])).filter((one): one is readonly [string, Digest] => one[1] !== undefined)
    const digest = own.length === 0 ? undefined : digestOf(canonicalize(Object.fromEntries(own)), this.#sha256)
    return keep(this.#tools, target, { at: toolsSeq, digest }).digest
  }
}

/** The oldest makes room. */
function keep<V>(map: Map<string, V>, key: string, value: V): V {
  if (map.size >= MAX_KEPT) map.delete(map.keys().next().value as string)
  map.set(key, value)
  return value
}
