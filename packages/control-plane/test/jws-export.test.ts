import { generateKeyPairSync, sign } from 'node:crypto'
import { exportJwk, serveHttp } from '@sealwrit/control-plane'
import { type JsonObject, leafDigest, leafHash, openJws, parseEntry, type Permit, type SealedEntry, signingKey, utf8 } from '@sealwrit/protocol'
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TOKEN } from './support/http.ts'
import { askIssue, issueRequest } from './support/push.ts'
import { outcome, Rig, sha256, type TestGate, toolCall } from './support/rig.ts'
import { nodeCryptography } from '@sealwrit/control-plane'

const keys = generateKeyPairSync('ed25519')
const publicKey = Buffer.from(keys.publicKey.export({ format: 'jwk' }).x as string, 'base64url')
const exportKey = { publicKey, sign: (message: Uint8Array) => sign(null, message, keys.privateKey) }
interface Exported {
  readonly decision: string
  readonly jws: string
  readonly sealed: SealedEntry
}
let rig: Rig
let gate: TestGate
beforeAll(async () => {
  rig = new Rig('jws')
  await rig.start({ exportKey })
  gate = await rig.gate()
})
afterAll(() => rig.remove())
const issued = async (): Promise<Exported> => (await askIssue(rig.plane, issueRequest(gate, toolCall(), { form: 'jws' }))) as unknown as Exported

describe('a carried artifact as JWS', () => {
  it('says what the sealed one says, with the scope as authorization_details and its place in the log; jose verifies it under the published keys', async () => {
    const server = await serveHttp([{ plane: rig.plane, token: TOKEN, isLogPublic: false, exportJwk: exportJwk(exportKey, nodeCryptography) }], { host: '127.0.0.1', port: 0 })
    const published = (await (await fetch(`${server.url}/.well-known/jwks.json`)).json()) as JSONWebKeySet
    await server.close()
    const { jws, sealed } = await issued()
    const { kid } = signingKey(publicKey, sha256)
    expect(published.keys).toEqual([{ kty: 'OKP', crv: 'Ed25519', x: publicKey.toString('base64url'), kid, alg: 'Ed25519', use: 'sig' }])
    expect(Object.entries(decodeProtectedHeader(jws))).toEqual([['alg', 'Ed25519'], ['kid', kid], ['typ', 'authorization-artifact+jwt']])
    const { v: _v, kind: _kind, seq, time: _time, scope, ...claims } = parseEntry(sealed.entry) as Permit & { v: number; seq: number; time: number }
    const { payload } = await jwtVerify(jws, createLocalJWKSet(published), { algorithms: ['Ed25519'], typ: 'authorization-artifact+jwt', audience: gate.id, issuer: rig.plane.log.origin, currentDate: new Date(rig.clock.wallMs()) })
    expect(payload).toEqual({ ...claims, authorization_details: [{ type: scope.type, locations: [scope.target], identifier: scope.name }], leaf_hash: leafDigest(leafHash(utf8(sealed.entry), sha256)), index: seq })
    expect(claims.use).toBe('redeem')
    expect(openJws(jws, 'authorization-artifact+jwt', signingKey(publicKey, sha256), nodeCryptography)).toEqual(payload as JsonObject)
  })
  it('ATK-005: a changed byte, another type and another key are refused', async () => {
    const { jws } = await issued()
    const set = createLocalJWKSet({ keys: [exportJwk(exportKey, nodeCryptography)] } as unknown as JSONWebKeySet)
    const [head, claims, signature] = jws.split('.') as [string, string, string]
    const changed = Buffer.from(Buffer.from(claims, 'base64url').toString().replace('read_file', 'wipe_disk')).toString('base64url')
    await expect(jwtVerify(`${head}.${changed}.${signature}`, set, { algorithms: ['Ed25519'] })).rejects.toThrow()
    expect(await outcome((async () => openJws(jws, 'execution-receipt+jwt', signingKey(publicKey, sha256), nodeCryptography))())).toBe('type_mismatch')
    expect(await outcome((async () => openJws(jws, 'authorization-artifact+jwt', signingKey(Buffer.alloc(32, 1), sha256), nodeCryptography))())).toBe('key_unknown')
  })
  it('I2: runs nothing by itself; the sealed artifact beside it is redeemed once, and a gate and a plane take no JWS for it', async () => {
    const { jws, sealed } = await issued()
    const challenge = rig.token()
    const redeem = (artifact: unknown): Promise<unknown> => rig.plane.redeem({ session: gate.session, artifact: artifact as never, challenge }, gate.id, { size: 0 })
    expect(await outcome(redeem(jws))).toBe('artifact_malformed')
    expect(await outcome(redeem(sealed))).toBe('ok')
    expect(await outcome(rig.plane.redeem({ session: gate.session, artifact: { ...sealed }, challenge: rig.token() }, gate.id, { size: 0 }))).toBe('artifact_spent')
  })
  it('is refused before anything is decided where the plane has no key for it; a denial has none', async () => {
    const other = await Rig.open('no-key')
    const size = other.plane.log.size
    expect(await outcome(askIssue(other.plane, issueRequest(gate, toolCall(), { form: 'jws' })))).toBe('key_unknown')
    expect(other.plane.log.size).toBe(size)
    await other.remove()
    expect(await askIssue(rig.plane, issueRequest(gate, toolCall('unheard_of'), { form: 'jws' }))).toEqual({ decision: 'deny', code: 'tool_not_pinned', seq: expect.any(Number) })
  })
})
