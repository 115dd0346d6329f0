import { canonicalText, Denied, type EnvironmentDocument, isDigest, isObject, type Digest, type JsonObject, type JsonValue, parseStrict } from '@sealwrit/protocol'

/** What of an environment a statement may be about: the script, or the executable where there is none; the image; the lock. */
export const ATTESTED = ['program', 'image', 'lock'] as const
export type Attested = (typeof ATTESTED)[number]

/** Rules of trust that one plane takes. */
export const MAX_TRUST = 32
/** Longest bundle that is kept beside a session, as canonical JSON in UTF-16 units. */
export const MAX_ATTESTATION = 262_144
/** Subjects that one statement may have. */
const MAX_SUBJECTS = 64
const IN_TOTO = 'application/vnd.in-toto+json'
const STATEMENTS: readonly JsonValue[] = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1']

/** Whose signed statements raise the environment of a gate to `signed`. All of it is compared character by character. */
export interface AttestationTrust {
  /** Ours; recorded with what it let through. */
  readonly name: string
  readonly about: Attested
  /** Types of predicates that count. */
  readonly predicate_types: readonly string[]
  /** The builder that the predicate must name. */
  readonly builder: string
  /** Keys of the signer by their hints, in PEM; or instead of them the three below. */
  readonly keys?: Readonly<Record<string, string>> | undefined
  /** A Sigstore trusted root, as JSON; it is never fetched. */
  readonly trusted_root?: JsonValue | undefined
  /** Whom the certificate must name: the subject, and who vouched for it. */
  readonly identity?: string | undefined
  readonly issuer?: string | undefined
}

/** What was signed, and by whom where a certificate says so. */
export interface VerifiedEnvelope {
  readonly payload: Uint8Array
  readonly payloadType: string
  readonly identity?: string | undefined
  readonly issuer?: string | undefined
}

/**
 * Verifies the signature over the envelope of a Sigstore bundle, under keys or a trusted root that are given: offline, and nothing else of it.
 * @throws whatever does not verify
 */
export type VerifyBundle = (bundle: JsonObject, trust: Pick<AttestationTrust, 'keys' | 'trusted_root'>) => Promise<VerifiedEnvelope>

/** What a session's evidence rests on: kept beside its entry. */
export interface Attestation {
  readonly trust: string
  readonly about: Attested
  readonly digest: Digest
  readonly predicate_type: string
  readonly builder: string
  /** As it was presented. */
  readonly bundle: JsonObject
}

/**
 * Whether somebody whom the plane believes signed what the gate measured.
 * @throws {Denied} `limit_exceeded`, or `environment_unattested` with the reason of the last rule that was tried
 */
export async function verifyAttestation(bundle: JsonObject, document: EnvironmentDocument | undefined, rules: readonly AttestationTrust[], verify: VerifyBundle): Promise<Attestation> {
  if (canonicalText(bundle).length > MAX_ATTESTATION) throw new Denied('limit_exceeded', 'the attestation')
  let reason = 'no rule of trust is configured'
  for (const trust of rules) {
    try {
      return await attested(bundle, document, trust, verify)
    } catch (error) {
      reason = error instanceof NotBelieved ? error.message : 'it cannot be read'
    }
  }
  throw new Denied('environment_unattested', `the statement is not believed: ${reason}`)
}

async function attested(bundle: JsonObject, document: EnvironmentDocument | undefined, trust: AttestationTrust, verify: VerifyBundle): Promise<Attestation> {
  const { identity, issuer, keys } = trust
  const signed = await verify(bundle, trust).catch((error: unknown) => refuse(error instanceof Denied ? 'what verifies it is not installed' : 'its signature does not verify under what is trusted'))
  // The library matches by expression; who signed is compared here, whole.
  if (keys === undefined && (identity === undefined || issuer === undefined || signed.identity !== identity || signed.issuer !== issuer)) refuse('it was signed by somebody else')
  if (signed.payloadType !== IN_TOTO) refuse('the envelope holds no statement')
  const statement = parseStrict(signed.payload)
  if (!isObject(statement) || !STATEMENTS.includes(statement['_type'] ?? null)) return refuse('it is no in-toto statement')
  const { predicateType, predicate, subject } = statement
  if (typeof predicateType !== 'string' || !trust.predicate_types.includes(predicateType)) return refuse('its predicate is of a type that is not trusted')
  if (builderOf(predicate) !== trust.builder) return refuse('it names another builder')
  const digest = measured(document, trust.about)
  if (digest === undefined) return refuse(`no ${trust.about} was measured that it could be about`)
  if (!subjectsOf(subject).includes(digest)) return refuse(`it is about another ${trust.about}`)
  return { trust: trust.name, about: trust.about, digest, predicate_type: predicateType, builder: trust.builder, bundle }
}

/** Why one rule does not believe it; the next may. */
class NotBelieved extends Error {}

function refuse(reason: string): never {
  throw new NotBelieved(reason)
}

/** SLSA provenance 1 and 0.2 name their builder in different places. */
function builderOf(predicate: JsonValue | undefined): JsonValue | undefined {
  if (!isObject(predicate)) return undefined
  const run = predicate['runDetails']
  const builder = isObject(run) ? run['builder'] : predicate['builder']
  return isObject(builder) ? builder['id'] : undefined
}

function subjectsOf(subjects: JsonValue | undefined): readonly Digest[] {
  if (!Array.isArray(subjects) || subjects.length > MAX_SUBJECTS) return []
  return subjects.flatMap((subject: JsonValue) => {
    const digests = isObject(subject) ? subject['digest'] : undefined
    const sha256 = isObject(digests) ? digests['sha256'] : undefined
    const digest = `sha256:${typeof sha256 === 'string' ? sha256 : ''}`
    return isDigest(digest) ? [digest] : []
  })
}

/** An interpreter that somebody signed says nothing about what it runs: where there is a script, the program is that. */
function measured(document: EnvironmentDocument | undefined, about: Attested): Digest | undefined {
  if (document === undefined) return undefined
  const { script, executable, image, lock } = document
  return about === 'program' ? (script ?? executable).digest : (about === 'image' ? image : lock)?.digest
}
