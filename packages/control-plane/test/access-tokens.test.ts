import { verifyBearer } from '@sealwrit/gate'
import { type AuthorizeReply, type DenyEntry, parseEntry, subjectId } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { World } from '../../../test/support/world.ts'
import { Provider, signingPair, token } from './support/identity.ts'
import { PERMIT_ALL, policySet, Rig, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const ed = signingPair('EdDSA', 'ed')
const AUDIENCE = 'https://plane.example'
const RESOURCE = 'https://mcp.example/mcp'
let provider: Provider
let rig: Rig
let gate: TestGate

beforeAll(async () => {
  provider = await Provider.start(ed)
  rig = new Rig('access')
  rig.policies = policySet(PERMIT_ALL)
  rig.identity = { issuers: [{ issuer: provider.url, audience: AUDIENCE, resources: [RESOURCE, 'https://other.example/mcp'], algorithms: ['EdDSA'], jwks_uri: `${provider.url}/jwks`, agent: 'agent' }] }
  await rig.start()
  gate = await rig.gate()
})
afterAll(async () => {
  await rig.remove()
  await provider.stop()
})

const now = (): number => Math.floor(rig.clock.wallMs() / 1_000)
const claims = (change: object = {}): object => ({ iss: provider.url, sub: 'ann', aud: RESOURCE, iat: now(), exp: now() + 300, agent: 'tester', scope: 'call read', client_id: 'c', ...change })
const access = (change: object = {}, header: object = { alg: 'EdDSA', kid: 'ed', typ: 'at+jwt' }): string => token(ed, claims(change), header)
const bearer = (text: string, audience = RESOURCE): Promise<object> => rig.plane.identifier.bearer(text, audience)
const authorize = (text: string, audience?: string): Promise<AuthorizeReply> => gate.authorize(gate.request(toolCall(), { agent: { name: 'tester', verified: true }, identity: { form: 'oidc', token: text, ...(audience === undefined ? {} : { audience }) } }))
const newest = async (): Promise<DenyEntry> => parseEntry((await rig.store.entries(rig.plane.log.size - 1, 1))[0] as string) as unknown as DenyEntry

describe('an access token that a gate was shown', () => {
  it.each(['at+jwt', 'application/at+jwt', 'JWT'])('names its principal, of type %s', async (typ) => {
    const until = (now() + 300 + 30) * 1_000
    expect(await bearer(access({}, { alg: 'EdDSA', kid: 'ed', typ }))).toEqual({ iss: provider.url, sub: subjectId('oidc', provider.url, 'ann', rig.plane.log.origin, sha256), agent: 'tester', scopes: ['call', 'read'], until })
  })

  it('is what a request is judged by: the principal is who it names', async () => {
    expect(told(await authorize(access(), RESOURCE))).toBe('permit')
    expect(await newest()).toMatchObject({ sub: subjectId('oidc', provider.url, 'ann', rig.plane.log.origin, sha256), act: { sub: 'agent:tester', verified: true } })
  })

  it.each<[string, () => string, string, string]>([
    ['of another resource (ATK-102: token passthrough)', () => access({ aud: 'https://other.example/mcp' }), RESOURCE, 'audience_mismatch'],
    ['of several resources', () => access({ aud: [RESOURCE, 'https://other.example/mcp'] }), RESOURCE, 'audience_mismatch'],
    ['of no resource', () => access({ aud: undefined }), RESOURCE, 'audience_mismatch'],
    ['that says who somebody is, to the plane', () => access({ aud: AUDIENCE }, { alg: 'EdDSA', kid: 'ed', typ: 'JWT' }), RESOURCE, 'audience_mismatch'],
    ['for a resource that the plane is not configured for', () => access({ aud: 'https://evil.example' }), 'https://evil.example', 'audience_mismatch'],
    ['for the plane, by a gate that says it is the plane', () => access({ aud: AUDIENCE }), AUDIENCE, 'audience_mismatch'],
    ['of an unknown issuer (ATK-102: mix-up)', () => access({ iss: 'https://evil.example' }), RESOURCE, 'identity_invalid'],
    ['of no issuer (ATK-102)', () => access({ iss: undefined }), RESOURCE, 'identity_invalid'],
    ['of an issuer in another spelling', () => access({ iss: `${provider.url}/` }), RESOURCE, 'identity_invalid'],
    ['that ended', () => access({ exp: now() - 31 }), RESOURCE, 'identity_invalid'],
    ['of another type', () => access({}, { alg: 'EdDSA', kid: 'ed', typ: 'logout+jwt' }), RESOURCE, 'identity_invalid'],
    ['that names no agent', () => access({ agent: 'a b' }), RESOURCE, 'identity_invalid'],
    ['signed by nobody', () => `${access().slice(0, -4)}AAAA`, RESOURCE, 'identity_invalid'],
    ['that is none', () => 'opaque', RESOURCE, 'identity_invalid'],
  ])('is refused %s, and so is a request with it', async (_what, text, audience, code) => {
    await expect(bearer(text(), audience)).rejects.toMatchObject({ code })
    expect(told(await authorize(text(), audience))).toBe('identity_invalid') // one answer for all of them (ATK-123)
  })

  it('is no ID token, nor the other way round', async () => {
    expect(told(await authorize(access()))).toBe('identity_invalid')
    expect(told(await authorize(token(ed, claims({ aud: AUDIENCE }))))).toBe('permit')
    expect(told(await authorize(token(ed, claims({ aud: AUDIENCE })), RESOURCE))).toBe('identity_invalid')
  })

  it('makes the plane fetch nothing but the keys of its issuer (ATK-102: no private address is asked)', async () => {
    const before = provider.requests
    for (const change of [{ iss: 'http://169.254.169.254/' }, { iss: 'http://127.0.0.1:1' }]) await expect(bearer(access(change))).rejects.toThrow()
    for (const header of ['jku', 'x5u']) await expect(bearer(access({}, { alg: 'EdDSA', kid: 'ed', typ: 'at+jwt', [header]: 'http://169.254.169.254/' }))).rejects.toThrow()
    expect(provider.requests).toBe(before)
  })
})

describe('a gate has a token verified', () => {
  it('over its own session, by what its plane believes', async () => {
    const world = new World()
    await world.start()
    await expect(verifyBearer(world.gate(), access(), RESOURCE)).rejects.toMatchObject({ code: 'identity_invalid' }) // that plane believes no issuer
    await world.remove()
  })
})
