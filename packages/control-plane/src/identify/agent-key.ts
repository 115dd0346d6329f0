import { Denied, fromBase64Url, signingKey, verifyAgentProof } from '@sealwrit/protocol'
import { holdsKey } from '../log/agents.ts'
import type { LogState } from '../log/state.ts'
import type { Claimed, IdentifyPorts, Initiator } from './initiator.ts'

/**
 * Verifies that who asks holds a key that is registered for the agent, for exactly this request.
 * @param sub the principal: the local user
 * @throws {Denied} `identity_unknown` for an agent that is not registered, `proof_of_possession_failed`
 */
export function identifyByKey(proof: string, claimed: Claimed, state: LogState, sub: string, { clock, crypto, origin }: IdentifyPorts): Initiator {
  const { name } = claimed.agent
  const agent = state.agents.get(name)
  if (agent === undefined) throw new Denied('identity_unknown', 'no agent of this name is registered')
  if (claimed.challenge === undefined) throw new Denied('proof_of_possession_failed', 'there is no nonce that the proof could be bound to')
  const nowMs = clock.wallMs()
  const byThumbprint = new Map([...agent.keys.keys()].filter((key) => holdsKey(agent, key, nowMs)).map((key) => [signingKey(fromBase64Url(key), crypto.sha256), key] as const))
  const asked = { aud: origin, agent: name, gate: claimed.gate, challenge: claimed.challenge, action_digest: claimed.actionDigest() }
  const signer = proved(() => verifyAgentProof(proof, [...byThumbprint.keys()], asked, Math.floor(nowMs / 1_000), crypto))
  const key = byThumbprint.get(signer) as string
  return {
    sub,
    act: { sub: `agent:${name}`, verified: true },
    owner: agent.owner,
    cnf: signer.kid,
    context: { form: 'agent-key', issuer: origin, claims: [] },
    holds: (at, timeMs) => holdsKey(at.agents.get(name), key, timeMs),
  }
}

/** Whatever a proof fails is `proof_of_possession_failed`; how its form is wrong is nobody's business (ATK-123). */
export function proved<T>(prove: () => T): T {
  try {
    return prove()
  } catch (error) {
    throw error instanceof Denied ? new Denied('proof_of_possession_failed', error.message) : error
  }
}
