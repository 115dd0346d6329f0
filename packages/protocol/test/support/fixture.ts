import * as nodeCrypto from 'node:crypto'
import {
  type Action, actionDigest, type Artifact, checkpointText, type Checkpoint, commitment, cryptoFrom, type Entry, entryText, formatProof, formatSignature, fromBase64Url,
  type GateState, inclusionProof, type JsonValue, leafHash, NO_WITNESSES, nodeHash, WitnessQuorum, type NoteKey, noteKey, treeRoot, toBase64Url, utf8, attachSignature, signingInput, signingKey, type Receipt, type JsonObject,
} from '@sealwrit/protocol'

export const crypto = cryptoFrom(nodeCrypto, toBase64Url)
export const { sha256 } = crypto
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** A key pair from a name: the same in every run. */
export function keyPair(name: string): { publicKey: Uint8Array; sign: (message: Uint8Array) => Uint8Array } {
  const key = nodeCrypto.createPrivateKey({ key: Buffer.concat([PKCS8, sha256(utf8(name))]), format: 'der', type: 'pkcs8' })
  const { x } = nodeCrypto.createPublicKey(key).export({ format: 'jwk' })
  return { publicKey: fromBase64Url(x as string), sign: (message) => nodeCrypto.sign(null, message, key) }
}

export const LOG = keyPair('log')
export const GATE = keyPair('gate')
export const LOG_KEY: NoteKey = noteKey('plane.test/default', LOG.publicKey, sha256)
export const GATE_KEY = signingKey(GATE.publicKey, sha256)
export const NOW = 1_767_225_600
export const SALT = 'AAECAwQFBgcICQoLDA0ODw'
export const CHALLENGE = 'EBESExQVFhcYGRobHB0eHw'
export const JTI = 'ICEiIyQlJicoKSorLC0uLw'
export const SESSION = 'MDEyMzQ1Njc4OTo7PD0-Pw'
export const ENV_COMMIT = `sha256:${'e'.repeat(64)}`

export const ACTION: Action = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { path: '/srv/q3.txt' }, tool_digest: `sha256:${'a'.repeat(64)}` }

export function permitBody(change: Partial<Artifact> = {}): Artifact {
  return {
    kind: 'permit',
    scope: { type: ACTION.type, name: ACTION.name, target: ACTION.target },
    action_commit: commitment('action', SALT, actionDigest(ACTION, sha256), sha256),
    sub: 'user:1', act: { sub: 'agent:tester', verified: true },
    env: { commit: ENV_COMMIT, level: 'software' },
    policy: { digest: `sha256:${'b'.repeat(64)}`, epoch: 3, determining: ['fs/read'], inputs_commit: `sha256:${'c'.repeat(64)}` },
    iat: NOW, nbf: NOW, exp: NOW + 60,
    constraints: { lease_seconds: 300, max_runtime_seconds: 300, obligations: [] },
    iss: LOG_KEY.name, owner: 'team:a', jti: JTI, txn: JTI, depth: 0, approvals: [], risk: 'low', assurance: 'A3', aud: GATE_KEY.kid, use: 'challenge', challenge: CHALLENGE,
    ...change,
  }
}

/** A log of leaves under the test key, or under another one. */
export class TestLog {
  readonly leaves: string[] = []
  readonly #key: NoteKey
  readonly #sign: (message: Uint8Array) => Uint8Array

  constructor(key: NoteKey = LOG_KEY, sign: (message: Uint8Array) => Uint8Array = LOG.sign) {
    this.#key = key
    this.#sign = sign
  }

  add(body: object, seq: number = this.leaves.length): number {
    this.leaves.push(entryText({ v: 1, seq, time: NOW * 1_000, tenant: 'default', ...body } as Entry))
    return this.leaves.length - 1
  }
  addText(text: string): number {
    this.leaves.push(text)
    return this.leaves.length - 1
  }
  readonly subtree = (level: number, index: number): Uint8Array =>
    level === 0 ? leafHash(utf8(this.leaves[index] as string), sha256) : nodeHash(this.subtree(level - 1, 2 * index), this.subtree(level - 1, 2 * index + 1), sha256)

  head(size: number = this.leaves.length): Checkpoint {
    return { origin: this.#key.name, size, root: treeRoot(size, this.subtree, sha256) }
  }
  note(size: number = this.leaves.length): string {
    const text = checkpointText(this.head(size))
    return `${text}\n${formatSignature(this.#key, this.#sign(utf8(text)))}`
  }
  seal(index: number, salt: string | undefined = SALT, size: number = this.leaves.length): { entry: string; proof: string } {
    const extra = salt === undefined || salt === '' ? {} : { extra: fromBase64Url(salt) }
    return { entry: this.leaves[index] as string, proof: formatProof({ ...extra, index, hashes: inclusionProof(index, size, this.subtree, sha256), checkpoint: this.note(size) }) }
  }
}

/** A log with some entries around one permit. */
export function sealedPermit(change: Partial<Artifact> = {}, log: TestLog = new TestLog()): { log: TestLog; sealed: { entry: string; proof: string } } {
  log.add({ kind: 'key', purpose: 'log', event: 'created', key: 'x' })
  log.add({ kind: 'deny', code: 'policy_denied', aud: GATE_KEY.kid })
  const index = log.add(permitBody(change))
  log.add({ kind: 'deny', code: 'policy_no_match', aud: GATE_KEY.kid })
  log.add({ kind: 'tool', target: 'mcp://fs', name: 'read_file', digest: `sha256:${'a'.repeat(64)}` })
  return { log, sealed: log.seal(index) }
}

/** A gate's view in which the fixture passes; every member can be changed. */
export function gateState(change: Partial<GateState> = {}): GateState {
  return {
    crypto, logKey: LOG_KEY, witnesses: new WitnessQuorum(NO_WITNESSES), tenant: 'default', gateId: GATE_KEY.kid,
    newest: undefined, newestNote: undefined, consistency: [], accept: () => undefined,
    takeChallenge: (shown) => shown === CHALLENGE,
    nowSeconds: NOW + 1,
    governance: { epochFloor: 3, isFresh: () => true, isRevoked: () => false, isKilled: () => false, isAncestorRevoked: () => false },
    subject: { sub: 'user:1', act: 'agent:tester', verified: true },
    measureEnvironment: () => ENV_COMMIT,
    action: ACTION,
    capabilities: () => false,
    lineage: { parent: undefined },
    ...change,
  }
}

export function receiptClaims(change: Partial<Receipt> = {}): JsonObject {
  const checks = Object.fromEntries(['authorization', 'identity', 'policy', 'environment', 'cryptography', 'state', 'lineage', 'conditions'].map((c) => [c, 'pass']))
  return {
    jti: JTI, leaf_hash: `sha256:${'f'.repeat(64)}`, tenant: 'default', gate: GATE_KEY.kid, session: SESSION, sequence: 0, started: NOW * 1_000, finished: NOW * 1_000 + 5,
    outcome: 'completed', resources: { result_bytes: 3, wall_ms: 5 }, checks, containment: [], assurance: 'A3', ...change,
  } as unknown as JsonObject
}

export function receiptToken(claims: JsonObject = receiptClaims(), typ: 'execution-receipt+jwt' | 'execution-denial+jwt' = 'execution-receipt+jwt'): string {
  const input = signingInput(typ, GATE_KEY.kid, claims)
  return attachSignature(input, GATE.sign(utf8(input)))
}

export type { JsonValue }
