import type { Clock, Crypto, Rng } from '@sealwrit/protocol'

/** A connection that carries lines: what a Unix socket gives. */
export interface Connection {
  /** Writes one line; the newline is added. */
  send(line: string): void
  close(): void
}

export interface ConnectionEvents {
  /** One line without its newline; never longer than the limit given to {@link Net.connect}. */
  line(bytes: Uint8Array): void
  /** The connection ended, for whatever reason; called once. */
  closed(reason: string): void
}

export interface Net {
  /** @param maxLineBytes a longer line ends the connection */
  connect(path: string, maxLineBytes: number, events: ConnectionEvents): Promise<Connection>
}

/** What a gate remembers on disk. @see spec/gate.md#floor */
export interface FloorFile {
  read(): string | undefined
  /** Replaces the file in one step. */
  write(text: string): void
}

/** Everything from outside that a gate uses. */
export interface GatePorts {
  readonly clock: Clock
  readonly rng: Rng
  readonly crypto: Crypto
  readonly net: Net
  readonly floor: FloorFile
  /** Signs with the gate's receipt key; 64 bytes. */
  readonly sign: (message: Uint8Array) => Uint8Array
  /** The gate's public key, 32 bytes. */
  readonly publicKey: Uint8Array
}
