import { type Artifact, leafDigest, leafHash, utf8 } from '@sealwrit/protocol'
import { CHALLENGE, GATE_KEY, JTI, permitBody, sha256, TestLog } from './fixture.ts'

/** A permit that can be carried. */
export function carriedBody(change: Partial<Artifact> = {}): Artifact {
  const { challenge: _, ...rest } = permitBody({ use: 'redeem' })
  return { ...rest, ...change }
}

export interface Carried {
  readonly log: TestLog
  /** Leaf index of the permit and of its redemption. */
  readonly at: { readonly permit: number; readonly redemption: number }
  /** As it was issued, under the checkpoint of then. */
  readonly carried: { entry: string; proof: string }
  /** What the plane answers. */
  readonly seals: { redemption: { entry: string; proof: string }; artifact: { entry: string; proof: string } }
}

/** A log in which a permit was issued, carried and redeemed, with other entries between. */
export function carriedAndRedeemed(change: Partial<Artifact> = {}, redemption: object = {}, log: TestLog = new TestLog()): Carried {
  log.add({ kind: 'key', purpose: 'log', event: 'created', key: 'x' })
  log.add({ kind: 'deny', code: 'policy_denied', aud: GATE_KEY.kid })
  const permit = log.add(carriedBody(change))
  const carried = log.seal(permit)
  log.add({ kind: 'deny', code: 'policy_no_match', aud: GATE_KEY.kid })
  const body = carriedBody(change)
  const redeemed = log.add({ kind: 'redemption', jti: JTI, leaf_hash: leafOf(log.leaves[permit] as string), aud: body.aud, challenge: CHALLENGE, exp: body.exp, ...redemption })
  log.add({ kind: 'tool', target: 'mcp://fs', name: 'read_file', digest: `sha256:${'a'.repeat(64)}` })
  return { log, at: { permit, redemption: redeemed }, carried, seals: { redemption: log.seal(redeemed, NO_SALT), artifact: log.seal(permit) } }
}

/** `seal` takes the salt of the fixture where none is given; this one means that there is none. */
const NO_SALT = ''

export function leafOf(text: string): string {
  return leafDigest(leafHash(utf8(text), sha256))
}
