import type { Digest, EnvironmentLevel, JsonObject } from '@sealwrit/protocol'

/** The environment as this gate measured it; commitment, salt and document change together, and only when it is renewed. */
export interface MeasuredEnvironment {
  readonly level: EnvironmentLevel
  readonly salt: string
  readonly document: JsonObject
  readonly commit: Digest
  /** A signed statement about what was measured; what it is worth is for the plane to say. */
  readonly attestation?: JsonObject | undefined
  /** Looks again and gives the commitment of what is there now. @throws {Denied} when it cannot be measured */
  measure(): Digest
  /** Takes what changed beside the program as the environment from here on: the session is then opened again with it. */
  renew?(): void
}
