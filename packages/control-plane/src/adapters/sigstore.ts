import { createPublicKey } from 'node:crypto'
import { Denied } from '@sealwrit/protocol'
import type { VerifyBundle } from '../govern/attestation.ts'

const ALL_THREE = Object.freeze({ tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 })
const NONE = Object.freeze({ tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 })

/** Verifies with the Sigstore libraries, which are loaded only where a statement is presented, and need no network. */
export const sigstoreVerify: VerifyBundle = async (bundle, { keys, trusted_root }) => {
  const { bundleFromJSON, Verifier, toTrustMaterial, toSignedEntity, TrustedRoot } = await libraries()
  const parsed = bundleFromJSON(bundle)
  const { content, verificationMaterial } = parsed
  if (content.$case !== 'dsseEnvelope') throw new Error('no envelope')
  // Never the one in place of the other: without times nobody would look at the validity of a certificate.
  if ((verificationMaterial.content.$case === 'publicKey') !== (keys !== undefined)) throw new Error('signed with another kind of key than is trusted')
  const key = (hint: string): { publicKey: ReturnType<typeof createPublicKey>; validFor: () => boolean } => {
    const pem = keys !== undefined && Object.hasOwn(keys, hint) ? keys[hint] : undefined
    if (pem === undefined) throw new Error('no such key is trusted')
    return { publicKey: createPublicKey(pem), validFor: () => true }
  }
  // A key that an operator pinned needs no log; a certificate that was good for minutes needs its log, the certificate log, and a time.
  const material = toTrustMaterial(TrustedRoot.fromJSON(keys === undefined ? trusted_root : {}), key)
  const { identity } = new Verifier(material, keys === undefined ? ALL_THREE : NONE).verify(toSignedEntity(parsed))
  // What was verified, as the library read it: no second reading could find something else in the bundle.
  const { payload, payloadType } = content.dsseEnvelope
  return { payload: new Uint8Array(payload), payloadType, identity: identity?.subjectAlternativeName, issuer: identity?.extensions?.issuer }
}

type Libraries = Pick<typeof import('@sigstore/verify'), 'Verifier' | 'toTrustMaterial' | 'toSignedEntity'> & Pick<typeof import('@sigstore/bundle'), 'bundleFromJSON'> & Pick<typeof import('@sigstore/protobuf-specs'), 'TrustedRoot'>

async function libraries(): Promise<Libraries> {
  try {
    const [{ Verifier, toTrustMaterial, toSignedEntity }, { bundleFromJSON }, { TrustedRoot }] = await Promise.all([import('@sigstore/verify'), import('@sigstore/bundle'), import('@sigstore/protobuf-specs')])
    return { Verifier, toTrustMaterial, toSignedEntity, bundleFromJSON, TrustedRoot }
  } catch {
    throw new Denied('environment_unattested', '@sigstore/verify, which verifies statements, is not installed')
  }
}
