import { post } from '../anchor/post.ts'
import type { PostForm } from '../identify/login.ts'
import { keySetUrl } from './key-loader.ts'

/** Time for one exchange with a token endpoint, in milliseconds, and how much it may answer. */
export const TOKEN_TIMEOUT_MS = 5_000
export const MAX_TOKEN_ANSWER_BYTES = 65_536

/** Asks a token endpoint: over TLS, or on this machine. Redirects are not followed. */
export const nodePostForm: PostForm = async (url, form, authorization) => {
  const options = { contentType: 'application/x-www-form-urlencoded', accept: 'application/json', maxBytes: MAX_TOKEN_ANSWER_BYTES, signal: new AbortController().signal, timeoutMs: TOKEN_TIMEOUT_MS }
  return (await post(keySetUrl(url), Buffer.from(form), authorization === undefined ? options : { ...options, headers: { authorization } })).body
}
