import { createHmac, createPublicKey } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import fc from 'fast-check'
import { KeySource, keySetUrl, MAX_KEY_AGE_MS, openToken, readKeySet, REFRESH_INTERVAL_MS, type Algorithm } from '@sealwrit/control-plane'
import { FakeClock } from '@sealwrit/gate/testing'
import { type AuthorizeReply, type DenyEntry, parseEntry, subjectId, toBase64Url, utf8 } from '@sealwrit/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { jwkOf, part, Provider, signingPair, token } from './support/identity.ts'
import { outcome, PERMIT_ALL, policySet, Rig, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const pairs = { EdDSA: signingPair('EdDSA', 'ed'), ES256: signingPair('ES256', 'ec'), RS256: signingPair('RS256', 'rsa') }
const { EdDSA: ed, ES256: ec, RS256: rsa } = pairs
const AUDIENCE = 'https://plane.example'
let provider: Provider
let rig: Rig
let gate: TestGate
const begin = async (issuer: object = {}, identity: object = {}, policies = PERMIT_ALL): Promise<void> => {
  await rig?.remove()
  rig = new Rig('tokens')
  rig.policies = policySet(policies)
  rig.identity = { issuers: [{ issuer: provider.url, audience: AUDIENCE, algorithms: ['EdDSA', 'ES256', 'RS256'], jwks_uri: `${provider.url}/jwks`, ...issuer }], ...identity }
  await rig.start()
  gate = await rig.gate()
}
beforeAll(async () => {
  provider = await Provider.start(ed, ec, rsa)
  await begin()
})
afterEach(() => {
  provider.status = 200
  provider.body = undefined
})
afterAll(async () => {
  await rig.remove()
  await provider.stop()
})
const now = (): number => Math.floor(rig.clock.wallMs() / 1_000)
const claims = (change: object = {}): object => ({ iss: provider.url, sub: 'repo:octo/app:environment:prod', aud: AUDIENCE, iat: now(), exp: now() + 300, ...change })
const present = (text: string, agent = { name: 'tester', verified: true }): Promise<AuthorizeReply> => gate.authorize(gate.request(toolCall(), { agent, identity: { form: 'oidc', token: text } }))
const newest = async (): Promise<DenyEntry> => parseEntry((await rig.store.entries(rig.plane.log.size - 1, 1))[0] as string) as unknown as DenyEntry
async function refused(text: string): Promise<void> {
  expect(told(await present(text))).toBe('identity_invalid')
  expect((await newest()).code).toBe('identity_invalid')
}

describe('an ID token of a configured issuer', () => {
  it.each(Object.values(pairs))('names the principal when it is signed with $alg; leaves show an opaque id', async (pair) => {
    expect(told(await present(token(pair, claims())))).toBe('permit')
    const sub = subjectId('oidc', provider.url, 'repo:octo/app:environment:prod', rig.plane.log.origin, sha256)
    expect(await newest()).toMatchObject({ kind: 'permit', sub, act: { sub: 'agent:tester', verified: true } })
    expect(JSON.stringify(await newest())).not.toContain('octo')
    expect(JSON.parse((await rig.plane.registry.nameOf(sub)) as string)).toEqual({ iss: provider.url, name: 'repo:octo/app:environment:prod' })
  })
  it('its name can be erased; the id and the proofs stay', async () => {
    await present(token(ed, claims({ sub: 'person@example' })))
    const { sub } = (await newest()) as { sub: string }
    expect(await rig.plane.registry.nameOf(sub)).toContain('person@example')
    await rig.plane.erase(`sub:${sub}`, true, rig.plane.sub)
    expect(await rig.plane.registry.nameOf(sub), 'dry').toContain('person@example')
    await rig.plane.erase(`sub:${sub}`, false, rig.plane.sub)
    expect(await rig.plane.registry.nameOf(sub)).toBeUndefined()
  })
  it('the same name of two issuers, and in two logs, is two ids', () => {
    const ids = [['a', 'x', 'l'], ['b', 'x', 'l'], ['a', 'x', 'm'], ['a\nx', '', 'l'], ['a', '\nx', 'l']].map(([iss, sub, origin]) => subjectId('oidc', iss as string, sub as string, origin as string, sha256))
    expect(new Set(ids).size).toBe(5)
  })
  it('does not vouch for an agent unless its issuer names agents', async () => {
    await present(token(ed, claims()), { name: 'tester', verified: false })
    expect(await newest()).toMatchObject({ kind: 'permit', act: { verified: false } })
  })

  it.each<[string, object | string]>([
    ...['none', 'None', 'NONE', 'HS256', 'ES256', 'RS256', 'EdDSA ', 'eddsa', '', 'PS256'].map((alg): [string, object] => [`ATK-005: alg ${JSON.stringify(alg)}`, { alg, kid: 'ed', typ: 'JWT' }]),
    ['ATK-005: no alg', { kid: 'ed', typ: 'JWT' }],
    ['ATK-005: a list as alg', { alg: ['EdDSA'], kid: 'ed' }],
    ['no key id', { alg: 'EdDSA' }],
    ['a number as key id', { alg: 'EdDSA', kid: 1 }],
    ...['../../etc/passwd', "' or 1=1 --", 'http://127.0.0.1/k', '__proto__', 'constructor', 'toString', 'ED', 'ed ', 'x'.repeat(4_000)].map((kid): [string, object] => [`ATK-007: key id ${kid.slice(0, 20)}`, { alg: 'EdDSA', kid, typ: 'JWT' }]),
    ...['jku', 'x5u', 'jwk', 'x5c', 'crit', 'b64', 'zip', 'cty', 'enc', 'nonce'].map((name): [string, object] => [`ATK-008, ATK-009: ${name}`, { alg: 'EdDSA', kid: 'ed', typ: 'JWT', [name]: name === 'crit' ? ['exp'] : name === 'b64' ? false : 'https://127.0.0.1:1/' }]),
    ['ATK-009: crit empty', { alg: 'EdDSA', kid: 'ed', crit: [] }],
    ['ATK-011: alg twice', '{"alg":"none","alg":"EdDSA","kid":"ed"}'],
    ['ATK-011: alg twice, once escaped', '{"alg":"EdDSA","\\u0061lg":"EdDSA","kid":"ed"}'],
    ['no object', '[]'],
    ['a BOM', '\ufeff{"alg":"EdDSA","kid":"ed"}'],
    ...['at+jwt', 'execution-receipt+jwt', 'agent-proof+jwt', 'gate-proof+jwt', 'svid-proof+jwt', 'logout+jwt', 'jwt', 'JOSE', ''].map((typ): [string, object] => [`ATK-010: typ ${typ}`, { alg: 'EdDSA', kid: 'ed', typ }]),
  ])('%s is refused', async (_what, header) => {
    const before = provider.requests
    await refused(token(ed, claims(), header))
    expect(provider.requests - before, 'nothing in a message makes the plane fetch').toBeLessThanOrEqual(1)
  })
  it('ATK-006: HMAC keyed with a public key in any of its forms, and another algorithm’s key under an id, are refused', async () => {
    const { publicKey } = rsa
    const forms = [publicKey.export({ type: 'spki', format: 'pem' }), publicKey.export({ type: 'spki', format: 'der' }), publicKey.export({ type: 'pkcs1', format: 'pem' }), Buffer.from(JSON.stringify(publicKey.export({ format: 'jwk' }))), Buffer.from((ed.publicKey.export({ format: 'jwk' }) as { x: string }).x, 'base64url')]
    for (const secret of forms) {
      for (const kid of ['rsa', 'ed']) {
        const input = `${part({ alg: 'HS256', kid, typ: 'JWT' })}.${part(claims())}`
        await refused(`${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`)
      }
    }
    await refused(token(ec, claims(), { alg: 'ES256', kid: 'ed', typ: 'JWT' }))
    await refused(token(ed, claims(), { alg: 'EdDSA', kid: 'rsa', typ: 'JWT' }))
    await refused(token(signingPair('EdDSA', 'ed'), claims()))
  })

  it.each<[string, (at: number) => object | string]>([
    ['another issuer', () => ({ iss: 'https://elsewhere.example' })],
    ['an issuer with a slash more', () => ({ iss: `${provider.url}/` })],
    ['no issuer', () => ({ iss: undefined })],
    ['ATK-102: a foreign audience', () => ({ aud: 'https://other.example' })],
    ['an audience that begins like ours', () => ({ aud: `${AUDIENCE}.evil.example` })],
    ['ours among others', () => ({ aud: [AUDIENCE, 'https://other.example'] })],
    ['an audience twice', () => ({ aud: [AUDIENCE, AUDIENCE] })],
    ['no audience', () => ({ aud: undefined })],
    ['no audience in a list', () => ({ aud: [] })],
    ['an object as audience', () => ({ aud: { [AUDIENCE]: true } })],
    ['no end', () => ({ exp: undefined })],
    ['ATK-002: its end past', (at) => ({ exp: at - 30 })],
    ['ATK-002: an end in milliseconds that is a text', (at) => ({ exp: `${at + 300}` })],
    ['ATK-002: a fraction as end', (at) => ({ exp: at + 0.5 })],
    ['ATK-002: a negative end', () => ({ exp: -1 })],
    ['ATK-002: 1e999', (at) => `{"iss":"${provider.url}","sub":"x","aud":"${AUDIENCE}","iat":${at},"exp":1e999}`],
    ['ATK-003: a beginning too far ahead', (at) => ({ nbf: at + 31 })],
    ['issued in the future', (at) => ({ iat: at + 31 })],
    ['null as beginning', () => ({ nbf: null })],
    ['no subject', () => ({ sub: undefined })],
    ['an empty subject', () => ({ sub: '' })],
    ['a number as subject', () => ({ sub: 7 })],
    ['a subject beyond the limit', () => ({ sub: 'x'.repeat(1_025) })],
    ['ATK-011: the audience twice', (at) => `{"iss":"${provider.url}","sub":"x","aud":"x","aud":"${AUDIENCE}","iat":${at},"exp":${at + 300}}`],
  ])('with %s is refused', async (_what, change) => {
    const made = change(now())
    await refused(token(ed, typeof made === 'string' ? made : claims(made)))
  })
  it('holds to the second: from 30 s before its beginning to 30 s after its end', async () => {
    expect(told(await present(token(ed, claims({ exp: now() - 29 }))))).toBe('permit')
    expect(told(await present(token(ed, claims({ nbf: now() + 30 }))))).toBe('permit')
    expect(told(await present(token(ed, claims({ aud: [AUDIENCE] }))))).toBe('permit')
  })
  it('ATK-012, ATK-013: 1,000 mutants of valid tokens are refused, each without a crash', async () => {
    const valid = Object.values(pairs).map((pair) => token(pair, claims()))
    const keys = readKeySet(utf8(JSON.stringify({ keys: Object.values(pairs).map((pair) => jwkOf(pair)) })), ['EdDSA', 'ES256', 'RS256'], 'sig')
    const { verifyToken } = await import('@sealwrit/control-plane')
    const accepts = (text: string): boolean => {
      try {
        const opened = openToken(text)
        const key = keys.get(opened.kid)
        if (key === undefined) return false
        verifyToken(opened, key, ['EdDSA', 'ES256', 'RS256'])
        return true
      } catch (error) {
        expect((error as { code?: string }).code).toBe('identity_invalid')
        return false
      }
    }
    for (const text of valid) expect(accepts(text)).toBe(true)
    const CHARS = ['A', 'z', '-', '_', '.', '=', '+', '/', ' ', '\n', '\r\n', '\0', 'é', '==']
    const mutant = fc.record({ which: fc.integer({ min: 0, max: 2 }), at: fc.double({ min: 0, max: 1, noNaN: true }), how: fc.constantFrom('insert', 'replace', 'delete', 'double', 'cut'), char: fc.constantFrom(...CHARS) }).map(({ which, at, how, char }) => {
      const text = valid[which] as string
      const i = Math.min(text.length - 1, Math.floor(at * text.length))
      switch (how) {
        case 'insert': return [text, text.slice(0, i) + char + text.slice(i)]
        case 'replace': return [text, text.slice(0, i) + char + text.slice(i + 1)]
        case 'delete': return [text, text.slice(0, i) + text.slice(i + 1)]
        case 'double': return [text, `${text.slice(0, i)}${text[i]}${text.slice(i)}`]
        default: return [text, text.slice(0, i)]
      }
    })
    fc.assert(fc.property(mutant, ([text, changed]) => changed === text || !accepts(changed as string)), { numRuns: 1_000, seed: 49 })
    for (const text of valid) {
      for (const changed of [`${text}=`, `${text}\n`, ` ${text}`, `${text}.`, `${text}.x`, text.replace('.', '..'), text.slice(0, text.lastIndexOf('.') + 1), text.slice(0, text.lastIndexOf('.'))]) expect(accepts(changed)).toBe(false)
      const last = text.at(-1) as string
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
      for (const other of alphabet) if (other !== last) expect(accepts(text.slice(0, -1) + other), 'the last character has one spelling').toBe(false)
    }
  })
  it('ends while its request waits for its place: no permit', async () => {
    const text = token(ed, claims({ exp: now() - 29 }))
    expect(told(await present(text))).toBe('permit')
    const asked = present(text)
    rig.clock.advance(1_000)
    expect(told(await asked)).toBe('identity_invalid')
  })
})

describe('the keys of an issuer', () => {
  const one = (jwk: object): string => JSON.stringify({ keys: [jwk] })
  const read = (text: string, algorithms: readonly Algorithm[] = ['EdDSA', 'ES256', 'RS256']): Promise<string> => outcome(Promise.resolve().then(() => readKeySet(utf8(text), algorithms, 'sig')))
  it.each<[string, () => string, (readonly Algorithm[])?]>([
    ['a key id twice', () => JSON.stringify({ keys: [jwkOf(ed), { ...jwkOf(ec), kid: 'ed' }] })],
    ['the same key twice', () => JSON.stringify({ keys: [jwkOf(ed), jwkOf(ed)] })],
    ['a type that is not pinned beside one that is', () => JSON.stringify({ keys: [jwkOf(ed), jwkOf(rsa)] }), ['EdDSA']],
    ['a secret key', () => one({ kty: 'oct', k: 'AAAA', kid: 'x' })],
    ['a private key', () => one({ ...ed.privateKey.export({ format: 'jwk' }), kid: 'x' })],
    ['an algorithm of another type', () => one(jwkOf(ed, { alg: 'RS256' }))],
    ['an algorithm that nobody knows', () => one(jwkOf(ed, { alg: 'XX' }))],
    ['an RSA key with a curve', () => one(jwkOf(rsa, { crv: 'P-256' }))],
    ['no key id', () => one({ ...jwkOf(ed), kid: undefined })],
    ['a key id that is a number', () => one(jwkOf(ed, { kid: 3 }))],
    ['a key id of 1 MB', () => one(jwkOf(ed, { kid: 'x'.repeat(1_048_576) }))],
    ['a point that is none', () => one(jwkOf(ec, { x: 'AAAA' }))],
    ['another curve', () => one({ kty: 'EC', crv: 'P-384', x: 'a', y: 'b', kid: 'x' })],
    ['a member twice', () => '{"keys":[{"kty":"OKP","kty":"RSA"}]}'],
    ['no list', () => '{"keys":{}}'],
    ['no keys', () => '{"keys":[]}'],
    ['no JSON', () => '<html>'],
    ['a key that is a text', () => '{"keys":["x"]}'],
    ['too many keys', () => JSON.stringify({ keys: Array.from({ length: 65 }, (_, i) => jwkOf(ed, { kid: `${i}` })) })],
    ['only encryption keys', () => one(jwkOf(ed, { use: 'enc' }))],
    ['too many bytes', () => one(jwkOf(ed, { padding: 'x'.repeat(262_144) }))],
  ])('ATK-007: a set with %s refuses to load', async (_what, text, algorithms) => {
    expect(await read(text(), algorithms)).toBe('identity_invalid')
  })
  it('ATK-007: an RSA key of 1,024 bits refuses to load', async () => {
    const { generateKeyPairSync } = await import('node:crypto')
    expect(await read(one({ ...generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey.export({ format: 'jwk' }), kid: 'x' }))).toBe('identity_invalid')
  })
  it('encryption keys beside are left out; ids that are members of every object are plain ids', async () => {
    const keys = readKeySet(utf8(JSON.stringify({ keys: [jwkOf(ed, { kid: '__proto__' }), jwkOf(ec, { kid: 'constructor' }), jwkOf(rsa, { use: 'enc' })] })), ['EdDSA', 'ES256'], 'sig')
    expect([...keys.keys()]).toEqual(['__proto__', 'constructor'])
    expect(createPublicKey).toBeDefined()
  })

  it('ATK-063: 10,000 unknown ids ask for one refresh an interval, also all at once', async () => {
    const clock = new FakeClock()
    let loads = 0
    const set = utf8(JSON.stringify({ keys: [jwkOf(ed)] }))
    const keys = new KeySource(async () => (loads++, set), clock, ['EdDSA'], 'sig')
    await keys.find('ed')
    expect(loads).toBe(1)
    for (let interval = 1; interval <= 3; interval++) {
      clock.advance(REFRESH_INTERVAL_MS)
      const found = await Promise.all(Array.from({ length: 10_000 }, (_, i) => outcome(keys.find(`unknown ${interval} ${i}`))))
      expect(new Set(found)).toEqual(new Set(['identity_invalid']))
      expect(loads).toBe(1 + interval)
    }
  })
  it('ATK-063: a new key counts from the first refresh on, the old one while the provider shows it', async () => {
    await begin()
    const next = signingPair('ES256', 'next')
    expect(told(await present(token(ed, claims())))).toBe('permit')
    provider.keys = [jwkOf(ed), jwkOf(next)]
    expect(told(await present(token(next, claims()))), 'within the interval').toBe('identity_invalid')
    rig.clock.advance(REFRESH_INTERVAL_MS)
    expect([told(await present(token(next, claims()))), told(await present(token(ed, claims())))]).toEqual(['permit', 'permit'])
    provider.keys = [jwkOf(next)]
    rig.clock.advance(600_000)
    await gate.enrol()
    expect([told(await present(token(next, claims()))), told(await present(token(ed, claims())))]).toEqual(['permit', 'identity_invalid'])
    provider.keys = Object.values(pairs).map((pair) => jwkOf(pair))
  })
  it.each<[string, () => void]>([
    ['nonsense', () => (provider.body = '<html>')],
    ['an error', () => (provider.status = 500)],
    ['a redirect', () => (provider.status = 302)],
    ['a set that is too large', () => (provider.body = ' '.repeat(300_000))],
  ])('that answers %s is unavailable, and logged as that; nothing runs', async (_what, fault) => {
    fault()
    await begin()
    expect(told(await present(token(ed, claims())))).toBe('unavailable')
    expect(await newest()).toMatchObject({ kind: 'deny', code: 'unavailable' })
    provider.status = 200
    provider.body = undefined
    rig.clock.advance(10_000)
    expect(told(await present(token(ed, claims())))).toBe('permit')
  })
  it('keys that cannot be fetched anew are used for a day and no longer', async () => {
    const clock = new FakeClock()
    let isUp = true
    const keys = new KeySource(async () => (isUp ? utf8(JSON.stringify({ keys: [jwkOf(ed)] })) : Promise.reject(new Error('down'))), clock, ['EdDSA'], 'sig')
    expect(await outcome(keys.find('ed'))).toBe('ok')
    isUp = false
    clock.advance(MAX_KEY_AGE_MS - 1)
    expect(await outcome(keys.find('ed'))).toBe('ok')
    clock.advance(1)
    expect(await outcome(keys.find('ed'))).toBe('unavailable')
  })
  it('are fetched over https or from loopback, and from no address with a password', () => {
    for (const bad of ['http://keys.example/jwks', 'ftp://x/', 'file:///etc/passwd', 'http://127.0.0.1.evil.example/', 'https://user:pw@keys.example/', 'x', '', 'http://169.254.169.254/']) expect(() => keySetUrl(bad), bad).toThrow(TypeError)
    for (const good of ['https://keys.example/jwks', 'http://127.0.0.1:1/x', 'http://[::1]:1/', 'http://localhost/']) expect(keySetUrl(good).href).toBeTruthy()
  })
  it('can stand in a file', async () => {
    const file = path.join(rig.folder, '..', `jwks-${process.pid}.json`)
    fs.writeFileSync(file, JSON.stringify({ keys: [jwkOf(ed)] }))
    await begin({ jwks_uri: undefined, jwks_file: file, algorithms: ['Ed25519'] })
    expect(told(await present(token(ed, claims(), { alg: 'Ed25519', kid: 'ed' })))).toBe('permit')
    await refused(token(ed, claims())) // EdDSA is another name, which is not pinned
    fs.rmSync(file)
  })
})

describe('what an issuer is configured for', () => {
  it('GitHub Actions: repository, ref, workflow and environment reach the policies, nothing else does', async () => {
    await begin({ map: 'github_actions' }, {}, `permit (principal, action, resource) when { context has identity && context.identity.issuer == "${provider.url}" && context.identity.claims.containsAll(["repository=octo/app", "ref=refs/heads/main", "environment=prod"]) };`)
    const workflow = { repository: 'octo/app', ref: 'refs/heads/main', workflow_ref: 'octo/app/.github/workflows/deploy.yml@refs/heads/main', environment: 'prod', actor: 'somebody', run_id: '1' }
    const header = { typ: 'JWT', alg: 'RS256', x5t: 'c2FtcGxl', kid: 'rsa' }
    expect(told(await present(token(rsa, claims(workflow), header)))).toBe('permit')
    const bodies = await rig.store.bodies(rig.plane.log.size - 1)
    const { context } = JSON.parse(bodies.find(({ purpose }) => purpose === 'inputs')?.text as string) as { context: { identity: { claims: string[] } } }
    expect(context.identity.claims).toEqual(['repository=octo/app', 'ref=refs/heads/main', 'workflow_ref=octo/app/.github/workflows/deploy.yml@refs/heads/main', 'environment=prod'])
    expect(told(await present(token(rsa, claims({ ...workflow, ref: 'refs/heads/evil' }))))).toBe('policy_no_match')
    expect(told(await present(token(rsa, claims({ ...workflow, repository: 'octo/app2' }))))).toBe('policy_no_match')
    await refused(token(rsa, claims({ ...workflow, repository: ['octo/app'] })))
  })
  it('a claim that names the agent must name this one', async () => {
    await begin({ agent: 'agent_name' }, { agents: 'registered' })
    expect(told(await present(token(ed, claims({ agent_name: 'tester' })), { name: 'tester', verified: false }))).toBe('permit')
    expect(await newest()).toMatchObject({ act: { sub: 'agent:tester', verified: true } })
    for (const agent_name of ['other', '', 'tester ', undefined, 7, 'Tester']) await refused(token(ed, claims({ agent_name })))
  })
  it('where agents must be registered, a token that names none is not enough', async () => {
    await begin({}, { agents: 'registered' })
    expect(told(await present(token(ed, claims())))).toBe('identity_invalid')
    expect((await newest()).code).toBe('identity_unknown')
  })
  it('a policy set whose schema does not know identities goes on as it was', async () => {
    await begin()
    rig.policies = policySet(PERMIT_ALL, (await import('./support/rig.ts')).SCHEMA.replace(', identity?: { form: String, issuer: String, claims: Set<String> }', ''))
    await rig.restart()
    expect(told(await present(token(ed, claims())))).toBe('permit')
  })
  it('nobody is believed where no issuer is configured', async () => {
    await begin({}, { issuers: [] })
    await refused(token(ed, claims()))
    expect(toBase64Url(utf8('x'))).toBe('eA')
  })
})
