/** Longest name of a tool or prompt with its server, and what it may be made of. */
const NAME = /^[A-Za-z0-9_.-]{1,128}$/
/** Longest URI with its server, in UTF-16 units. */
const MAX_URI = 2_048
/** A server's name among several: without an underscore, so that the first two always end it, and able to begin a URI. */
const QUALIFIER = /^[A-Za-z][A-Za-z0-9.-]{0,31}$/

export function isQualifier(name: string): boolean {
  return QUALIFIER.test(name)
}

/** `<server>__<name>`; undefined where that is no name that may be shown. */
export function qualified(server: string, name: string): string | undefined {
  const whole = `${server}__${name}`
  return NAME.test(whole) ? whole : undefined
}

/** `<server>+<uri>`: a URI (or a template of one) of a scheme of its own; undefined where it is too long. */
export function qualifiedUri(server: string, uri: string): string | undefined {
  const whole = `${server}+${uri}`
  return whole.length <= MAX_URI ? whole : undefined
}

/** Server and own name of a qualified one. No server's name holds an underscore, so there is one way to read it. */
export function split(name: string): { readonly server: string; readonly own: string } | undefined {
  return parts(name, '__')
}

/** Server and own URI of a qualified one. */
export function splitUri(uri: string): { readonly server: string; readonly own: string } | undefined {
  return parts(uri, '+')
}

function parts(text: string, separator: string): { readonly server: string; readonly own: string } | undefined {
  const at = text.indexOf(separator)
  return at < 1 ? undefined : { server: text.slice(0, at), own: text.slice(at + separator.length) }
}
