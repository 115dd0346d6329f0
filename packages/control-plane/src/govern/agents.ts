import { type AgentEntry, Denied, fromBase64Url, isAgentName, present, type Crypto, signingKey } from '@sealwrit/protocol'
import { MAX_AGENT_KEYS, MAX_AGENTS, MAX_REGISTERED_KEYS, type RegisteredAgent } from '../log/agents.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { LogState } from '../log/state.ts'
import { type Page, pageOf, type Paged } from '../page.ts'

/** What is to become of an agent: the entry, without its kind. */
export type AgentChange = Omit<AgentEntry, 'kind'>

/** An agent as it is listed. */
export interface ListedAgent {
  readonly agent: string
  readonly owner: string
  readonly keys: readonly { readonly key: string; readonly thumbprint: string; readonly expires?: number }[]
}

/**
 * Registers an agent, gives it a key, takes one, or removes it; logged before it counts.
 * @returns leaf index of the entry
 * @throws {Denied} `request_malformed` for what does not fit what is registered, `identity_unknown`, `overloaded`
 */
export async function changeAgent(change: AgentChange, log: Sequencer): Promise<number> {
  const { agent, key } = change
  if (!isAgentName(agent)) throw new Denied('request_malformed', 'an agent name is 1 to 64 letters, digits, dots, dashes or underscores')
  if (key !== undefined && fromBase64Url(key).length !== 32) throw new Denied('encoding_invalid', 'agent key')
  const committed = await log.submit((state, _seq, timeMs) => {
    verifyChange(change, state, timeMs)
    return { body: { kind: 'agent', ...change }, bodies: [] }
  })
  return committed.seq
}

function verifyChange({ agent, event, key, expires }: AgentChange, state: LogState, timeMs: number): void {
  const known = state.agents.get(agent)
  if ((event === 'added') === (known !== undefined)) throw known === undefined ? new Denied('identity_unknown', 'no agent of this name is registered') : new Denied('request_malformed', 'an agent of this name is registered already')
  if (event === 'added' && state.agents.size >= MAX_AGENTS) throw new Denied('overloaded', 'too many agents')
  if (expires !== undefined && expires * 1_000 <= timeMs) throw new Denied('request_malformed', 'the key would have ended already')
  if (key === undefined) return
  const isHeld = known?.keys.has(key) === true
  if (event === 'key_removed') {
    if (!isHeld) throw new Denied('identity_unknown', 'the agent has no such key')
    return
  }
  if (isHeld) return verifyEarlier(known, key, expires)
  // One key, one holder, for ever: what was removed does not come back under another name either.
  if (state.agentKeys.has(key)) throw new Denied('request_malformed', 'the key is or was registered already')
  if (state.agentKeys.size >= MAX_REGISTERED_KEYS || (known?.keys.size ?? 0) >= MAX_AGENT_KEYS) throw new Denied('overloaded', 'too many keys')
  for (const gate of state.gates.values()) if (gate.key === key) throw new Denied('request_malformed', 'the key is that of a gate')
}

/** A key that is held already can only end earlier. */
function verifyEarlier(known: RegisteredAgent | undefined, key: string, expires: number | undefined): void {
  const before = known?.keys.get(key)
  if (expires === undefined || (before !== undefined && expires > before)) throw new Denied('request_malformed', 'the agent has this key; its end can only be moved forward')
}

/** Agents in the order in which they were added. */
export function listAgents(asked: Page, { agents }: LogState, { sha256 }: Pick<Crypto, 'sha256'>): Paged<'agents', ListedAgent> {
  const { page, ...rest } = pageOf(agents, ([, { seq }]) => seq, asked)
  const listed = page.map(([agent, { owner, keys }]) => ({ agent, owner, keys: [...keys].map(([key, expires]) => present<ListedAgent['keys'][number]>({ key, thumbprint: signingKey(fromBase64Url(key), sha256).kid, expires })) }))
  return { agents: listed, ...rest }
}
