import type { AgentEntry, EntryHead } from '@sealwrit/protocol'

/** Agents that may be registered at once. */
export const MAX_AGENTS = 100_000
/** Keys that one agent may have at once: the old and the new one while it changes them, and those of a few machines. */
export const MAX_AGENT_KEYS = 8
/** Keys that were ever registered; a key that was removed never comes back, so they are remembered. */
export const MAX_REGISTERED_KEYS = 1_000_000

export interface RegisteredAgent {
  /** Leaf index of the entry that added it. */
  readonly seq: number
  readonly owner: string
  /** By public key, base64url: when each ends, seconds since 1970, exclusive; undefined for one that does not end. */
  readonly keys: ReadonlyMap<string, number | undefined>
}

/** The agent as it is after `entry`; undefined where it is registered no longer. */
export function afterAgentEntry(known: RegisteredAgent | undefined, { event, key, owner, expires, seq }: AgentEntry & Pick<EntryHead, 'seq'>): RegisteredAgent | undefined {
  if (event === 'removed') return undefined
  if (event === 'added') return { seq, owner: owner as string, keys: new Map([[key as string, expires]]) }
  if (known === undefined) return undefined
  const keys = new Map(known.keys)
  if (event === 'key_added') keys.set(key as string, expires)
  else keys.delete(key as string)
  return { ...known, keys }
}

/** Whether `agent` holds `key` at `timeMs`. */
export function holdsKey(agent: RegisteredAgent | undefined, key: string, timeMs: number): boolean {
  if (agent === undefined || !agent.keys.has(key)) return false
  const expires = agent.keys.get(key)
  return expires === undefined || timeMs < expires * 1_000
}
