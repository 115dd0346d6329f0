import * as fs from 'node:fs/promises'
import * as http from 'node:http'
import * as https from 'node:https'
import { MAX_KEY_SET_BYTES } from '../identify/jwk.ts'
import type { KeyLoader } from '../identify/identifier.ts'

/** Time for a whole key set, in milliseconds: below what a gate waits for its answer. */
export const KEY_SET_TIMEOUT_MS = 1_500

/** Reads key sets from the file or the address that is configured, and from nowhere else. */
export const nodeKeyLoader: KeyLoader = ({ jwks_uri, jwks_file }) => {
  if (jwks_file !== undefined) return () => readBounded(jwks_file)
  const url = keySetUrl(jwks_uri ?? '')
  return () => get(url)
}

/** An address of keys: over TLS, or on this machine. @throws {TypeError} */
export function keySetUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isLocal = url?.protocol === 'http:' && (url.hostname === '127.0.0.1' || url.hostname === '[::1]' || url.hostname === 'localhost')
  if (url === undefined || !(url.protocol === 'https:' || isLocal) || url.username !== '' || url.password !== '') throw new TypeError('keys are fetched over https, or from loopback')
  return url
}

async function readBounded(file: string): Promise<Uint8Array> {
  if ((await fs.stat(file)).size > MAX_KEY_SET_BYTES) throw new Error('the key set is too large')
  return fs.readFile(file)
}

/** One GET on a connection of its own. Redirects are not followed. */
function get(url: URL): Promise<Uint8Array> {
  const deadline = AbortSignal.timeout(KEY_SET_TIMEOUT_MS)
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      reject(new Error(why))
      request.destroy()
    }
    const request = (url.protocol === 'https:' ? https : http).request(url, { agent: false, signal: deadline, headers: { accept: 'application/json' } })
    request.on('error', () => fail(deadline.aborted ? 'no key set in time' : 'the key set cannot be reached'))
    request.once('response', (response) => {
      response.on('error', () => fail('the key set broke off'))
      if (response.statusCode !== 200) return fail(`the key set answered ${response.statusCode}`)
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_KEY_SET_BYTES) fail('the key set is too large')
        else chunks.push(chunk)
      })
      response.once('end', () => (response.complete ? resolve(Buffer.concat(chunks)) : fail('the key set broke off')))
    })
    request.end()
  })
}
