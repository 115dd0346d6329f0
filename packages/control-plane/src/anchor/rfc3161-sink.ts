import { AnchorRefused, MAX_DER_BYTES, MAX_TOKEN_BYTES, NONCE_BYTES, readTimestampReply, timestampRequest, toBase64 } from '@sealwrit/protocol'
import { post } from './post.ts'
import { type AnchorSink, shownUrl, SinkFailure, type SinkPorts, sinkUrl } from './sink.ts'

/**
 * A time stamping authority over HTTP. That the token answers this very request is checked here; whether its signer is to be
 * believed is for whoever holds the authority's certificate.
 * @throws {SinkError} for an address that may not be used
 * @see RFC 3161 section 3.4
 */
export function rfc3161Sink(address: string, { rng, sha256 }: SinkPorts): AnchorSink {
  const url = sinkUrl(address)
  return {
    type: 'rfc3161',
    where: shownUrl(url),
    anchor: async ({ note, bytes }, signal) => {
      const digest = sha256(bytes)
      const nonce = rng.bytes(NONCE_BYTES)
      const { contentType, body } = await post(url, timestampRequest(digest, nonce), { contentType: 'application/timestamp-query', accept: 'application/timestamp-reply', maxBytes: MAX_DER_BYTES, signal })
      if (!/^application\/timestamp-reply(?:\s*;|$)/i.test(contentType)) throw new SinkFailure('answered something that is no timestamp reply')
      const token = readReply(body, digest, nonce)
      if (token.length > MAX_TOKEN_BYTES) throw new SinkFailure(`answered a token of more than ${MAX_TOKEN_BYTES} bytes`)
      return { type: 'rfc3161', checkpoint: note, token: toBase64(token) }
    },
  }
}

function readReply(body: Uint8Array, digest: Uint8Array, nonce: Uint8Array): Uint8Array {
  try {
    return readTimestampReply(body, digest, nonce)
  } catch (error) {
    if (error instanceof AnchorRefused) throw new SinkFailure(`${error.reason}: ${error.message}`)
    throw error
  }
}
