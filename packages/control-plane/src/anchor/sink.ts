import type { Anchor, Rng } from '@sealwrit/protocol'
import type { PlaneClock } from '../ports.ts'

/** Where checkpoints are anchored, as `sealwrit.yaml` names it. */
export type SinkConfig =
  | { readonly type: 'rfc3161'; readonly url: string }
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'http'; readonly url: string }

/** What sinks need from outside. */
export interface SinkPorts {
  readonly clock: PlaneClock
  readonly rng: Rng
  readonly sha256: (bytes: Uint8Array) => Uint8Array
}

/** What is given away: the checkpoint as it is anchored, without cosignatures. */
export interface AnchoredNote {
  readonly note: string
  /** `anchoredBytes` of it. */
  readonly bytes: Uint8Array
}

/** A place outside the store where a checkpoint can be anchored. */
export interface AnchorSink {
  readonly type: Anchor['type']
  /** The place as it may be shown: a URL without query and fragment, or a path. */
  readonly where: string
  /**
   * Anchors a checkpoint that is durable already. Resolves only when the other side has it.
   * @param signal aborted when the plane ends
   * @throws {SinkFailure} in a sentence that may be shown
   */
  anchor(note: AnchoredNote, signal: AbortSignal): Promise<Anchor>
}

/** A checkpoint could not be anchored; the message may be shown and names no secret. */
export class SinkFailure extends Error {}

/** A sink that cannot be what the configuration says. */
export class SinkError extends Error {}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '[::1]', 'localhost'])

/**
 * An address that checkpoints may be sent to: https, or http on this machine.
 * @throws {SinkError}
 */
export function sinkUrl(text: string): URL {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new SinkError('not a URL')
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.has(url.hostname))) throw new SinkError('only https, or http on loopback')
  if (url.username !== '' || url.password !== '') throw new SinkError('a URL with a password would stand in evidence; leave it out')
  return url
}

/** A URL as it stands in anchors and messages: a query often holds a secret, so it is left out. */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}`
}
