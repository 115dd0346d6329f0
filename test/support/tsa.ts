import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'

/** Why the timestamp tests cannot run; undefined where they can. A wanted openssl that is missing fails at once. */
export const noOpenssl: string | undefined = ((): string | undefined => {
  const { status, stdout } = spawnSync('openssl', ['version'], { encoding: 'utf8' })
  const why = status === 0 && /^OpenSSL [3-9]/.test(stdout) ? undefined : 'VOID: no openssl 3 on the PATH, so no real time stamping authority; RFC 3161 was tested against kept vectors alone'
  if (why === undefined) return undefined
  if ((process.env['SEALWRIT_TEST_REQUIRE'] ?? '').split(',').includes('openssl')) throw new Error(why)
  process.stderr.write(`\n${why}\n`)
  return why
})()

const EXTENSIONS = {
  tsa: 'extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\n',
  not_critical: 'extendedKeyUsage=timeStamping\n',
  two_purposes: 'extendedKeyUsage=critical,timeStamping,serverAuth\n',
  server: 'extendedKeyUsage=critical,serverAuth\n',
  none: 'basicConstraints=CA:FALSE\n',
  unknown_critical: 'extendedKeyUsage=critical,timeStamping\n1.2.3.4.5=critical,ASN1:UTF8String:x\n',
  encipher: 'extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,keyEncipherment\n',
  authority: 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n',
  not_authority: 'basicConstraints=critical,CA:FALSE\n',
  pathlen: 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n',
} as const
export type Extensions = keyof typeof EXTENSIONS

/** Keys, certificates and timestamps of the real openssl, in a folder of its own. */
export class OpensslTsa {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-tsa-'))
  #count = 0

  file(name: string): string {
    return path.join(this.folder, name)
  }
  run(args: readonly string[]): Buffer {
    const { status, stderr, stdout, error } = spawnSync('openssl', args, { cwd: this.folder, maxBuffer: 1 << 24 })
    if (status !== 0) throw error ?? new Error(`openssl ${args.join(' ')}: ${stderr.toString()}`)
    return stdout
  }
  read(name: string): Uint8Array {
    return new Uint8Array(fs.readFileSync(this.file(name)))
  }
  write(bytes: Uint8Array): string {
    const name = `in${this.#count++}`
    fs.writeFileSync(this.file(name), bytes)
    return name
  }

  /** `name.key` and a self-signed `name.crt` that may issue. */
  root(name: string): Uint8Array {
    this.#key(name, 'ec')
    this.run(['req', '-x509', '-new', '-key', `${name}.key`, '-out', `${name}.crt`, '-subj', `/CN=${name}`, '-days', '3650', '-addext', 'keyUsage=critical,keyCertSign'])
    return this.certificate(name)
  }
  /** `name.key` and `name.crt`, issued by `issuer`. */
  issue(name: string, issuer: string, extensions: Extensions, key: 'rsa' | 'ec' = 'ec', digest = 'sha256'): Uint8Array {
    this.#key(name, key)
    this.run(['req', '-new', '-key', `${name}.key`, '-out', `${name}.csr`, '-subj', `/O=Clockwork/CN=${name}`])
    fs.writeFileSync(this.file(`${name}.ext`), EXTENSIONS[extensions])
    this.run(['x509', '-req', '-in', `${name}.csr`, '-CA', `${issuer}.crt`, '-CAkey', `${issuer}.key`, '-CAcreateserial', `-${digest}`, '-days', '365', '-extfile', `${name}.ext`, '-out', `${name}.crt`])
    return this.certificate(name)
  }
  #key(name: string, key: 'rsa' | 'ec'): void {
    const options = key === 'rsa' ? ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'] : ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256']
    this.run(['genpkey', '-algorithm', ...options, '-out', `${name}.key`])
  }
  certificate(name: string): Uint8Array {
    return new Uint8Array(this.run(['x509', '-in', `${name}.crt`, '-outform', 'DER']))
  }

  /** The arguments by which openssl answers `query` as the authority `signer`. */
  replyArguments(query: string, signer: string, chain: readonly string[] = [], essHash = 'sha256'): string[] {
    const config = this.file(`${signer}.cnf`)
    if (!fs.existsSync(this.file('serial'))) fs.writeFileSync(this.file('serial'), '01\n')
    fs.writeFileSync(config, `[tsa]\ndefault_tsa=c\n[c]\nserial=${this.file('serial')}\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\ndigests=sha256\naccuracy=secs:1,millisecs:500,microsecs:100\nclock_precision_digits=3\nordering=yes\ntsa_name=yes\ness_cert_id_chain=no\ness_cert_id_alg=${essHash}\n`)
    const further = chain.length === 0 ? [] : ['-chain', this.#bundle(chain)]
    return ['ts', '-reply', '-queryfile', query, '-signer', `${signer}.crt`, '-inkey', `${signer}.key`, '-config', config, ...further]
  }
  #bundle(names: readonly string[]): string {
    const name = `${names.join('-')}.pem`
    fs.writeFileSync(this.file(name), names.map((one) => fs.readFileSync(this.file(`${one}.crt`), 'utf8')).join(''))
    return name
  }
  /** A TimeStampResp to `request`. */
  reply(request: Uint8Array, signer: string, chain: readonly string[] = [], essHash = 'sha256'): Uint8Array {
    const out = `reply${this.#count++}`
    this.run([...this.replyArguments(this.write(request), signer, chain, essHash), '-out', out])
    return this.read(out)
  }
  /** A token over any TSTInfo, signed by any certificate: what no honest authority would do. */
  sign(info: Uint8Array, signer: string, more: readonly string[] = [], { type = '1.2.840.113549.1.9.16.1.4', binds = true, digest = 'sha256' } = {}): Uint8Array {
    const out = `token${this.#count++}`
    this.run(['cms', '-sign', '-binary', '-nodetach', '-nosmimecap', ...(binds ? ['-cades'] : []), '-md', digest, '-econtent_type', type, '-in', this.write(info), '-signer', `${signer}.crt`, '-inkey', `${signer}.key`, '-outform', 'DER', '-out', out, ...more])
    return this.read(out)
  }
  /** Whether openssl itself takes `token` as an answer to `request`. */
  accepts(request: Uint8Array, token: Uint8Array, root: string): boolean {
    const { status } = spawnSync('openssl', ['ts', '-verify', '-queryfile', this.write(request), '-in', this.write(token), '-token_in', '-CAfile', `${root}.crt`], { cwd: this.folder })
    return status === 0
  }

  remove(): void {
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}

export type Answer = (request: Buffer, response: http.ServerResponse) => void

/** A server on loopback that answers every POST with `answer`. */
export async function serve(answer: Answer): Promise<{ url: string; requests: { type: string | undefined; body: Buffer }[]; close(): Promise<void> }> {
  const requests: { type: string | undefined; body: Buffer }[] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      requests.push({ type: request.headers['content-type'], body })
      answer(body, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/tsa`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Answers as `openssl ts -reply` does, one process a request. */
export function opensslAnswer(tsa: OpensslTsa, signer: string): Answer {
  return (request, response) => {
    const out = tsa.write(new Uint8Array())
    const child: ChildProcess = spawn('openssl', [...tsa.replyArguments(tsa.write(request), signer), '-out', out], { cwd: tsa.folder, stdio: 'ignore' })
    child.once('exit', () => response.writeHead(200, { 'content-type': 'application/timestamp-reply' }).end(tsa.read(out)))
  }
}
