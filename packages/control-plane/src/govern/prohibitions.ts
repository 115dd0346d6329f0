import { Denied, parseSelector } from '@sealwrit/protocol'
import type { Committed } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'

/** Selectors that may be revoked or killed at once. */
export const MAX_PROHIBITIONS = 1_000_000

/** Voids what `selector` names, for good: recorded when this resolves. @param by who asks @throws {Denied} `request_malformed`, `overloaded` */
export function revoke(selector: string, by: string, log: Sequencer): Promise<Committed> {
  checkTenant(selector, log.tenant)
  return log.submit((state) => {
    const known = state.revoked.get(selector)
    if (known !== undefined) return { repeat: known }
    if (state.revoked.size >= MAX_PROHIBITIONS) throw new Denied('overloaded', 'too many revocations')
    return { body: { kind: 'revocation', selector, by }, bodies: [] }
  })
}

/** Stops what `selector` names and refuses it from here on: recorded when this resolves. @throws {Denied} `request_malformed`, `overloaded` */
export function kill(selector: string, by: string, log: Sequencer): Promise<Committed> {
  checkTenant(selector, log.tenant)
  return log.submit((state) => {
    const known = state.killed.get(selector)
    if (known !== undefined && known.lifters.length === 0) return { repeat: known.seq }
    if (state.killed.size >= MAX_PROHIBITIONS) throw new Denied('overloaded', 'too many kills')
    return { body: { kind: 'kill', selector, event: 'killed', by }, bodies: [] } // killed again: whoever asked to lift it asks anew
  })
}

/**
 * Asks to lift a kill. It is lifted by the last of `quorum` distinct people who ask.
 * @returns how many asked, and whether it is lifted
 * @throws {Denied} `request_malformed` when nothing of this name is killed
 */
export async function lift(selector: string, by: string, quorum: number, log: Sequencer): Promise<{ readonly lifted: boolean; readonly asked: number }> {
  checkTenant(selector, log.tenant)
  let asked = 0
  const { entry } = await log.submit((state, seq) => {
    const known = state.killed.get(selector)
    if (known === undefined) throw new Denied('request_malformed', 'nothing of this name is killed')
    const others = known.lifters.filter((other) => other !== by)
    asked = others.length + 1
    if (asked >= quorum) return { body: { kind: 'kill', selector, event: 'lifted', by }, bodies: [] }
    if (others.length < known.lifters.length) return { repeat: Math.min(seq - 1, known.seq) } // asked already
    return { body: { kind: 'kill', selector, event: 'lift_asked', by }, bodies: [] }
  })
  return { lifted: entry.kind === 'kill' && entry.event === 'lifted', asked }
}

/** What is stopped is that of this log: another tenant has its own. */
function checkTenant(selector: string, tenant: string): void {
  const { kind, value } = parseSelector(selector)
  if (kind === 'tenant' && value !== tenant) throw new Denied('tenant_mismatch')
}
