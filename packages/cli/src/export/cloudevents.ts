import { type Entry, present } from '@sealwrit/protocol'
import { claimsOf, jtiOf } from './claims.ts'

/** @see CloudEvents 1.0.2, "Context Attributes", and the JSON format, "Handling of data" */
export interface CloudEvent {
  readonly specversion: '1.0'
  /** `<origin>/<seq>`: an entry that is exported again is the same event. */
  readonly id: string
  readonly source: string
  readonly type: `dev.sealwrit.${string}`
  /** RFC 3339, of the entry. */
  readonly time: string
  /** The `jti` of the execution, where the entry is about one. */
  readonly subject?: string
  readonly datacontenttype: 'application/json'
  /** The entry; the claims of a receipt or a gate's denial stand beside its token. */
  readonly data: object
}

/** One entry of the log `origin` as an event. */
export function toCloudEvent(entry: Entry, origin: string): CloudEvent {
  return present<CloudEvent>({
    specversion: '1.0',
    id: `${origin}/${entry.seq}`,
    source: `urn:sealwrit:log:${encodeURI(origin)}`,
    type: `dev.sealwrit.${entry.kind}`,
    time: new Date(entry.time).toISOString(),
    subject: jtiOf(entry),
    datacontenttype: 'application/json',
    data: present<object>({ ...(entry as object), claims: claimsOf(entry) }),
  })
}
