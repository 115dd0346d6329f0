import { type Agent, MAX_PERMISSIBLE, parsePermissibleReply, permissibleDigest, type PermissibleRequest, type PermissibleScope, present, type Rng, type Sha256, toBase64Url, TOKEN_BYTES } from '@sealwrit/protocol'
import type { Identify } from './identity.ts'
import type { PlaneLink } from './plane/link.ts'

/** What is asked about: kinds of action at one target. */
export interface PermissibleQuestion {
  readonly agent: Agent
  readonly target: string
  readonly scopes: readonly PermissibleScope[]
  readonly identify?: Identify | undefined
}

/** The gate that asks. */
export interface Asks {
  readonly session: string
  readonly gate: string
  readonly origin: string
  readonly rng: Rng
  readonly sha256: Sha256
}

/**
 * Asks the plane which of these could be permitted at all, in their order. It is for showing lists: what is true here is judged like
 * everything else when it is asked for.
 * @throws {Denied} what the plane refuses with, or `unavailable`
 */
export async function askPermissible({ agent, target, scopes, identify }: PermissibleQuestion, link: PlaneLink, { session, gate, origin, rng, sha256 }: Asks): Promise<readonly boolean[]> {
  const answers: boolean[] = []
  for (let from = 0; from < scopes.length; from += MAX_PERMISSIBLE) {
    const about = { agent, target, scopes: scopes.slice(from, from + MAX_PERMISSIBLE).map(({ type, name }) => ({ type, name })) }
    const challenge = toBase64Url(rng.bytes(TOKEN_BYTES))
    const identity = await identify?.({ aud: origin, agent: agent.name, gate, challenge, action_digest: permissibleDigest(about, sha256) })
    const params = present<PermissibleRequest>({ session, ...about, identity, challenge: identity === undefined ? undefined : challenge })
    answers.push(...(await link.request('tools.permissible', params as never, (value) => parsePermissibleReply(value, about.scopes.length))))
  }
  return answers
}
