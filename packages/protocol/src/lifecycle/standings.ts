import { parseApprovalRefs } from '../approval/approval.ts'
import { isObject } from '../json/value.ts'
import type { Entry } from '../log/entry.ts'
import { peekClaims } from '../receipt/jws.ts'
import { OUTCOMES, type Receipt } from '../receipt/receipt.ts'
import { isLegal, type Standing } from './table.ts'

/** A step that the life cycle does not know. */
export interface IllegalStep {
  readonly id: string
  readonly seq: number
  readonly from: Standing
  readonly to: Standing
}

/** Where every execution and every hold stands: the life cycle run over entries, in the order of the log. */
export class Standings {
  readonly #at = new Map<string, Standing>()
  /** Holds by the leaf index of what was said of them. */
  readonly #holds = new Map<number, string>()

  of(id: string): Standing {
    return this.#at.get(id) ?? 'requested'
  }

  get all(): ReadonlyMap<string, Standing> {
    return this.#at
  }

  /** Takes every step of `entry`, the illegal ones too. @returns those */
  take(entry: Entry): readonly IllegalStep[] {
    const illegal: IllegalStep[] = []
    for (const [id, to] of this.#steps(entry)) {
      const from = this.of(id)
      if (!isLegal(from, to)) illegal.push({ id, seq: entry.seq, from, to })
      this.#at.set(id, to)
    }
    return illegal
  }

  #steps(entry: Entry): readonly (readonly [id: string, to: Standing])[] {
    switch (entry.kind) {
      case 'permit': {
        const held = parseApprovalRefs(entry.approvals).flatMap(({ seq, isGrant }) => (isGrant ? [] : (this.#holds.get(seq) ?? [])))
        return [...[...new Set(held)].map((hold) => [hold, 'released'] as const), [entry.jti, entry.use === 'redeem' ? 'carried' : 'issued']]
      }
      case 'deny':
        return entry.jti === undefined ? [] : [[entry.jti, 'denied']]
      case 'hold':
        return [[entry.hold, 'held']]
      case 'approval':
        this.#holds.set(entry.seq, entry.hold)
        return entry.event === 'approved' ? [] : [[entry.hold, 'denied']]
      case 'redemption':
        return [[entry.jti, 'admitted']]
      case 'receipt':
        return [[entry.jti, claimsOf(entry.receipt)?.outcome ?? 'indeterminate']]
      case 'expiry':
        return [[entry.jti, entry.outcome === 'indeterminate' ? 'lost' : 'expired']]
      default:
        return []
    }
  }
}

/**
 * What a receipt says; undefined where it cannot be read. Whoever needs it proved verifies it: here the plane's word counts, that
 * it did when it was logged.
 */
export function claimsOf(token: string): Receipt | undefined {
  const claims = peekClaims(token)
  const isRead = OUTCOMES.some((one) => one === claims['outcome']) && isObject(claims['checks']) && Array.isArray(claims['containment'])
  return isRead ? (claims as unknown as Receipt) : undefined
}
