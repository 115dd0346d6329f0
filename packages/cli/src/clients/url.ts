import { isIP } from 'node:net'
import { serverUrl } from '@sealwrit/mcp-gateway/server-http'

/** Where machines are told who they are: never a server of tools. */
const METADATA = new Set(['169.254.169.254', '169.254.170.2', '100.100.100.200', '[fd00:ec2::254]', 'metadata.google.internal', 'metadata', 'instance-data'])

/** Why an address from a configuration is not gone to; undefined where it may be (ATK-098). It never looks a name up. */
export function urlProblem(text: string): string | undefined {
  let url: URL
  try {
    url = serverUrl(text)
  } catch (error) {
    return `its \`url\`: ${(error as Error).message}`
  }
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
