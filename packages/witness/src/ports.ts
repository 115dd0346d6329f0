import type { CosignerKey, Crypto } from '@sealwrit/protocol'

/** The witness's own key; whoever starts it loads it. */
export interface WitnessKey {
  readonly key: CosignerKey
  /** 64 bytes over `message`. */
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** The witness's folder. */
export interface WitnessFiles {
  /** Undefined when there is no such file. @throws when it cannot be read */
  readonly read: (name: string) => string | undefined
  /** Replaces the file in one step; durable on return. @throws when it is not, or may not be */
  readonly write: (name: string, text: string) => void
}

/** Everything from outside that a witness uses. */
export interface WitnessPorts {
  /** Wall clock, milliseconds since 1970: what cosignatures are stamped with. */
  readonly wallMs: () => number
  readonly crypto: Crypto
  readonly files: WitnessFiles
  readonly witnessKey: WitnessKey
}
