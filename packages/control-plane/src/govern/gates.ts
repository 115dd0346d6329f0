import { type Crypto, canonicalize, commitment, Denied, digestOf, type EnrolRequest, fromBase64Url, signingKey, canonicalText } from '@sealwrit/protocol'
import type { Committed } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'

/** Gates that may be enrolled. */
export const MAX_GATES = 10_000

/**
 * Enrols a gate by its key and opens its session; both are logged. A session that is already open is given again, so
 * that a gate can reconnect.
 * @returns the gate's id and the entry that opened the session
 * @throws {Denied} `encoding_invalid`, `environment_mismatch`, `overloaded`
 */
export async function enrolGate(request: EnrolRequest, log: Sequencer, crypto: Crypto): Promise<{ gate: string; session: Committed }> {
  const publicKey = fromBase64Url(request.key)
  if (publicKey.length !== 32) throw new Denied('encoding_invalid', 'gate key')
  const gate = signingKey(publicKey, crypto.sha256).kid
  const { commit, level, salt, document } = request.environment
  const digest = digestOf(canonicalize(document), crypto.sha256)
  if (commitment('environment', salt, digest, crypto.sha256) !== commit) throw new Denied('environment_mismatch', 'commitment and document disagree')
  const body = { purpose: 'environment', commit, salt, digest, text: canonicalText(document) } as const

  // Two entries at the most, in one group: the key when it is new, and the session.
  const enrolled = log.ensure((state) => {
    if (state.gates.has(gate)) return undefined
    if (state.gates.size >= MAX_GATES) throw new Denied('overloaded', 'too many gates')
    return { body: { kind: 'gate', gate, event: 'enrolled', key: request.key }, bodies: [] }
  })
  const session = log.submit((state) => {
    const known = state.gates.get(gate)
    if (known?.session === request.session && known.env?.commit === commit && known.sessionSeq !== undefined) return { repeat: known.sessionSeq }
    return { body: { kind: 'gate', gate, event: 'session', session: request.session, env: { commit, level } }, bodies: [body] }
  })
  const [opened] = await Promise.all([session, enrolled]) // both are waited for: one that is refused with the other must not go unheard
  return { gate, session: opened }
}
