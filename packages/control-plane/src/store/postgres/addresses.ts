import { StoreOpenError } from '../open-error.ts'

/** Servers that one connection URI may name. */
const MAX_ADDRESSES = 8

const URI = /^(postgres(?:ql)?:\/\/)([^@/?#]*@)?([^@/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+|%2[Ff][A-Za-z0-9._%-]+)(?::\d{1,5})?$/

/**
 * The servers that a connection URI names, in order, each as a URI of its own; several hosts are written as libpq writes them:
 * `postgres://h1:5432,h2:5432/db`, or sockets as `?host=/run/a,/run/b`. Only a server that takes writes is used, whether or not
 * `target_session_attrs=read-write` says so.
 * @see https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
 * @throws {StoreOpenError} without the URI, which may hold a password
 */
export function addressesOf(uri: string): readonly string[] {
  const [, scheme, user = '', authority = '', path = '', query = ''] = URI.exec(uri) ?? refuse('is not a connection URI; percent-encode `@`, `/`, `?` and `#` in its password')
  const params = new URLSearchParams(query)
  for (const name of ['host', 'port', 'target_session_attrs']) if (params.getAll(name).length > 1) refuse(`names \`${name}\` twice`)
  if ((params.get('target_session_attrs') ?? 'read-write') !== 'read-write') refuse('asks for another target_session_attrs than read-write; a plane writes')
  params.delete('target_session_attrs')
  const given = params.get('host')?.split(',')
  const hosts = given ?? authority.split(',')
  if (hosts.length > MAX_ADDRESSES) refuse(`names more than ${MAX_ADDRESSES} hosts`)
  if (given === undefined) {
    if (authority !== '' && hosts.some((host) => !HOST.test(host))) refuse('has a host that cannot be read')
    return hosts.map((host) => uriOf(`${scheme}${user}${host}${path}`, params))
  }
  const ports = params.get('port')?.split(',') ?? []
  if (given.includes('') || ports.some((port) => !/^\d{1,5}$/.test(port)) || (ports.length > 1 && ports.length !== given.length)) refuse('has a host or port that cannot be read')
  return given.map((host, i) => {
    const own = new URLSearchParams(params)
    own.set('host', host)
    const port = ports[i] ?? ports[0]
    if (port !== undefined) own.set('port', port)
    return uriOf(`${scheme}${user}${authority === '' ? 'localhost' : authority}${path}`, own)
  })
}

function uriOf(base: string, params: URLSearchParams): string {
  const query = params.toString()
  return query === '' ? base : `${base}?${query}`
}

function refuse(why: string): never {
  throw new StoreOpenError(`the address of the store ${why}`)
}
