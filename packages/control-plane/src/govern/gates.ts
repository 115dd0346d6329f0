import { anchorDigest, type Crypto, canonicalize, commitment, Denied, digestOf, type EnrolRequest, type EnvironmentDocument, fromBase64Url, type JsonObject, parseEnvironmentDocument, present, type Rng, signingKey, canonicalText, toBase64Url, TOKEN_BYTES, utf8, verifyGateProof } from '@sealwrit/protocol'
import type { Committed } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import { type EnrolledGate, refuseRevoked } from '../log/state.ts'
import type { PlanePorts } from '../ports.ts'
import type { StoredBody } from '../store/store.ts'
import type { Attestation } from './attestation.ts'
import { type Page, pageOf, type Paged } from '../page.ts'

/** Gates that may be enrolled. */
export const MAX_GATES = 10_000
/** How long a session is open before its gate must open it again, in seconds. */
export const SESSION_SECONDS = 900

/**
 * Enrols a gate by its key, which it proves to hold, and opens its session; both are logged. A session that is open, and will be
 * for a while, is given again, so that a gate can reconnect; an older one is opened anew under its id.
 * @param takeNonce takes back the nonce of the proof, or throws
 * @param attest verifies a signed statement about what was measured; the plane's own verdict raises the level, and nothing else does
 * @returns the gate's id and the entry that opened the session
 * @throws {Denied} `encoding_invalid`, `environment_mismatch`, `environment_unattested`, `request_malformed`, `overloaded`; `identity_invalid` where the proof does not hold
 */
export async function enrolGate(request: EnrolRequest, log: Sequencer, { crypto, rng }: Pick<PlanePorts, 'crypto' | 'rng'>, takeNonce: (nonce: string) => void, attest: Attest): Promise<{ gate: string; session: Committed }> {
  const publicKey = fromBase64Url(request.key)
  if (publicKey.length !== 32) throw new Denied('encoding_invalid', 'gate key')
  const key = signingKey(publicKey, crypto.sha256)
  const gate = key.kid
  try {
    takeNonce(verifyGateProof(request.proof, key, { aud: log.origin, session: request.session }, crypto))
  } catch (error) {
    throw error instanceof Denied ? new Denied('identity_invalid', error.message) : error
  }
  const { commit, level, salt, document } = request.environment
  // INVARIANT: what a gate says of itself is software-only evidence, whatever it calls that (ATK-014).
  if (level !== 'none' && level !== 'software') throw new Denied('environment_unattested', 'a gate cannot vouch for more than what it measured')
  const measured = parseEnvironmentDocument(document)
  const digest = digestOf(canonicalize(document), crypto.sha256)
  if (commitment('environment', salt, digest, crypto.sha256) !== commit) throw new Denied('environment_mismatch', 'commitment and document disagree')
  const statement = request.environment.attestation === undefined ? undefined : await attest(request.environment.attestation, measured)
  const body = { purpose: 'environment', commit, salt, digest, text: canonicalText(document) } as const
  const attestation = statement === undefined ? undefined : attestationBody(statement, crypto, rng)
  const env = { commit, level: statement === undefined ? level : 'signed' } as const

  refuseRevoked(gate, log.state)

  const { anchor } = request
  if (anchor !== undefined && !log.signing.ofHistory(log.state).keys.some((one) => anchorDigest(one.key, crypto.sha256) === anchor)) {
    throw new Denied('state_diverged', 'this gate was given another log key than those of this log; restore its `log.vkey`')
  }

  // Two entries at the most, in one group: the key when it is new, and the session.
  const enrolled = log.ensure((state) => {
    refuseRevoked(gate, state)
    if (state.gates.has(gate)) return undefined
    if (state.gates.size >= MAX_GATES) throw new Denied('overloaded', 'too many gates')
    if (state.agentKeys.has(request.key)) throw new Denied('identity_invalid', 'the key is that of an agent')
    return { body: { kind: 'gate', gate, event: 'enrolled', key: request.key }, bodies: [] }
  })
  const session = log.submit((state, _seq, timeMs) => {
    refuseRevoked(gate, state)
    const known = state.gates.get(gate)
    if (known?.session === request.session && known.env?.commit === commit && known.env.level === env.level && known.sessionSeq !== undefined && isYoung(known, timeMs)) return { repeat: known.sessionSeq }
    if (state.sessions.has(request.session) && known?.session !== request.session) throw new Denied('identity_invalid', 'the session is that of another gate')
    return { body: { kind: 'gate', gate, event: 'session', session: request.session, env, ...(attestation === undefined ? {} : { attestation_commit: attestation.commit }), expires: Math.floor(timeMs / 1_000) + SESSION_SECONDS, ...(anchor === undefined ? {} : { anchor }) }, bodies: attestation === undefined ? [body] : [body, attestation] }
  })
  const [opened] = await Promise.all([session, enrolled]) // both are waited for: one that is refused with the other must not go unheard
  return { gate, session: opened }
}

/** Verifies what a gate presents. @throws {Denied} `environment_unattested` */
export type Attest = (bundle: JsonObject, document: EnvironmentDocument | undefined) => Promise<Attestation>

function attestationBody(statement: Attestation, { sha256 }: Crypto, rng: Rng): Omit<StoredBody, 'seq'> {
  const text = canonicalText(statement as unknown as JsonObject)
  const [salt, digest] = [toBase64Url(rng.bytes(TOKEN_BYTES)), digestOf(utf8(text), sha256)]
  return { purpose: 'attestation', commit: commitment('attestation', salt, digest, sha256), salt, digest, text }
}

/** Whether more than half of the session's time is left. */
function isYoung({ expires }: EnrolledGate, timeMs: number): boolean {
  return expires !== undefined && expires * 1_000 - timeMs > (SESSION_SECONDS * 1_000) / 2
}

/** A gate as it is listed. */
export interface ListedGate {
  readonly gate: string
  readonly key: string
  readonly session?: string
  readonly expires?: number
  readonly level?: string
  readonly open: boolean
}

/** Gates in the order in which they were enrolled. */
export function listGates(asked: Page, gates: ReadonlyMap<string, EnrolledGate>, nowMs: number): Paged<'gates', ListedGate> {
  const { page, ...rest } = pageOf(gates, ([, { enrolledSeq }]) => enrolledSeq, asked)
  return { gates: page.map(([gate, { key, session, expires, env }]) => present<ListedGate>({ gate, key, session, expires, level: env?.level, open: session !== undefined && (expires === undefined || nowMs < expires * 1_000) })), ...rest }
}
