import { generateKeyPairSync, sign } from 'node:crypto'
import { agentKeyIdentity, enforce, type Identify, nodeCryptography } from '@sealwrit/gate'
import { attachSignature, type DenialCode, expectedSubject, type Identity, isObject, type JsonObject, readPossession, signingKey, subjectId, toBase64Url, utf8, verifyAgentProof } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { ACTION, Rig } from './support/rig.ts'

const keys = generateKeyPairSync('ed25519')
const publicKey = Buffer.from((keys.publicKey.export({ format: 'jwk' }) as { x: string }).x, 'base64url')
const key = signingKey(publicKey, nodeCryptography.sha256)
const local = { sub: 'user:local', act: { sub: 'agent:coder', verified: false } }
const expected = (identity: Identity | undefined) => expectedSubject(identity, local, 'log.example/default', nodeCryptography.sha256)
const jwt = (claims: object): string => `${toBase64Url(utf8('{}'))}.${toBase64Url(utf8(JSON.stringify(claims)))}.x`
const TOKEN: Identity = { form: 'oidc', token: jwt({ iss: 'https://issuer.example', sub: 'somebody' }) }
const proving = (rig: Rig): Identify => agentKeyIdentity({ kid: key.kid, sign: (message) => sign(null, message, keys.privateKey) }, () => Math.floor(rig.clock.wallMs() / 1_000))

/** Lets one action run whose asker is identified so. */
function asked(rig: Rig, identify?: Identify, verified = true): Promise<DenialCode | 'ran'> {
  const request = { action: ACTION, agent: { name: 'coder', verified }, facts: () => ({ paths: 'inside' as const }), identify }
  return rig.outcome(enforce(rig.gate, request, async () => {
    rig.effects.push('ran')
    return { outcome: 'completed', resultBytes: new Uint8Array(0), value: undefined }
  }))
}
/** The plane puts these members into its permits. */
function permitting(rig: Rig, change: JsonObject): void {
  const append = rig.plane.append.bind(rig.plane)
  rig.plane.append = (body) => append(body.kind === 'permit' ? ({ ...body, ...change } as typeof body) : body)
}

describe('whom a gate expects a permit to name', () => {
  it('is the local user with the agent that was named, where nothing is asserted', () => {
    expect(expected(undefined)).toEqual({ sub: 'user:local', act: 'agent:coder', verified: false })
  })
  it('is who the assertion names, with the key that it proves', () => {
    expect(expected(TOKEN)).toEqual({ sub: subjectId('oidc', 'https://issuer.example', 'somebody', 'log.example/default', nodeCryptography.sha256), act: 'agent:coder', verified: undefined })
    const id = 'spiffe://example.org/coder'
    const sub = subjectId('spiffe', 'spiffe://example.org', id, 'log.example/default', nodeCryptography.sha256)
    expect(expected({ form: 'jwt-svid', token: jwt({ sub: id }) })).toEqual({ sub, act: `agent:${id}`, verified: true, cnf: undefined })
    const cnf = toBase64Url(nodeCryptography.sha256(Buffer.from('AAAA', 'base64')))
    expect(expected({ form: 'x509-svid', chain: ['AAAA'], proof: jwt({ agent: id }) })).toEqual({ sub, act: `agent:${id}`, verified: true, cnf })
  })
  it('is nobody for what cannot be read: no permit names that', () => {
    for (const token of ['', 'x', 'a.b.c', jwt([]), jwt({ iss: 1, sub: [] })]) expect(expected({ form: 'oidc', token }).sub).toBe(subjectId('oidc', '', '', 'log.example/default', nodeCryptography.sha256))
    expect(expected({ form: 'agent-key', proof: 'nonsense' })).toMatchObject({ cnf: '' })
  })
})

describe('a gate that passes on who asks', () => {
  it('has the agent sign for its challenge, this action and this gate, and signs nothing itself', async () => {
    const rig = new Rig()
    permitting(rig, { cnf: key.kid })
    let proof = ''
    let shown: JsonObject = {}
    const identify: Identify = async (about) => {
      shown = { ...about }
      const identity = await proving(rig)(about)
      if (identity?.form === 'agent-key') proof = identity.proof
      return identity
    }
    expect(await asked(rig, identify)).toBe('ran')
    expect(shown).toMatchObject({ aud: rig.plane.key.name, agent: 'coder', gate: rig.gate.id })
    const permit = rig.plane.entries.find((entry) => entry.kind === 'permit')
    expect(permit?.kind === 'permit' && permit.challenge).toBe(shown['challenge'])
    expect(verifyAgentProof(proof, [key], shown as never, Math.floor(rig.clock.wallMs() / 1_000), nodeCryptography)).toBe(key)
    expect(() => readPossession({ ...shown, iat: 1, more: 1 })).toThrow()
    expect(isObject(shown)).toBe(true)
  })
  it.each<[string, JsonObject, ((rig: Rig) => Identify) | undefined, string]>([
    ['ATK-049: a permit that is bound to another key', { cnf: 'x'.repeat(43) }, proving, 'proof_of_possession_failed'],
    ['ATK-049: a permit that is bound to none, though a key was proved', {}, proving, 'proof_of_possession_failed'],
    ['ATK-049: a permit that is bound to a key, though none was proved', { cnf: key.kid }, undefined, 'proof_of_possession_failed'],
    ['ATK-049: a permit for the local user, though a token names another', {}, () => () => TOKEN, 'subject_mismatch'],
    ['ATK-049: a permit for whom a token names elsewhere', { sub: subjectId('oidc', 'https://issuer.example', 'somebody', 'other.log/default', nodeCryptography.sha256) }, () => () => TOKEN, 'subject_mismatch'],
    ['ATK-049: a permit for another agent', { cnf: key.kid, act: { sub: 'agent:reviewer', verified: true } }, proving, 'subject_mismatch'],
  ])('%s does not run', async (_what, change, identify, code) => {
    const rig = new Rig()
    permitting(rig, change)
    expect(await asked(rig, identify?.(rig))).toBe(code)
    expect(rig.effects).toEqual([])
  })
  it('takes what the plane says of an agent that only an issuer can vouch for', async () => {
    for (const verified of [true, false]) {
      const rig = new Rig()
      permitting(rig, { sub: subjectId('oidc', 'https://issuer.example', 'somebody', rig.plane.key.name, nodeCryptography.sha256), act: { sub: 'agent:coder', verified } })
      expect(await asked(rig, () => TOKEN, false)).toBe('ran')
    }
  })
  it('an assertion that cannot be made ends the request, and its challenge with it', async () => {
    const rig = new Rig()
    expect(await asked(rig, () => Promise.reject(new Error('the key file is gone')))).toBe('unavailable')
    expect(rig.effects).toEqual([])
    expect(await asked(rig)).toBe('ran')
  })
})

describe('the session of a gate', () => {
  /** The plane opens sessions that end after `seconds`. */
  const ending = (rig: Rig, seconds: number): void => {
    const append = rig.plane.append.bind(rig.plane)
    rig.plane.append = (body) => append(body.kind === 'gate' ? { ...body, expires: Math.floor(rig.clock.wallMs() / 1_000) + seconds } : body)
  }
  const sessions = (rig: Rig): number => rig.plane.entries.filter((entry) => entry.kind === 'gate').length
  it('is opened again by itself, well before it ends, on the same connection and under the same id', async () => {
    const rig = new Rig()
    ending(rig, 900)
    expect(await asked(rig)).toBe('ran')
    rig.clock.advance(500_000)
    expect(await asked(rig)).toBe('ran')
    expect(sessions(rig)).toBe(1)
    rig.clock.advance(100_000)
    expect(await Promise.all(Array.from({ length: 50 }, () => asked(rig)))).toEqual(Array(50).fill('ran'))
    expect(sessions(rig)).toBe(2)
    expect(new Set(rig.plane.entries.flatMap((entry) => (entry.kind === 'gate' ? [entry.session] : []))).size).toBe(1)
  })
  it('requests that are under way while it is opened again all run: the proofs follow each other', async () => {
    const rig = new Rig()
    ending(rig, 10)
    const running: Promise<string>[] = []
    for (let i = 0; i < 40; i++) {
      running.push(asked(rig), asked(rig))
      rig.clock.advance(900)
      if (i % 2 === 0) await new Promise(setImmediate) // the other half of them meets the next ones on the wire
    }
    expect(new Set(await Promise.all(running))).toEqual(new Set(['ran']))
    expect(sessions(rig)).toBeGreaterThan(3)
  })
  it('proves the gate’s key over the plane’s nonce: attaching another signature is another gate', async () => {
    const rig = new Rig()
    const seen: JsonObject[] = []
    rig.plane.onTheWire = (method, answer) => {
      seen.push({ method })
      return answer
    }
    await rig.gate.connect()
    expect(seen.map(({ method }) => method)).toEqual(['nonce', 'gates.enrol'])
    expect(attachSignature('a.b', new Uint8Array(1))).toBe('a.b.AA')
  })
})
