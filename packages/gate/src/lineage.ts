import { type Delegation, foreignParent, type JsonValue, type ParentRef, type Sha256 } from '@sealwrit/protocol'

/** Where a request stands in a lineage. @see spec/lineage.md */
export interface Placed {
  /** The permit below which it is asked for. */
  readonly parent?: ParentRef | undefined
  /** What others shall be able to ask for below it. */
  readonly delegates?: Delegation | undefined
  /** What it descends from at another plane, as it was presented. @see spec/federation.md */
  readonly foreign?: JsonValue | undefined
}

/** The parent that a permit for this request must name. @throws {Denied} the form of what was presented */
export function parentOf({ parent, foreign }: Placed, sha256: Sha256): ParentRef | undefined {
  return foreign === undefined ? parent : foreignParent(foreign, sha256)
}
