import type { Delegation, ParentRef } from '@sealwrit/protocol'

/** Where a request stands in a lineage. @see spec/lineage.md */
export interface Placed {
  /** The permit below which it is asked for. */
  readonly parent?: ParentRef | undefined
  /** What others shall be able to ask for below it. */
  readonly delegates?: Delegation | undefined
}
