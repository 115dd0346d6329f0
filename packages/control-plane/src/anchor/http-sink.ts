import { type Anchor, fromUtf8, MAX_ANCHOR_TEXT, utf8 } from '@sealwrit/protocol'
import { post } from './post.ts'
import { type AnchorSink, shownUrl, SinkFailure, type SinkPorts, sinkUrl } from './sink.ts'

/** Largest answer that is read, in bytes. */
const MAX_ANSWER_BYTES = 4_096

/**
 * Somebody's endpoint that keeps checkpoints: gets the anchor as JSON, before it has an answer. What it answers is kept as it
 * is said, and proves nothing.
 * @throws {SinkError} for an address that may not be used
 */
export function httpSink(address: string, { clock }: SinkPorts): AnchorSink {
  const url = sinkUrl(address)
  const where = shownUrl(url)
  return {
    type: 'http',
    where,
    anchor: async ({ note }, signal) => {
      const anchor = { type: 'http', checkpoint: note, where, time: Math.floor(clock.wallMs()) } satisfies Anchor
      const { body } = await post(url, utf8(JSON.stringify(anchor)), { contentType: 'application/json', accept: '*/*', maxBytes: MAX_ANSWER_BYTES, signal })
      const answer = readAnswer(body)
      return answer === '' ? anchor : { ...anchor, answer }
    },
  }
}

/** The answer's text, cut short between characters. */
function readAnswer(body: Uint8Array): string {
  try {
    return fromUtf8(body).slice(0, MAX_ANCHOR_TEXT).replace(/[\ud800-\udbff]$/, '')
  } catch {
    throw new SinkFailure('answered something that is not UTF-8')
  }
}
