import { attachSignature, type AuthorizeReply, Denied, type IssueRequest, type JsonObject, type JsonValue, leafDigest, leafHash, parseEntry, type SealedEntry, signingInput, signingKey, toBase64Url, utf8 } from '@sealwrit/protocol'
import type { ExportKey, PlanePorts } from '../ports.ts'

/**
 * Adds the artifact as a compact JWS where the request asks for that form. It says what the sealed one says, for whoever speaks JWT, and
 * shows that the plane signed it: not that it is logged, current or unspent. Gates execute on seals only.
 * @throws {Denied} `key_unknown` where the plane has no key for it, before anything is decided
 * @see spec/artifact.md#jws-export
 */
export async function inForm(form: IssueRequest['form'], { exportKey, crypto }: Pick<PlanePorts, 'exportKey' | 'crypto'>, issue: () => Promise<AuthorizeReply>): Promise<AuthorizeReply> {
  if (form === 'redeem') return issue()
  if (exportKey === undefined) throw new Denied('key_unknown', 'this plane has no key for JWS exports')
  const reply = await issue()
  return reply.decision === 'permit' ? { ...reply, jws: exported(reply.sealed, exportKey, crypto) } : reply
}

function exported({ entry }: SealedEntry, { publicKey, sign }: ExportKey, { sha256 }: PlanePorts['crypto']): string {
  const { v: _v, kind: _kind, seq: index, time: _time, scope, ...claims } = parseEntry(entry) as unknown as JsonObject & { scope: { type: string; target: string; name: string } }
  const details = [{ type: scope.type, locations: [scope.target], identifier: scope.name }]
  const input = signingInput('authorization-artifact+jwt', signingKey(publicKey, sha256).kid, { ...claims, authorization_details: details, leaf_hash: leafDigest(leafHash(utf8(entry), sha256)), index: index as JsonValue })
  return attachSignature(input, sign(utf8(input)))
}

/** The public half, as RFC 8037 writes it. */
export function exportJwk({ publicKey }: Pick<ExportKey, 'publicKey'>, { sha256 }: Pick<PlanePorts['crypto'], 'sha256'>): JsonObject {
  return { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(publicKey), kid: signingKey(publicKey, sha256).kid, alg: 'Ed25519', use: 'sig' }
}
