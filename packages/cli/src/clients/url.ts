import { isIP } from 'node:net'

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])
/** Where machines are told who they are: never a server of tools. */
const METADATA = new Set(['169.254.169.254', '169.254.170.2', '100.100.100.200', '[fd00:ec2::254]', 'metadata.google.internal', 'metadata', 'instance-data'])

/** Why an address from a configuration is not gone to; undefined where it may be (ATK-098). It never looks a name up. */
export function urlProblem(text: string): string | undefined {
  // What a lenient parser would strip or turn is not there in an honest address.
  if (!/^[a-z]+:\/\/[^\s\\]+$/i.test(text)) return 'its `url` is no absolute address'
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return 'its `url` is no address'
  }
  const isLoopback = LOOPBACK.has(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback)) return 'its `url` must be https, or http to this machine'
  if (url.username !== '' || url.password !== '') return 'its `url` holds a name or a password: send a header'
  if (url.hash !== '') return 'its `url` holds a fragment'
  if (url.search !== '') return 'its `url` holds a query, and what is on a command line is seen by every user of the machine: send a header'
  if (METADATA.has(url.hostname.replace(/\.$/, '')) || isLinkLocal(url.hostname)) return 'its `url` leads to where a machine’s own credentials are'
  return undefined
}

function isLinkLocal(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '')
  if (isIP(bare) === 4) return bare.startsWith('169.254.') || bare.startsWith('0.')
  // A v4 address within a v6 one is another way to write it; `URL` writes those in hexadecimal.
  return isIP(bare) === 6 && (/^fe[89ab]/i.test(bare) || /^::ffff:/i.test(bare) || /^64:ff9b:/i.test(bare))
}
