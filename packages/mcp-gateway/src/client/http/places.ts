import { Denied } from '@sealwrit/protocol'
import { isLoopback } from '../../server/server-url.ts'

/** Names and origins that an operator may allow. */
export const MAX_PLACES = 64
const HOST = /^([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?$/

/**
 * From where this listener may be asked: by the names that it was given, and by the pages that it was told of. By default those of this
 * machine alone, so that a name that was made to lead here, or a page of somebody else, is refused (ATK-100).
 */
export class Places {
  readonly #hosts: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>

  /**
   * @param hosts names as a `Host` header has them, with their port or for any
   * @throws {TypeError} with what is wrong
   */
  constructor(hosts: readonly string[] = [], origins: readonly string[] = []) {
    if (hosts.length + origins.length > MAX_PLACES) throw new TypeError(`more than ${MAX_PLACES} hosts and origins`)
    for (const host of hosts) if (!HOST.test(host.toLowerCase())) throw new TypeError('--allow-host takes a name as in a Host header: mcp.example.com or mcp.example.com:8443')
    for (const origin of origins) if (URL.parse(origin)?.origin !== origin) throw new TypeError('--allow-origin takes an origin as browsers write it: https://app.example.com')
    this.#hosts = new Set(hosts.map((host) => host.toLowerCase()))
    this.#origins = new Set(origins)
  }

  /** @throws {Denied} `origin_forbidden` */
  verify(host: string | undefined, origin: string | undefined): void {
    const [, name, port] = HOST.exec(host?.toLowerCase() ?? '') ?? []
    if (name === undefined) throw new Denied('origin_forbidden', 'no host, or none that is one')
    if (!isLoopback(name) && !this.#hosts.has(name) && !this.#hosts.has(`${name}:${port}`)) throw new Denied('origin_forbidden', 'a host that this listener is not known by')
    if (origin !== undefined && !this.#isAllowed(origin)) throw new Denied('origin_forbidden', 'a page that may not ask here')
  }

  #isAllowed(origin: string): boolean {
    if (this.#origins.has(origin)) return true
    const url = URL.parse(origin)
    return url !== null && url.origin === origin && /^https?:$/.test(url.protocol) && isLoopback(url.hostname)
  }
}
