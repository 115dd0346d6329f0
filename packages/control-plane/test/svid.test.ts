import { execFileSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { FakeClock } from '@sealwrit/gate/testing'
import { actionDigest, type AuthorizeReply, type DenyEntry, type Identity, type JsonObject, parseEntry, subjectId, toBase64, trustDomainOf } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jwkOf, signingPair, svidProof, thumbprint, token } from './support/identity.ts'
import { PERMIT_ALL, policySet, Rig, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const TD = 'example.org'
const ID = `spiffe://${TD}/agent/coder`
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-svid-'))
const bundle = path.join(folder, 'bundle.json')
const at = (name: string): string => path.join(folder, name)
const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })

interface Made {
  readonly der: Uint8Array
  readonly key: ReturnType<typeof createPrivateKey>
}
const LEAF = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', `subjectAltName=URI:${ID}`]
const CA = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign', `subjectAltName=URI:spiffe://${TD}`]

/** A certificate with exactly these extensions, by the issuer, or self-signed. */
function make(name: string, extensions: readonly string[], issuer?: string, days: readonly [from: string, to: string] = ['20250101000000Z', '20300101000000Z'], alg: readonly string[] = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']): Made {
  openssl('genpkey', ...alg, '-out', `${name}.key`)
  fs.writeFileSync(at(`${name}.cnf`), `[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=${name}\n[ext]\n${extensions.join('\n')}\n[ca]\ndefault_ca=own\n[own]\ndatabase=${at(`${name}.db`)}\nnew_certs_dir=${folder}\nserial=${at(`${name}.srl`)}\ndefault_md=sha256\npolicy=any\nx509_extensions=ext\nunique_subject=no\n[any]\ncommonName=supplied\n`)
  fs.writeFileSync(at(`${name}.db`), '')
  fs.writeFileSync(at(`${name}.srl`), `${Math.floor(1_000 + fs.readdirSync(folder).length)}\n`)
  openssl('req', '-new', '-key', `${name}.key`, '-config', `${name}.cnf`, '-out', `${name}.csr`)
  const by = issuer === undefined ? ['-selfsign', '-keyfile', `${name}.key`] : ['-cert', `${issuer}.pem`, '-keyfile', `${issuer}.key`]
  openssl('ca', '-batch', '-notext', '-config', `${name}.cnf`, '-in', `${name}.csr`, '-out', `${name}.pem`, '-startdate', days[0], '-enddate', days[1], ...by)
  return { der: new X509Certificate(fs.readFileSync(at(`${name}.pem`))).raw, key: createPrivateKey(fs.readFileSync(at(`${name}.key`))) }
}

const jwt = signingPair('ES256', 'jwt-1')
let rig: Rig
let gate: TestGate
let leaf: Made
let middle: Made
let root: Made
beforeAll(async () => {
  root = make('root', CA)
  middle = make('middle', CA, 'root')
  leaf = make('leaf', LEAF, 'middle')
  fs.writeFileSync(bundle, JSON.stringify({ spiffe_sequence: 1, keys: [jwkOf(jwt, { use: 'jwt-svid' }), { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', use: 'x509-svid', x5c: [toBase64(root.der)] }] }))
  rig = new Rig('svid')
  rig.policies = policySet(PERMIT_ALL)
  rig.identity = { agents: 'registered', trust_domains: [{ name: TD, bundle, audience: 'sealwrit' }] }
  await rig.start()
  gate = await rig.gate()
}, 60_000)
afterAll(async () => {
  await rig.remove()
  fs.rmSync(folder, { recursive: true, force: true })
})
const now = (): number => Math.floor(rig.clock.wallMs() / 1_000)
const newest = async (): Promise<DenyEntry> => parseEntry((await rig.store.entries(rig.plane.log.size - 1, 1))[0] as string) as unknown as DenyEntry
const jwtClaims = (change: object = {}): object => ({ sub: ID, aud: ['sealwrit'], exp: now() + 300, ...change })
const presentJwt = (text: string): Promise<AuthorizeReply> => gate.authorize(gate.request(toolCall(), { identity: { form: 'jwt-svid', token: text } }))
/** Asks with a chain, and a proof by the first of it unless told otherwise. */
function present(chain: readonly Made[], how: { id?: string; claims?: JsonObject; header?: JsonObject; key?: Made; alg?: 'ES256' | 'EdDSA' | 'RS256' } = {}): Promise<AuthorizeReply> {
  const challenge = rig.token()
  const [first] = chain as [Made]
  const claims = { aud: rig.plane.log.origin, agent: how.id ?? ID, gate: gate.id, challenge, action_digest: actionDigest(toolCall(), sha256), iat: now(), ...how.claims }
  const identity: Identity = { form: 'x509-svid', chain: chain.map(({ der }) => toBase64(der)), proof: svidProof(how.alg ?? 'ES256', first.der, (how.key ?? first).key, claims, how.header) }
  return gate.authorize(gate.request(toolCall(), { challenge, identity }))
}

describe('a JWT-SVID', () => {
  it('names workload and agent at once', async () => {
    expect(told(await presentJwt(token(jwt, jwtClaims())))).toBe('permit')
    expect(await newest()).toMatchObject({ sub: subjectId('spiffe', `spiffe://${TD}`, ID, rig.plane.log.origin, sha256), act: { sub: `agent:${ID}`, verified: true } })
    expect(await newest()).not.toHaveProperty('cnf')
  })
  it.each<[string, object, object?]>([
    ['of another trust domain', { sub: 'spiffe://evil.example/agent/coder' }],
    ['without a path', { sub: `spiffe://${TD}` }],
    ['with a query', { sub: `${ID}?x` }],
    ['with a port', { sub: `spiffe://${TD}:80/x` }],
    ['with a dot segment', { sub: `spiffe://${TD}/a/../b` }],
    ['with an empty segment', { sub: `spiffe://${TD}//b` }],
    ['with a slash at its end', { sub: `${ID}/` }],
    ['in upper case', { sub: `SPIFFE://${TD}/x` }],
    ['with a trust domain in upper case', { sub: 'spiffe://Example.org/x' }],
    ['with an escape', { sub: `spiffe://${TD}/%41` }],
    ['without a subject', { sub: undefined }],
    ['for another audience', { aud: ['other'] }],
    ['for two audiences', { aud: ['sealwrit', 'other'] }],
    ['that expired', { exp: 1 }],
    ['without an end', { exp: undefined }],
    ['ATK-010: of another type', {}, { alg: 'ES256', kid: 'jwt-1', typ: 'at+jwt' }],
    ['without a key id', {}, { alg: 'ES256', typ: 'JWT' }],
    ['ATK-007: with another key id', {}, { alg: 'ES256', kid: 'jwt-2', typ: 'JWT' }],
    ['ATK-005: with alg none', {}, { alg: 'none', kid: 'jwt-1', typ: 'JWT' }],
    ['ATK-008: with jku', {}, { alg: 'ES256', kid: 'jwt-1', jku: 'https://127.0.0.1:1' }],
  ])('%s is refused', async (_what, change, header) => {
    expect(told(await presentJwt(token(jwt, jwtClaims(change), header ?? { alg: 'ES256', kid: 'jwt-1', typ: 'JWT' })))).toBe('identity_invalid')
    expect((await newest()).code).toBe('identity_invalid')
  })
  it('a SPIFFE id has one form', () => {
    expect([ID, `spiffe://${TD}/a.b-c_d/E`, `spiffe://${TD}/.../x`].map(trustDomainOf)).toEqual([`spiffe://${TD}`, `spiffe://${TD}`, `spiffe://${TD}`])
    expect(['', 'spiffe://', 'https://a/b', 'spiffe://a/./b', 'spiffe://a/..', 'spiffe://a b/c', `spiffe://a/${'x'.repeat(2_100)}`, 'spiffe://a/b\n'].map(trustDomainOf)).toEqual(Array(8).fill(undefined))
  })
})

describe('an X509-SVID', () => {
  it('names workload and agent, and the permit is bound to its certificate', async () => {
    expect(told(await present([leaf, middle]))).toBe('permit')
    expect(await newest()).toMatchObject({ act: { sub: `agent:${ID}`, verified: true }, cnf: thumbprint(leaf.der), sub: subjectId('spiffe', `spiffe://${TD}`, ID, rig.plane.log.origin, sha256) })
  })
  it.each<[string, 'EdDSA' | 'RS256', readonly string[]]>([
    ['Ed25519', 'EdDSA', ['-algorithm', 'ED25519']],
    ['RSA', 'RS256', ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048']],
  ])('may have a key of type %s', async (name, alg, generate) => {
    expect(told(await present([make(`leaf-${name}`, LEAF, 'root', undefined, generate)], { alg }))).toBe('permit')
  })
  it.each<[string, () => Promise<AuthorizeReply>, string]>([
    ['a chain that is cut short', () => present([leaf]), 'identity_invalid'],
    ['a chain in another order', () => present([leaf, root, middle]), 'identity_invalid'],
    ['a chain that ends at an authority of its own', () => {
      const evil = make('evil', CA)
      return present([make('evil-leaf', LEAF, 'evil'), evil])
    }, 'identity_invalid'],
    ['a leaf that is an authority', () => present([make('leaf-ca', ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,digitalSignature', LEAF[2] as string], 'root')]), 'identity_invalid'],
    ['a leaf that another leaf issued', () => present([make('leaf-leaf', LEAF, 'leaf'), leaf, middle]), 'identity_invalid'],
    ['two SPIFFE ids', () => present([make('leaf-two', [...LEAF.slice(0, 2), `subjectAltName=URI:${ID},URI:spiffe://${TD}/other`], 'root')]), 'identity_invalid'],
    ['no SPIFFE id', () => present([make('leaf-dns', [...LEAF.slice(0, 2), 'subjectAltName=DNS:coder.example.org'], 'root')]), 'identity_invalid'],
    ['a critical extension that nobody understands', () => present([make('leaf-critical', [...LEAF, '1.2.3.4=critical,ASN1:NULL'], 'root')]), 'identity_invalid'],
    ['a name constraint on its authority that nobody looks at', () => {
      const bound = make('middle-bound', [...CA, 'nameConstraints=critical,permitted;URI:other.example'], 'root')
      return present([make('leaf-of-bound', LEAF, 'middle-bound'), bound])
    }, 'identity_invalid'],
    ['no name at all', () => present([make('leaf-none', LEAF.slice(0, 2), 'root')]), 'identity_invalid'],
    ['a web address as its id', () => present([make('leaf-web', [...LEAF.slice(0, 2), 'subjectAltName=URI:https://example.org/agent'], 'root')]), 'identity_invalid'],
    ['an id of another trust domain', () => present([make('leaf-td', [...LEAF.slice(0, 2), 'subjectAltName=URI:spiffe://evil.example/agent/coder'], 'root')]), 'identity_invalid'],
    ['no key usage', () => present([make('leaf-nousage', [LEAF[0] as string, LEAF[2] as string], 'root')]), 'identity_invalid'],
    ['the usage of an authority', () => present([make('leaf-certsign', [LEAF[0] as string, 'keyUsage=critical,digitalSignature,keyCertSign', LEAF[2] as string], 'root')]), 'identity_invalid'],
    ['a leaf that has expired', () => present([make('leaf-old', LEAF, 'root', ['20250101000000Z', '20250201000000Z'])]), 'identity_invalid'],
    ['a leaf that is not yet valid', () => present([make('leaf-young', LEAF, 'root', ['20290101000000Z', '20300101000000Z'])]), 'identity_invalid'],
    ['an authority between that has expired', () => {
      const old = make('middle-old', CA, 'root', ['20250101000000Z', '20250201000000Z'])
      return present([make('leaf-of-old', LEAF, 'middle-old'), old])
    }, 'identity_invalid'],
    ['ATK-049: the proof of another key', () => present([leaf, middle], { key: middle }), 'proof_of_possession_failed'],
    ['ATK-049: the proof for another id', () => present([leaf, middle], { id: `spiffe://${TD}/agent/other` }), 'proof_of_possession_failed'],
    ['ATK-049: the proof of another challenge', () => present([leaf, middle], { claims: { challenge: rig.token() } }), 'proof_of_possession_failed'],
    ['the proof for another action', () => present([leaf, middle], { claims: { action_digest: actionDigest(toolCall('write_file'), sha256) } }), 'proof_of_possession_failed'],
    ['an old proof', () => present([leaf, middle], { claims: { iat: now() - 31 } }), 'proof_of_possession_failed'],
    ['ATK-005: a proof with alg none', () => present([leaf, middle], { header: { alg: 'none' } }), 'proof_of_possession_failed'],
    ['ATK-006: a proof with another alg', () => present([leaf, middle], { header: { alg: 'RS256' } }), 'proof_of_possession_failed'],
    ['ATK-007: a proof by another certificate', () => present([leaf, middle], { header: { kid: 'x' } }), 'proof_of_possession_failed'],
    ['ATK-008: a proof with its certificate in the header', () => present([leaf, middle], { header: { x5c: [] } }), 'proof_of_possession_failed'],
    ['ATK-010: a proof of another type', () => present([leaf, middle], { header: { typ: 'JWT' } }), 'proof_of_possession_failed'],
  ])('with %s is refused', async (_what, attack, code) => {
    expect(told(await attack())).toBe('identity_invalid')
    expect((await newest()).code).toBe(code)
  }, 60_000)
  it('certificates that are no certificates are refused', async () => {
    for (const chain of [['AAAA'], ['%'], ['='], [toBase64(leaf.der.slice(0, 100))]]) {
      expect(told(await gate.authorize(gate.request(toolCall(), { identity: { form: 'x509-svid', chain, proof: 'x.y.z' } })))).toBe('identity_invalid')
    }
  })
  it('a bundle that is gone vouches for nobody, from the next time it is read', async () => {
    const text = fs.readFileSync(bundle, 'utf8')
    fs.rmSync(bundle)
    rig.clock.advance(60_000)
    expect(told(await present([leaf, middle]))).toBe('unavailable')
    fs.writeFileSync(bundle, text)
    rig.clock.advance(60_000)
    expect(told(await present([leaf, middle]))).toBe('permit')
    expect(new FakeClock().wallMs()).toBeGreaterThan(0)
  })
})
