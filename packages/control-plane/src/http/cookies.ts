/**
 * Names and attributes of cookies. Over TLS the name has `__Host-`: no other host, and no plain HTTP, can set or read it. On loopback there
 * is plain HTTP and no such name; there a cookie is shared with every port of the same name, which is why it alone changes nothing.
 * @see RFC 6265bis section 4.1.3.2
 */
export class Cookies {
  readonly #prefix: string
  readonly #more: string

  constructor(scheme: 'http' | 'https') {
    this.#prefix = scheme === 'https' ? '__Host-' : ''
    this.#more = `; Path=/; HttpOnly${scheme === 'https' ? '; Secure' : ''}`
  }

  /** The session of a person. A page of another site is never sent it along. */
  session(secret: string, seconds: number): string {
    return `${this.#prefix}${SESSION}=${secret}${this.#more}; SameSite=Strict; Max-Age=${seconds}`
  }

  /** What ties a login at an issuer to this browser: it must come back from another site, once. */
  login(secret: string, seconds: number): string {
    return `${this.#prefix}${LOGIN}=${secret}${this.#more}; SameSite=Lax; Max-Age=${seconds}`
  }

  sessionOf(header: string | undefined): string | undefined {
    return valueOf(header, `${this.#prefix}${SESSION}`)
  }

  loginOf(header: string | undefined): string | undefined {
    return valueOf(header, `${this.#prefix}${LOGIN}`)
  }
}

const SESSION = 'sealwrit_session'
const LOGIN = 'sealwrit_login'

/** The one value of this name: where there are two, somebody else set one of them, and none counts. */
function valueOf(header: string | undefined, name: string): string | undefined {
  const values = (header ?? '').split(';').map((pair) => pair.trim()).filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1))
  return values.length === 1 && /^[A-Za-z0-9_-]{43}$/.test(values[0] as string) ? values[0] : undefined
}
