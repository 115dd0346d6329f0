import { createPrivateKey, type KeyObject, sign, X509Certificate } from 'node:crypto'
import * as fs from 'node:fs'
import { agentKeyIdentity, type Identify, nodeClock, nodeCryptography, type SvidSigner, x509Identity } from '@sealwrit/gate'
import { MAX_CHAIN, MAX_IDENTITY_TOKEN, peekClaims, signingKey, toBase64, toBase64Url, trustDomainOf } from '@sealwrit/protocol'
import { loadKeyFile } from '../adapters/key-file.ts'
import { CliError, EXIT } from '../errors.ts'

/** How a command is told to say who asks. */
export interface IdentityOptions {
  readonly agentKey?: string
  readonly tokenFile?: string
  readonly svid?: string
  readonly svidKey?: string
}

const nowSeconds = (): number => Math.floor(nodeClock.wallMs() / 1_000)

/** What asserts who asks; undefined where nothing was named. @throws {CliError} */
export function identityFrom(options: IdentityOptions): Identify | undefined {
  const { agentKey, tokenFile, svid, svidKey } = options
  if ([agentKey, tokenFile, svid].filter((given) => given !== undefined).length > 1) throw new CliError('--agent-key, --token-file and --svid exclude each other', { exit: EXIT.usage })
  if ((svid === undefined) !== (svidKey === undefined)) throw new CliError('--svid and --svid-key belong together', { exit: EXIT.usage })
  if (agentKey !== undefined) {
    const { publicKey, sign: signer } = loadKeyFile(agentKey, false)
    return agentKeyIdentity({ kid: signingKey(publicKey, nodeCryptography.sha256).kid, sign: signer }, nowSeconds)
  }
  if (tokenFile !== undefined) return () => readToken(tokenFile)
  if (svid !== undefined && svidKey !== undefined) return x509Identity(() => readSvid(svid, svidKey), nowSeconds)
  return undefined
}

/** Read anew for each request: tokens are short-lived, and who gave it replaces the file. */
function readToken(file: string): ReturnType<Identify> {
  const token = readSmall(file, MAX_IDENTITY_TOKEN + 2, true).trim()
  const { sub } = peekClaims(token)
  return typeof sub === 'string' && trustDomainOf(sub) !== undefined ? { form: 'jwt-svid', token } : { form: 'oidc', token }
}

function readSvid(certificateFile: string, keyFile: string): SvidSigner {
  const blocks = readSmall(certificateFile, 65_536, false).match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0 || blocks.length > MAX_CHAIN) throw new CliError(`${certificateFile} holds no chain of at most ${MAX_CHAIN} certificates`)
  const certificates = blocks.map((pem) => new X509Certificate(pem))
  const [leaf] = certificates as [X509Certificate]
  const key = createPrivateKey(readSmall(keyFile, 16_384, true))
  const spiffeId = /(?:^|, )URI:([^,\s]+)/.exec(leaf.subjectAltName ?? '')?.[1] ?? ''
  return {
    chain: certificates.map(({ raw }) => toBase64(raw)),
    spiffeId,
    thumbprint: toBase64Url(nodeCryptography.sha256(leaf.raw)),
    ...signerOf(key, keyFile),
  }
}

function signerOf(key: KeyObject, file: string): Pick<SvidSigner, 'alg' | 'sign'> {
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return { alg: 'EdDSA', sign: (message) => sign(null, message, key) }
    case 'ec':
      return { alg: 'ES256', sign: (message) => sign('sha256', message, { key, dsaEncoding: 'ieee-p1363' }) }
    case 'rsa':
      return { alg: 'RS256', sign: (message) => sign('sha256', message, key) }
    default:
      throw new CliError(`${file} is not an Ed25519, P-256 or RSA key`)
  }
}

function readSmall(file: string, maxBytes: number, isSecret: boolean): string {
  try {
    const { size, mode } = fs.statSync(file)
    if (size > maxBytes) throw new CliError(`${file} is larger than ${maxBytes} bytes`)
    if (isSecret && (mode & 0o077) !== 0) throw new CliError(`${file} can be read by others (mode ${(mode & 0o777).toString(8)})`, { hint: `run \`chmod 600 ${file}\`` })
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}
