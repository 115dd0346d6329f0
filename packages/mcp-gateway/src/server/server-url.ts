import * as dns from 'node:dns'
import type { LookupFunction } from 'node:net'

/** Longest address of a server, and of the file with headers for it, in UTF-16 units. */
export const MAX_URL = 2_048
const MAX_HEADERS_TEXT = 65_536
/** Headers that an operator may give. */
const MAX_HEADERS = 32

const LOOPBACK = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])$/
const NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/
const VALUE = /^[!-~](?:[\t -~]{0,8190}[!-~])?$/
/** What this gateway says itself, and what is about the connection and not about the request. */
const OWN = /^(?:accept|accept-encoding|connection|content-.*|cookie2?|expect|forwarded|host|keep-alive|last-event-id|mcp-.*|origin|proxy-.*|te|trailer|transfer-encoding|upgrade|via|x-forwarded-.*)$/

/** Whether a host name is one of this machine to itself. */
export function isLoopback(hostname: string): boolean {
  return LOOPBACK.test(hostname)
}

/**
 * The address of a server: `https:`, or `http:` on loopback; nothing else, and no credentials in it, since addresses are shown (ATK-098).
 * @throws {TypeError} with what is wrong
 */
export function serverUrl(text: string): URL {
  const url = text.length <= MAX_URL && /^https?:\/\/[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=%-]+$/.test(text) ? URL.parse(text) : null
  if (url === null) throw new TypeError('not an http or https address')
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) throw new TypeError('http is for loopback alone: what is sent would be read and changed on its way')
  if (url.username !== '' || url.password !== '') throw new TypeError('credentials in an address are shown wherever it is')
  if (url.hash !== '') throw new TypeError('a fragment is never sent')
  return url
}

/** Looks up a name of this machine, and takes no address of another one for it: what goes there goes in clear. */
export const loopbackLookup: LookupFunction = (name, options, done) => {
  dns.lookup(name, { ...options, all: true }, (error, addresses) => {
    const own = error === null ? addresses.filter(({ address }) => /^127\.|^::1$/.test(address)) : []
    const [first] = own
    if (first === undefined) return done(error ?? Object.assign(new Error('not this machine'), { code: 'ENOTLOOPBACK' }), '', 0)
    if (options.all === true) done(null, own)
    else done(null, first.address, first.family)
  })
}

/**
 * Headers that the operator has every request to a server carry, one `Name: value` a line; `#` begins a comment.
 * @throws {TypeError} with what is wrong, and never a value
 */
export function serverHeaders(text: string): Readonly<Record<string, string>> {
  if (text.length > MAX_HEADERS_TEXT) throw new TypeError('too long')
  const headers: Record<string, string> = {}
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const [name, value] = [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    if (colon < 0 || !NAME.test(name) || !VALUE.test(value)) throw new TypeError(`line ${index + 1} is not \`Name: value\``)
    if (OWN.test(name)) throw new TypeError(`line ${index + 1}: this header is the gateway's own`)
    if (Object.hasOwn(headers, name) || Object.keys(headers).length >= MAX_HEADERS) throw new TypeError(`line ${index + 1}: a header twice, or too many`)
    headers[name] = value
  }
  return headers
}
