import type { Digest, EntryHead, PolicyEntry } from '@sealwrit/protocol'

/** Where the policy sets of a log stand. */
export interface PolicyStanding {
  /** Leaf index and time of the entry that made the active set the active one; −1 while there is none. */
  readonly sinceSeq: number
  readonly sinceMs: number
  /** Digest of the protected rules of the active set. */
  readonly base: Digest | undefined
  /** Permits of earlier epochs are void: an urgent activation raised it. */
  readonly floor: number
  /** What shall become the active set later. */
  readonly staged: (Pick<PolicyEntry, 'digest' | 'policies' | 'base' | 'urgent'> & { readonly seq: number; readonly fromMs: number }) | undefined
  /** What is evaluated beside the active set, and governs nothing. */
  readonly shadow: Digest | undefined
  /** Whether what the active set denies may run all the same, marked, at gates that ask for it. Not the shadow mode of a set. */
  readonly isObserving: boolean
}

export const NO_POLICY: PolicyStanding = Object.freeze({ sinceSeq: -1, sinceMs: 0, base: undefined, floor: 0, staged: undefined, shadow: undefined, isObserving: false })

/** The standing after `entry`. What is activated ends what was staged before: a later activation must not undo a newer decision. */
export function applyPolicy(standing: PolicyStanding, entry: PolicyEntry & EntryHead): PolicyStanding {
  const { seq, time, digest, policies, base, urgent } = entry
  const event = entry.event ?? 'activated'
  if (entry.mode === 'shadow') return { ...standing, shadow: event === 'withdrawn' ? undefined : digest }
  switch (event) {
    case 'staged':
      return { ...standing, staged: { seq, fromMs: entry.from ?? 0, digest, policies, ...(base === undefined ? {} : { base }), ...(urgent === undefined ? {} : { urgent }) } }
    case 'withdrawn':
      return { ...standing, staged: undefined }
    case 'observing':
    case 'enforcing':
      return { ...standing, isObserving: event === 'observing' }
    case 'activated':
    case 'rolled_back':
      return {
        sinceSeq: seq,
        sinceMs: time,
        base,
        floor: urgent === true ? entry.epoch : standing.floor,
        staged: undefined,
        isObserving: standing.isObserving,
        shadow: standing.shadow === digest ? undefined : standing.shadow, // what is enforced needs no shadow
      }
  }
}
