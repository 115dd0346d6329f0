import type { Denied } from '@sealwrit/protocol'
import type { Revision } from '../revision.ts'

/** What a transport may mirror of a message into its own framing, as in HTTP headers. It is taken from the message that was judged. */
export interface Route {
  readonly revision: Revision
  /** The gateway's own id of a request; absent with notifications, and with answers to the server. */
  readonly id?: number
  /** Absent with answers to the server. */
  readonly method?: string
  /** `params.name` or `params.uri`, where the method has one. */
  readonly name?: string
  /** Values that the tool's schema has mirrored (`x-mcp-header`), by the name that it gives them. */
  readonly mirrored?: ReadonlyMap<string, string>
}

/** Carries messages to one server and back. It never looks inside them, and never sends any other. */
export interface ServerLink {
  /** All messages go over one channel, so that a request is cancelled by a message. */
  readonly isShared?: boolean
  /** One message, serialised by this gateway. */
  send(text: string, route: Route): void
  /** Nobody waits for the answer to request `id` any more: what would bring it ends, where the transport has one for each. */
  drop(id: number): void
  /** Request `id` has its answer; what its response still brings belongs to nothing. */
  answered?(id: number): void
  /** Ends the connection, in the transport's own polite way. */
  close(reason: string): void
  /** Ends it at once: the server runs what may not run any more. */
  kill(reason: string): void
}

/** What a link tells. Bytes are a stranger's until they were parsed. */
export interface LinkEvents {
  /** One message. `answers` is the request whose response brought it, where the transport ties them together: it can answer no other. */
  message(bytes: Uint8Array, answers?: number): void
  /** Request `id` could not be carried, or its response ended without its answer. */
  failed(id: number, denied: Denied): void
  /** Nothing comes any more. */
  closed(reason: string): void
}

/** Opens a connection to the server that this gateway is in front of. */
export type OpenLink = (events: LinkEvents) => ServerLink
