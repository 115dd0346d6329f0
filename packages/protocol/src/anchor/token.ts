import { readHash, readSignatureAlgorithm, type SignatureAlgorithm } from './algorithms.ts'
import { context, contextPrimitive, DerReader, oid, openDer, TAG } from './der.ts'
import { AnchorRefused } from './refused.ts'
import { readGeneralizedTime } from './time.ts'

/** Certificates in one token. */
export const MAX_TOKEN_CERTIFICATES = 8
/** Signed attributes in one token, and certificate hashes in one of them. */
const MAX_ATTRIBUTES = 16

const SIGNED_DATA: string = oid('1.2.840.113549.1.7.2')
const TST_INFO: string = oid('1.2.840.113549.1.9.16.1.4')
const CONTENT_TYPE: string = oid('1.2.840.113549.1.9.3')
const MESSAGE_DIGEST: string = oid('1.2.840.113549.1.9.4')
const SIGNING_CERTIFICATE: string = oid('1.2.840.113549.1.9.16.2.12')
const SIGNING_CERTIFICATE_V2: string = oid('1.2.840.113549.1.9.16.2.47')

/** What the authority says: this hash existed at this time. @see RFC 3161 section 2.4.2 */
export interface TimestampInfo {
  readonly imprint: { readonly hash: SignatureAlgorithm['hash']; readonly digest: Uint8Array }
  readonly timeMs: number
  /** How far off the time may be by the authority's own word, in milliseconds, rounded up; undefined where it says nothing. */
  readonly accuracyMs: number | undefined
  /** Content octets of the request's nonce. */
  readonly nonce: Uint8Array | undefined
}

/** A hash of the certificate that signs, itself signed. */
export interface SignerHash {
  readonly hash: 'sha1' | SignatureAlgorithm['hash']
  readonly digest: Uint8Array
}

/** A token as it stands, nothing of it proved. */
export interface TimestampToken {
  readonly info: TimestampInfo
  /** The bytes that `info` was read from. */
  readonly content: Uint8Array
  readonly contentHash: SignatureAlgorithm['hash']
  /** What the signed attributes say the hash of `content` is. */
  readonly contentDigest: Uint8Array
  /** The signed attributes as they are signed: a SET, no longer a context tag. @see RFC 5652 section 5.4 */
  readonly signed: Uint8Array
  readonly signerHashes: readonly SignerHash[]
  readonly signer: { readonly issuer: Uint8Array; readonly serial: Uint8Array } | { readonly keyId: Uint8Array }
  readonly algorithm: SignatureAlgorithm
  readonly signature: Uint8Array
  readonly certificates: readonly Uint8Array[]
}

/**
 * Reads a TimeStampToken: CMS SignedData over a TSTInfo with exactly one signer.
 * @throws {AnchorRefused} `token_malformed`, `algorithm_refused`
 * @see RFC 3161 section 2.4.2, RFC 5652 section 5, RFC 5816
 */
export function parseToken(bytes: Uint8Array): TimestampToken {
  const outer = openDer(bytes, TAG.sequence)
  if (outer.oid() !== SIGNED_DATA) malformed('not signed data')
  const holder = outer.enter(context(0))
  outer.end()
  const data = holder.enter(TAG.sequence)
  holder.end()
  if (data.small() !== 3) malformed('signed data of another version')
  data.value(TAG.set)
  const content = readContent(data.enter(TAG.sequence))
  const certificates = data.has(context(0)) ? data.enter(context(0)).rest(MAX_TOKEN_CERTIFICATES).map(({ whole }) => whole) : []
  if (data.has(context(1))) data.any() // revocation lists are not used
  const signers = data.enter(TAG.set)
  data.end()
  const signer = signers.enter(TAG.sequence)
  signers.end() // a token carries one signature and no other. @see RFC 3161 section 2.4.2
  return { info: readInfo(content), content, certificates, ...readSigner(signer) }
}

function malformed(what: string): never {
  throw new AnchorRefused('token_malformed', what)
}

function readContent(fields: DerReader): Uint8Array {
  if (fields.oid() !== TST_INFO) malformed('not a timestamp')
  const holder = fields.enter(context(0))
  fields.end()
  const content = holder.octets()
  holder.end()
  return content
}

function readInfo(content: Uint8Array): TimestampInfo {
  const fields = openDer(content, TAG.sequence)
  if (fields.small() !== 1) malformed('a timestamp of another version')
  fields.oid() // the authority's policy: the verifier chose the authority, and with it its policy
  const imprintFields = fields.enter(TAG.sequence)
  const imprint = { hash: readHash(imprintFields), digest: imprintFields.octets() }
  imprintFields.end()
  fields.integer() // serial number
  const timeMs = readGeneralizedTime(fields, true)
  const accuracyMs = fields.has(TAG.sequence) ? readAccuracy(fields.enter(TAG.sequence)) : undefined
  if (fields.has(TAG.boolean)) fields.boolean()
  const nonce = fields.has(TAG.integer) ? fields.integer() : undefined
  if (fields.has(context(0))) fields.any() // a hint at the authority's name; its certificate says who it is
  if (fields.has(context(1))) refuseCritical(fields.enter(context(1)))
  fields.end()
  return { imprint, timeMs, accuracyMs, nonce }
}

function readAccuracy(fields: DerReader): number {
  const seconds = fields.has(TAG.integer) ? fields.small() : 0
  const millis = fields.has(contextPrimitive(0)) ? fields.small(contextPrimitive(0)) : 0
  const micros = fields.has(contextPrimitive(1)) ? fields.small(contextPrimitive(1)) : 0
  fields.end()
  if (millis > 999 || micros > 999) malformed('an accuracy out of range')
  return seconds * 1_000 + millis + (micros > 0 ? 1 : 0)
}

/** None of the extensions of a timestamp is known here, so none may be critical. */
function refuseCritical(list: DerReader): void {
  for (const { content } of list.rest(MAX_ATTRIBUTES)) {
    const extension = new DerReader(content)
    extension.oid()
    if (extension.has(TAG.boolean) && extension.boolean()) malformed('a critical extension that is not known')
    extension.octets()
    extension.end()
  }
}

type Signer = Omit<TimestampToken, 'info' | 'content' | 'certificates'>

function readSigner(fields: DerReader): Signer {
  const version = fields.small()
  const signer = version === 1 ? readIssuerAndSerial(fields.enter(TAG.sequence)) : version === 3 ? { keyId: fields.value(contextPrimitive(0)).content } : malformed('a signer of another version')
  const contentHash = readHash(fields)
  const attributes = fields.value(context(0))
  const algorithm = readSignatureAlgorithm(fields, contentHash)
  const signature = fields.octets()
  if (fields.has(context(1))) fields.any() // unsigned attributes say nothing that is signed
  fields.end()
  const signed = new Uint8Array(attributes.whole)
  signed[0] = TAG.set
  return { signer, contentHash, algorithm, signature, signed, ...readAttributes(new DerReader(attributes.content)) }
}

function readIssuerAndSerial(fields: DerReader): { issuer: Uint8Array; serial: Uint8Array } {
  const out = { issuer: fields.value(TAG.sequence).whole, serial: fields.integer() }
  fields.end()
  return out
}

/** @see RFC 5652 section 11, RFC 5035 section 3 */
function readAttributes(list: DerReader): Pick<Signer, 'contentDigest' | 'signerHashes'> {
  const values = new Map<string, DerReader>()
  for (const { content, tag } of list.rest(MAX_ATTRIBUTES)) {
    if (tag !== TAG.sequence) malformed('not an attribute')
    const attribute = new DerReader(content)
    const name = attribute.oid()
    if (values.has(name)) malformed('a signed attribute twice')
    values.set(name, attribute.enter(TAG.set))
    attribute.end()
  }
  const only = <T>(name: string, what: string, read: (value: DerReader) => T): T => {
    const value = values.get(name)
    if (value === undefined) malformed(`no signed ${what}`)
    const out = read(value)
    value.end()
    return out
  }
  if (only(CONTENT_TYPE, 'content type', (value) => value.oid()) !== TST_INFO) malformed('signed as something else')
  const contentDigest = only(MESSAGE_DIGEST, 'message digest', (value) => value.octets())
  const signerHashes: SignerHash[] = []
  if (values.has(SIGNING_CERTIFICATE)) signerHashes.push(only(SIGNING_CERTIFICATE, 'certificate', (value) => readSignerHash(value, false)))
  if (values.has(SIGNING_CERTIFICATE_V2)) signerHashes.push(only(SIGNING_CERTIFICATE_V2, 'certificate', (value) => readSignerHash(value, true)))
  if (signerHashes.length === 0) malformed('the signature does not bind its certificate')
  return { contentDigest, signerHashes }
}

/** The first hash is that of the signer's certificate; further ones name its chain and are not needed. */
function readSignerHash(value: DerReader, isV2: boolean): SignerHash {
  const first = value.enter(TAG.sequence).enter(TAG.sequence).enter(TAG.sequence)
  if (!isV2) return { hash: 'sha1', digest: first.octets() }
  const hash = first.has(TAG.sequence) ? readHash(first) : 'sha256'
  return { hash, digest: first.octets() }
}
