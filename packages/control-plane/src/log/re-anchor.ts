import { type Checkpoint, type Crypto, Denied, keyMembers, type NoteKey, toHex, verifyCheckpoint } from '@sealwrit/protocol'
import type { PlanePorts } from '../ports.ts'
import { Sequencer } from './sequencer.ts'

export interface ReAnchored {
  /** Leaf index of the entry that records it. */
  readonly seq: number
  /** The newest tree known of what was lost; no larger than the store where only the clock was put right. */
  readonly lost: { readonly size: number; readonly root: string }
}

/**
 * Goes on from the store as it is, under a new log key, and records what was lost: the operator's way back after a store was
 * restored from an older copy, or its times were poisoned by a wrong clock. Whoever holds a checkpoint of the lost history
 * must be told to begin anew; permits from before can no longer be redeemed.
 *
 * @param ports with the new key as `logKey` and the old one as `formerLogKey`
 * @throws {LogDamaged} · {Denied} `request_malformed` when the new key is the old one
 */
export async function reAnchor(ports: PlanePorts & { readonly formerLogKey: NoteKey }, tenant: string): Promise<ReAnchored> {
  const { logKey, formerLogKey, crypto, highWater } = ports
  if (logKey.key.id === formerLogKey.id || logKey.key.name !== formerLogKey.name) throw new Denied('request_malformed', 'a new key of the same log is needed')
  const log = await Sequencer.open(ports, tenant)
  if (log.size === 0) throw new Denied('request_malformed', 'an empty log has nothing to go on from')
  const known = verified(highWater.read() ?? log.checkpoint.note, [formerLogKey, logKey.key], crypto)
  const lost = { size: known.size, root: `sha256:${toHex(known.root)}` }
  const { seq } = await log.submit(() => ({ body: { kind: 'key', purpose: 'log', event: 're_anchored', ...keyMembers(logKey.key), lost }, bodies: [] }))
  highWater.write(log.checkpoint.note)
  return { seq, lost }
}

/** A checkpoint under whichever key signed it: a re-anchoring that was cut off may have got as far as the new one. */
function verified(note: string, [key, ...others]: readonly NoteKey[], crypto: Crypto): Checkpoint {
  if (key === undefined) throw new Denied('key_unknown', 'the high-water mark is of another log')
  try {
    return verifyCheckpoint(note, key, crypto)
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    return verified(note, others, crypto)
  }
}
