import { createHash, type KeyObject, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'

/** What a build signs about a program, as a Sigstore bundle with a key of its own. */
export function signedStatement(program: string, key: KeyObject, builder: string): string {
  const type = 'application/vnd.in-toto+json'
  const sha256 = createHash('sha256').update(fs.readFileSync(program)).digest('hex')
  const payload = Buffer.from(JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', subject: [{ name: path.basename(program), digest: { sha256 } }], predicateType: 'https://slsa.dev/provenance/v1', predicate: { runDetails: { builder: { id: builder } } } }))
  const sig = sign(null, Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]), key).toString('base64')
  return JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json', verificationMaterial: { publicKey: { hint: 'ci' }, tlogEntries: [] }, dsseEnvelope: { payload: payload.toString('base64'), payloadType: type, signatures: [{ sig }] } })
}
