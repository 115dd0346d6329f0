import { nodeClock, nodeRng } from '@sealwrit/gate'
import { type JsonValue, toBase64Url, toHex, TOKEN_BYTES } from '@sealwrit/protocol'
import type { Values } from './change.ts'

/**
 * What `$NAME` stands for: a fresh `token`, `digest` or `key`; `now`, in seconds, and `now+N` or `now-N`; and whatever `more` knows.
 * @throws {TypeError} for a name that nobody knows
 */
export function valuesWith(more: (name: string) => JsonValue | undefined): Values {
  return (name) => {
    const known = more(name)
    if (known !== undefined) return known
    const shifted = /^now([+-]\d{1,6})?$/.exec(name)
    if (shifted !== null) return Math.floor(nodeClock.wallMs() / 1_000) + Number(shifted[1] ?? 0)
    if (name === 'token') return toBase64Url(nodeRng.bytes(TOKEN_BYTES))
    if (name === 'key') return toBase64Url(nodeRng.bytes(32))
    if (name === 'digest') return `sha256:${toHex(nodeRng.bytes(32))}`
    const long = /^text(\d{1,7})$/.exec(name)
    if (long !== null) return 'x'.repeat(Number(long[1]))
    throw new TypeError(`nobody knows $${name}`)
  }
}
