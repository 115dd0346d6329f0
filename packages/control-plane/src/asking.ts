import type { Action, Agent, Facts, Identity } from '@sealwrit/protocol'

/** What a decision is asked about. */
export interface Asking {
  readonly action: Action
  readonly agent: Agent
  readonly facts: Facts
  readonly intent?: string
}

/** Whose request it is to be, and what its proof is bound to. */
export interface Seeking {
  readonly identity?: Identity
  readonly action: Action
  readonly agent: Agent
}

/** The gate that it is for, and what a proof of who asks is bound to. */
export interface SoughtFor {
  readonly gate: string
  readonly session: string | undefined
  readonly challenge: string | undefined
  /** Whether it is for another plane, and `gate` its origin. */
  readonly isForPlane?: boolean | undefined
  /** Done before anybody is identified; what it throws is a failed proof. */
  readonly first?: (() => void) | undefined
}
