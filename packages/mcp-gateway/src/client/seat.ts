import type { Identify } from '@sealwrit/gate'
import type { JsonObject } from '@sealwrit/protocol'
import type { RequestId } from '../messages.ts'
import type { Revision } from '../revision.ts'

/** What a client says of itself, with `initialize` or with each request; unverified. */
export interface ClientFacts {
  readonly revision: Revision
  readonly name: string
  readonly version: string
  readonly capabilities: JsonObject
}

/** An answer to a client: the canonical text of its `result` or `error` member, and the JSON-RPC code of an error. */
export interface Answer {
  readonly member: 'result' | 'error'
  readonly text: string
  readonly code?: number
}

/** What a peer answered, parsed. */
export type Reply = { readonly result: JsonObject } | { readonly error: JsonObject }

/** One request of a client, whatever transport brought it. Its params were parsed strictly, and are not trusted. */
export interface Asked {
  readonly id: RequestId
  readonly method: string
  readonly params: JsonObject
  readonly client: ClientFacts
  /** Fires when the client cancelled it, or went away. */
  readonly signal: AbortSignal
  /** Who asks, where the transport knows; what a client asserts in the request itself goes first. */
  readonly identify?: Identify | undefined
  /**
   * What the transport mirrored of its arguments, as it was sent, by name in lower case; undefined where the transport mirrors nothing.
   * The tool's definition says which arguments that must be: `verifyMirrored`.
   */
  readonly mirrored?: ReadonlyMap<string, string> | undefined
  /** Sends a notification that belongs to this request. */
  readonly notify: (method: string, params: JsonObject) => void
  /** Asks the client in turn, where transport and revision let one: the rejection is a `Denied`. */
  readonly ask?: (method: string, params: JsonObject, signal: AbortSignal) => Promise<Reply>
}

/** What belongs to a client and to no request of it. */
export interface ClientPort {
  notify(method: string, params: JsonObject): void
  ask(method: string, params: JsonObject, signal: AbortSignal): Promise<Reply>
  /** The seat is over: the server is gone, or ended. */
  ended(reason: string): void
}

/** One client's place at a server, or at several: nothing of it is shared with another client. */
export interface Seat {
  /** Never rejects: a refusal is an answer. */
  request(asked: Asked): Promise<Answer>
  /** A notification that the client sent, without answer. Cancellation is the transport's: it fires the request's signal. */
  notification(method: string, params: JsonObject): void
  close(reason: string): void
}

/** Who sits down: an opaque key of the principal, and what the transport verified of it. */
export interface Guest {
  readonly principal: string
  /** The agent's name, where something vouches for it. */
  readonly agent?: string | undefined
}

export type OpenSeat = (guest: Guest, port: ClientPort) => Seat
