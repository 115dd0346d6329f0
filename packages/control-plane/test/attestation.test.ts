import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { type AttestationTrust, DecisionReplay, MAX_ATTESTATION, nodeCryptography, sigstoreVerify, verifyAttestation } from '@sealwrit/control-plane'
import { Denied, formatBundle, type JsonObject, type JsonValue, parseBundle, parseEntry, parseEnvironmentDocument, parseStrictText, utf8, verifyBundle } from '@sealwrit/protocol'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, expect, it } from 'vitest'
import { environmentDocument, openRigs, outcome, PERMIT_ALL, policySet, type Rig, sha256, TestGate, told } from './support/rig.ts'

const SLSA = 'https://slsa.dev/provenance/v1'
const BUILDER = 'https://github.com/acme/build/.github/workflows/release.yml@refs/heads/main'
const EXECUTABLE = 'e'.repeat(64)
const keys = { ed: generateKeyPairSync('ed25519'), ec: generateKeyPairSync('ec', { namedCurve: 'P-256' }), other: generateKeyPairSync('ed25519') }
const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }) as string
const rule = (change: Partial<AttestationTrust> = {}): AttestationTrust => ({ name: 'release', about: 'program', predicate_types: [SLSA], builder: BUILDER, keys: { ed: pem(keys.ed.publicKey), ec: pem(keys.ec.publicKey) }, ...change })
const statement = (change: JsonObject = {}): JsonObject => ({ _type: 'https://in-toto.io/Statement/v1', subject: [{ name: 'server', digest: { sha256: EXECUTABLE } }], predicateType: SLSA, predicate: { buildDefinition: {}, runDetails: { builder: { id: BUILDER } } }, ...change })

/** DSSE: what is signed is type and payload with their lengths. */
const pae = (type: string, payload: Buffer): Buffer => Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `), payload])
const bundled = ({ text = JSON.stringify(statement()), key = keys.ed.privateKey, hint = 'ed', type = 'application/vnd.in-toto+json' }: { text?: string; key?: KeyObject; hint?: string; type?: string } = {}): JsonObject => {
  const payload = Buffer.from(text)
  const signature = sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', pae(type, payload), key)
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { publicKey: { hint }, tlogEntries: [] },
    dsseEnvelope: { payload: payload.toString('base64'), payloadType: type, signatures: [{ sig: signature.toString('base64'), keyid: hint }] },
  }
}
const of = (change: JsonObject): JsonObject => bundled({ text: JSON.stringify(statement(change)) })
const document = (change: JsonObject = {}): ReturnType<typeof parseEnvironmentDocument> => parseEnvironmentDocument(environmentDocument(change))
const verdict = async (bundle: JsonObject, rules: readonly AttestationTrust[] = [rule()], measured = document()): Promise<string> => {
  try {
    return `believed: ${(await verifyAttestation(bundle, measured, rules, sigstoreVerify)).trust}`
  } catch (error) {
    if (error instanceof Denied) return error.message
    throw error
  }
}

describe('a signed statement about what was measured', () => {
  it('is believed under a pinned key, Ed25519 or P-256, of a pinned builder, in SLSA 1 and 0.2', async () => {
    expect(await verdict(bundled())).toBe('believed: release')
    expect(await verdict(bundled({ key: keys.ec.privateKey, hint: 'ec' }))).toBe('believed: release')
    const older = of({ _type: 'https://in-toto.io/Statement/v0.1', predicateType: 'https://slsa.dev/provenance/v0.2', predicate: { builder: { id: BUILDER } } })
    expect(await verdict(older, [rule({ predicate_types: ['https://slsa.dev/provenance/v0.2'] })])).toBe('believed: release')
    expect(await verdict(bundled(), [rule({ name: 'first', builder: 'x' }), rule({ name: 'second' })])).toBe('believed: second')
  })
  it('may be about the script, the image or the lock; of an interpreter it says nothing about the script', async () => {
    const script = { script: { digest: `sha256:${'1'.repeat(64)}`, path: '/srv/x.js' }, absent: { cgroup: 'not_told', image: 'none' } }
    const about = (sha256: string): JsonObject => of({ subject: [{ name: 'x', digest: { sha256 } }] })
    expect(await verdict(about('1'.repeat(64)), [rule()], document(script))).toBe('believed: release')
    expect(await verdict(bundled(), [rule()], document(script)), 'the interpreter').toContain('another program')
    expect(await verdict(about('d'.repeat(64)), [rule({ about: 'lock' })])).toBe('believed: release')
    expect(await verdict(about('d'.repeat(64))), 'the lock is no program').toContain('another program')
    expect(await verdict(bundled(), [rule({ about: 'image' })])).toContain('no image was measured')
    const image = { image: { digest: `sha256:${'2'.repeat(64)}`, from: 'file' }, absent: { cgroup: 'not_told', script: 'none' } }
    expect(await verdict(about('2'.repeat(64)), [rule({ about: 'image' })], document(image))).toBe('believed: release')
  })
  it.each<[string, () => JsonObject, string, (Partial<AttestationTrust> | undefined)?]>([
    ['another subject', () => of({ subject: [{ name: 'x', digest: { sha256: 'f'.repeat(64) } }] }), 'another program'],
    ['no subject', () => of({ subject: [] }), 'another program'],
    ['a subject of another algorithm', () => of({ subject: [{ name: 'x', digest: { sha512: EXECUTABLE } }] }), 'another program'],
    ['a subject in capitals', () => of({ subject: [{ name: 'x', digest: { sha256: EXECUTABLE.toUpperCase() } }] }), 'another program'],
    ['more subjects than are looked at', () => of({ subject: Array.from({ length: 65 }, () => ({ digest: { sha256: EXECUTABLE } })) }), 'another program'],
    ['another builder', () => of({ predicate: { runDetails: { builder: { id: `${BUILDER}x` } } } }), 'another builder'],
    ['a builder that only begins alike', () => of({ predicate: { runDetails: { builder: { id: BUILDER.slice(0, -1) } } } }), 'another builder'],
    ['no builder', () => of({ predicate: {} }), 'another builder'],
    ['the builder in a place of the other version', () => of({ predicate: { runDetails: {}, builder: { id: BUILDER } } }), 'another builder'],
    ['another predicate', () => of({ predicateType: 'https://in-toto.io/attestation/vulns/v0.1' }), 'a type that is not trusted'],
    ['a predicate that only begins alike', () => of({ predicateType: `${SLSA}.1` }), 'a type that is not trusted'],
    ['another kind of statement', () => of({ _type: 'https://in-toto.io/Statement/v2' }), 'no in-toto statement'],
    ['no statement at all', () => bundled({ text: '[]' }), 'no in-toto statement'],
    ['a statement with a member twice', () => bundled({ text: JSON.stringify(statement()).replace('{', `{"predicateType":"${SLSA}",`) }), ''],
    ['another payload type', () => bundled({ type: 'application/json' }), 'holds no statement'],
    ['a key that is not trusted', () => bundled({ key: keys.other.privateKey }), 'does not verify'],
    ['the hint of another key', () => bundled({ hint: 'ec' }), 'does not verify'],
    ['a hint that every object has', () => bundled({ hint: 'constructor' }), 'does not verify'],
    ['an altered payload', () => {
      const bundle = bundled() as { dsseEnvelope: JsonObject } & JsonObject
      return { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payload: Buffer.from(JSON.stringify(statement({ more: 1 }))).toString('base64') } }
    }, 'does not verify'],
    ['two signatures, the trusted one second', () => {
      const [bad, good] = [bundled({ key: keys.other.privateKey }), bundled()] as { dsseEnvelope: { signatures: JsonValue[] } & JsonObject }[]
      return { ...(good as unknown as JsonObject), dsseEnvelope: { ...good?.dsseEnvelope, signatures: [...(bad?.dsseEnvelope.signatures ?? []), ...(good?.dsseEnvelope.signatures ?? [])] } as JsonObject }
    }, 'does not verify'],
    ['no signature', () => ({ ...bundled(), dsseEnvelope: { ...(bundled()['dsseEnvelope'] as JsonObject), signatures: [] } }), 'does not verify'],
    ['a signed message in place of an envelope', () => {
      const message = utf8('x')
      const { dsseEnvelope: _, ...rest } = bundled()
      return { ...rest, messageSignature: { messageDigest: { algorithm: 'SHA2_256', digest: Buffer.from(sha256(message)).toString('base64') }, signature: sign(null, message, keys.ed.privateKey).toString('base64') } }
    }, 'does not verify'],
    ['both of them', () => ({ ...bundled({ key: keys.other.privateKey }), messageSignature: { messageDigest: { algorithm: 'SHA2_256', digest: Buffer.from(sha256(utf8('x'))).toString('base64') }, signature: sign(null, utf8('x'), keys.ed.privateKey).toString('base64') } }), 'does not verify'],
    ['a certificate where a key is trusted', () => ({ ...bundled(), verificationMaterial: { certificate: { rawBytes: 'AAAA' }, tlogEntries: [] } }), 'does not verify'],
    ['a key where a trusted root is', () => bundled(), 'does not verify', { keys: undefined, trusted_root: { mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1' }, identity: 'a', issuer: 'b' }],
    ['a certificate that no trusted root knows', () => ({ ...bundled(), verificationMaterial: { certificate: { rawBytes: 'AAAA' }, tlogEntries: [] } }), 'does not verify', { keys: undefined, trusted_root: {}, identity: 'a', issuer: 'b' }],
    ['nothing', () => ({}), 'does not verify'],
  ])('ATK-014: with %s is not believed', async (_name, make, reason, change) => {
    const said = await verdict(make(), [rule(change ?? {})])
    expect(said).toMatch(/the statement is not believed: /)
    expect(said).toContain(reason)
  })
  it('ATK-014: under a trusted root, whoever signed is compared whole: no expression, no beginning', async () => {
    const trust = rule({ keys: undefined, trusted_root: {}, identity: 'https://github.com/acme/.*', issuer: 'https://token.actions.githubusercontent.com' })
    const signedBy = (identity: string | undefined, issuer: string | undefined): Promise<string> =>
      verifyAttestation(bundled(), document(), [trust], async () => ({ payload: utf8(JSON.stringify(statement())), payloadType: 'application/vnd.in-toto+json', identity, issuer })).then(({ trust: by }) => `believed: ${by}`, (error: Error) => error.message)
    expect(await signedBy(trust.identity, trust.issuer)).toBe('believed: release')
    for (const [identity, issuer] of [['https://github.com/acme/x', trust.issuer], [`${trust.identity}x`, trust.issuer], [trust.identity, 'https://evil.test'], [trust.identity, undefined], [undefined, trust.issuer], [undefined, undefined]]) expect(await signedBy(identity, issuer)).toContain('somebody else')
  })
  it('ATK-014: a certificate counts under its trusted root with its log entry, certificate log and time, offline; one that had ended does not', async () => {
    const made = parseStrictText(fs.readFileSync(path.join(import.meta.dirname, 'fixtures/sigstore.json'), 'utf8')) as unknown as Record<'good' | 'expired', { bundle: JsonObject; trusted_root: JsonObject }>
    const trust = (trusted_root: JsonObject, change: Partial<AttestationTrust> = {}): AttestationTrust => rule({ keys: undefined, trusted_root, builder: 'B', identity: 'https://ci.example/release.yml', issuer: 'https://issuer.example', ...change })
    const { good, expired } = made
    expect(await verdict(good.bundle, [trust(good.trusted_root)])).toBe('believed: release')
    expect(await verdict(expired.bundle, [trust(expired.trusted_root)]), 'the certificate had ended').toContain('does not verify')
    expect(await verdict(good.bundle, [trust(expired.trusted_root)]), 'another authority').toContain('does not verify')
    for (const change of [{ identity: 'https://ci.example/.*' }, { identity: 'https://ci.example/release.ym' }, { issuer: 'https://issuer.example/' }]) expect(await verdict(good.bundle, [trust(good.trusted_root, change)])).toContain('somebody else')
    const material = good.bundle['verificationMaterial'] as JsonObject
    expect(await verdict({ ...good.bundle, verificationMaterial: { ...material, tlogEntries: [] } }, [trust(good.trusted_root)]), 'no log entry').toContain('does not verify')
    expect(await verdict(good.bundle, [trust({ ...good.trusted_root, ctlogs: [] })]), 'no certificate log').toContain('does not verify')
    expect(await verdict(good.bundle, [rule()]), 'where a key is trusted').toContain('does not verify')
  })
  it('has a longest form', async () => {
    expect(await verdict({ ...bundled(), more: 'x'.repeat(MAX_ATTESTATION) })).toContain('the attestation')
    expect(await verdict(bundled(), [])).toContain('no rule of trust')
  })
})

describe('the level of a session', () => {
  const open = openRigs()
  const opened = async (text: string): Promise<{ rig: Rig; gate: TestGate }> => {
    const rig = await open()
    rig.policies = policySet(text)
    rig.attestations = { rules: [rule()], verify: sigstoreVerify }
    await rig.restart()
    const gate = await rig.gate()
    gate.environment = { ...gate.environment, document: environmentDocument() }
    return { rig, gate }
  }
  it('is signed by the plane’s own verdict, and the statement is kept beside it', async () => {
    const { rig, gate } = await opened('permit (principal, action, resource) when { context.environment.level == "signed" };')
    await gate.enrol()
    expect(told(await gate.authorize())).toBe('policy_no_match')
    gate.environment = { ...gate.environment, attestation: bundled() }
    await gate.enrol()
    const { permit } = await gate.permit()
    expect(permit.env.level).toBe('signed')
    const session = (await rig.store.entries(0, 1_000)).map(parseEntry).findLast((entry) => entry.kind === 'gate')
    if (session?.kind !== 'gate') throw new Error('no session')
    const bodies = await rig.store.bodies(session.seq)
    expect(bodies.map(({ purpose, commit }) => [purpose, commit])).toEqual([['environment', gate.commit], ['attestation', session.attestation_commit]])
    expect(JSON.parse(bodies[1]?.text ?? '')).toMatchObject({ trust: 'release', about: 'program', builder: BUILDER, predicate_type: SLSA, digest: `sha256:${EXECUTABLE}`, bundle: bundled() })
    const report = verifyBundle(parseBundle(utf8(formatBundle(await rig.plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [], replay: new DecisionReplay(sha256) })
    expect(report.findings.filter(({ verdict: said }) => said === 'contradicted')).toEqual([])
    expect(rig.plane.registry.gates({ limit: 10 } as never).gates).toMatchObject([{ level: 'signed' }])
  })
  it('ATK-014: falls back with the next session that presents nothing', async () => {
    const { gate } = await opened(PERMIT_ALL)
    gate.environment = { ...gate.environment, attestation: bundled() }
    await gate.enrol()
    expect((await gate.permit()).permit.env.level).toBe('signed')
    const { attestation: _, ...without } = gate.environment
    gate.environment = without
    await gate.enrol()
    expect((await gate.permit()).permit.env.level).toBe('software')
  })
  it('ATK-014: a statement that is not believed opens no session, rather than one of less', async () => {
    const { rig, gate } = await opened(PERMIT_ALL)
    const before = rig.plane.log.size
    gate.environment = { ...gate.environment, attestation: bundled({ key: keys.other.privateKey }) }
    expect(await outcome(gate.enrol())).toBe('environment_unattested')
    gate.environment = { ...gate.environment, document: environmentDocument({ executable: { digest: `sha256:${'9'.repeat(64)}`, path: '/srv/server' } }), attestation: bundled() }
    expect(await outcome(gate.enrol()), 'another executable').toBe('environment_unattested')
    expect(rig.plane.log.size).toBe(before)
  })
})
