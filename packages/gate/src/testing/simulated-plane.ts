import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'
import {
  type Action, type Agent, type Artifact, checkpointText, commitment, consistencyProof, type Crypto, type DenialCode, Denied, type Entry, type EntryBody, entryText, formatProof, formatSignature,
  fromBase64Url, inclusionProof, isObservable, type JsonObject, type JsonValue, leafDigest, leafHash, nodeHash, type NoteKey, noteKey, actionDigest, parseAuthorizeRequest, parseDenialRequest,
  parseEnrolRequest, parseEntry, parsePermissibleRequest, parseReceiptRequest, parseRedeemRequest, parseRenewRequest, parseRpcRequest, parseSealed, peekClaims, parseToolsRequest, present, rpcError, type Scope, scopeOf, scopesOf, type SealedEntry, type SeenTool, signingKey, toBase64, toBase64Url, treeRoot, utf8,
  type Clock, type Rng,
} from '@sealwrit/protocol'
import type { Connection, ConnectionEvents, Net } from '../ports.ts'

/** A plane in memory that answers gates with real entries, proofs and signatures; its policy is one function. */
export interface SimulatedPlaneOptions {
  readonly clock: Clock
  readonly rng: Rng
  readonly crypto: Crypto
  readonly tenant?: string
  /** `permit`, `hold`, or the code to deny with. @param hold that the request names */
  readonly decide?: (action: JsonObject, hold: string | undefined) => 'permit' | 'hold' | DenialCode
  /** Whether something could be permitted at all, for lists; everything where it is not given. */
  readonly permissible?: (scope: Scope, agent: Agent) => boolean
  /** `when told`: nothing is pinned by itself. */
  readonly pins?: 'at once' | 'when told'
  /** Cosignature lines for the text of a checkpoint. */
  readonly cosign?: (text: string) => string
}

/** What happens to an answer on its way: it is passed on, changed, or (undefined) lost. */
export type OnTheWire = (method: string, answer: JsonObject) => JsonObject | undefined

/** What one connection was shown, and whether a gate opened a session on it. */
interface Listener {
  size: number
  /** The size before the last. */
  before: number
  isGate: boolean
}

/** PKCS #8 prefix of an Ed25519 seed. @see RFC 8410 section 7 */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

export class SimulatedPlane implements Net {
  readonly key: NoteKey
  readonly sub = 'user:simulated'
  epoch = 1
  /** Whether anybody answers at all. */
  isUp = true
  /** Whether what `decide` denies is permitted all the same, as observed. @param isAsked the gate asks for it */
  observes: (isAsked: boolean) => boolean = () => false
  /** Faults on the wire. */
  onTheWire: OnTheWire = (_method, answer) => answer
  /** What becomes of the text of an entry before it is logged: what comes out is sealed as any other leaf. */
  onTheLog: (text: string) => string = (text) => text
  /** Hears what gates ask. */
  heard: (method: string, params: JsonValue) => void = () => undefined
  /** Which of its executions a gate may go on with. */
  renews: (jtis: readonly string[]) => readonly string[] = (jtis) => jtis
  /** A liar shows what does not extend what it showed before, and permits what nobody pinned. */
  isHonest = true
  readonly #options: SimulatedPlaneOptions
  readonly #privateKey: KeyObject
  #leaves: string[] = []
  readonly #connections = new Map<ConnectionEvents, Listener>()
  /** What its permits say otherwise than they would. */
  permits: Partial<Artifact> = {}
  readonly #environments = new Map<string, Artifact['env']>()
  readonly #gates = new Map<string, string>()
  /** By `jti`, where it was spent and for which challenge. */
  readonly #redeemed = new Map<string, { readonly seq: number; readonly challenge: string }>()
  /** By target and name, what is pinned. */
  readonly #tools = new Map<string, string | undefined>()
  /** Every tool that gates told of, each time. */
  readonly seen: (SeenTool & { readonly target: string })[] = []

  constructor(options: SimulatedPlaneOptions) {
    this.#options = options
    this.#privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, options.rng.bytes(32)]), format: 'der', type: 'pkcs8' })
    const { x } = createPublicKey(this.#privateKey).export({ format: 'jwk' })
    this.key = noteKey(`simulated.test/${this.tenant}`, fromBase64Url(x as string), options.crypto.sha256)
  }

  get tenant(): string {
    return this.#options.tenant ?? 'default'
  }
  /** Everything that was logged, in order. */
  get entries(): readonly Entry[] {
    return this.#leaves.map(parseEntry)
  }

  /** Every leaf, in order. */
  get leaves(): readonly string[] {
    return this.#leaves
  }

  /** Has another history from now on. */
  become(leaves: readonly string[]): void {
    this.#leaves = [...leaves]
    this.#nodes.clear()
  }

  /** Forgets everything after the first `size` entries, as a store that was restored from a backup. */
  rollBack(size: number): void {
    this.become(this.#leaves.slice(0, size))
  }

  /** Ends every connection, as a restart does. */
  disconnect(): void {
    for (const events of this.#connections.keys()) events.closed('restart')
    this.#connections.clear()
  }

  connect(_path: string, _maxLineBytes: number, events: ConnectionEvents): Promise<Connection> {
    if (!this.isUp) return Promise.reject(new Error('nobody answers'))
    const shown: Listener = { size: 0, before: 0, isGate: false }
    this.#connections.set(events, shown)
    return Promise.resolve({
      send: (line) => queueMicrotask(() => this.#receive(utf8(line), shown, events)),
      close: () => this.#connections.delete(events),
    })
  }

  /** Tells every gate of an entry, unasked. @param isAhead it arrives before the answer that is on its way */
  tell(seq: number, isAhead = false): void {
    for (const [events, shown] of this.#connections) {
      if (!shown.isGate) continue
      if (isAhead) shown.size = shown.before
      events.line(utf8(JSON.stringify({ jsonrpc: '2.0', method: 'event', params: this.#show(seq, shown) })))
    }
  }

  #receive(line: Uint8Array, shown: Listener, events: ConnectionEvents): void {
    if (!this.#connections.has(events)) return
    let request: ReturnType<typeof parseRpcRequest>
    try {
      request = parseRpcRequest(line)
    } catch {
      this.#connections.delete(events)
      return events.closed('no request')
    }
    const { id, method, params } = request
    this.heard(method, params)
    let answer: JsonObject
    try {
      answer = { id, jsonrpc: '2.0', result: this.#answer(method, params, shown) }
    } catch (error) {
      answer = { id, jsonrpc: '2.0', error: rpcError(error instanceof Denied ? error.code : 'unavailable') }
    }
    const passed = this.onTheWire(method, answer)
    if (passed !== undefined && this.#connections.has(events)) events.line(utf8(JSON.stringify(passed)))
  }

  #answer(method: string, params: JsonValue, shown: Listener): JsonObject {
    switch (method) {
      case 'nonce':
        return { origin: this.key.name, nonce: toBase64Url(this.#options.rng.bytes(16)) }
      case 'gates.enrol':
        return this.#enrol(params, shown)
      case 'authorize':
        return this.#authorize(params, shown)
      case 'redeem':
        return this.#redeem(params, shown)
      case 'receipts': {
        const { receipt } = parseReceiptRequest(params)
        const { jti } = peekClaims(receipt) as { jti: string }
        return { seq: this.append({ kind: 'receipt', jti, receipt }) }
      }
      case 'denials': {
        const { session, denial } = parseDenialRequest(params)
        const { code, scope } = peekClaims(denial) as unknown as { code: DenialCode; scope?: Scope }
        return { seq: this.append(present({ kind: 'deny', code, scope, denial, aud: this.#gates.get(session) }) as EntryBody) }
      }
      case 'leases.renew':
        return this.#renew(params, shown)
      case 'events.ack':
        return {}
      case 'tools.record':
        return this.#recordTools(params)
      case 'tools.permissible': {
        const request = parsePermissibleRequest(params)
        return { permissible: scopesOf(request).map((scope) => this.#options.permissible?.(scope, request.agent) ?? true) }
      }
      default:
        throw new Denied('method_unknown')
    }
  }

  #renew(params: JsonValue, shown: Listener): JsonObject {
    const { session, nonce, jtis } = parseRenewRequest(params)
    return this.#show(this.append({ kind: 'lease', gate: this.#gates.get(session) ?? '', session, nonce, jtis: this.renews(jtis) }), shown)
  }

  /** A sealed entry, with the proof from what this connection was shown before. */
  #show(seq: number, shown: Listener, salt?: string): { sealed: JsonObject; consistency: string[] } {
    const consistency = this.#consistency(shown.size)
    shown.before = shown.size
    shown.size = this.#leaves.length
    return { sealed: { ...this.seal(seq, salt) }, consistency }
  }

  #enrol(params: JsonValue, shown: Listener): JsonObject {
    const request = parseEnrolRequest(params)
    const gate = signingKey(fromBase64Url(request.key), this.#options.crypto.sha256).kid
    const { commit, level } = request.environment
    this.#environments.set(request.session, { commit, level })
    this.#gates.set(request.session, gate)
    const seq = this.append({ kind: 'gate', gate, event: 'session', session: request.session, env: { commit, level } })
    shown.isGate = true
    if (shown.size === 0) shown.size = request.floor ?? 0
    return { ...this.#show(seq, shown), sub: this.sub, epoch: this.epoch }
  }

  /** Everything is pinned as it is seen first, unless somebody is to do it. */
  #recordTools(params: JsonValue): JsonObject {
    const { target, tools } = parseToolsRequest(params)
    for (const { name, digest, definition } of tools) {
      this.seen.push({ target, name, digest, ...(definition === undefined ? {} : { definition }) })
      if (this.#tools.has(`${target}/${name}`)) continue
      this.#tools.set(`${target}/${name}`, undefined)
      this.append({ kind: 'tool', target, name, digest })
      if (this.#options.pins !== 'when told') this.pin(target, name, digest)
    }
    return { tools: tools.map(({ name }) => present({ name, pinned: this.#tools.get(`${target}/${name}`) })) }
  }

  /** Somebody pins a definition. */
  pin(target: string, name: string, digest: string): void {
    this.#tools.set(`${target}/${name}`, digest)
    this.append({ kind: 'tool', event: 'pinned', target, name, digest, by: this.sub })
  }

  /** What is pinned says against a call; tools that nobody recorded are not looked at here. */
  #toolCode(action: Action): DenialCode | undefined {
    const at = `${action.target}/${action.name}`
    if (action.type !== 'mcp.tool_call' || !this.#tools.has(at)) return undefined
    const pinned = this.#tools.get(at)
    return pinned === undefined ? 'tool_not_pinned' : pinned === action.tool_digest ? undefined : 'tool_changed'
  }

  #authorize(params: JsonValue, shown: Listener): JsonObject {
    const { session, challenge, action, agent, hold: named, intent, observe } = parseAuthorizeRequest(params)
    const { decide = () => 'permit' as const } = this.#options
    const decision = (this.isHonest ? this.#toolCode(action) : undefined) ?? decide(action as unknown as JsonObject, named)
    const aud = this.#gates.get(session) ?? ''
    if (decision === 'hold') {
      const hold = named ?? toBase64Url(this.#options.rng.bytes(16))
      return { decision, hold, seq: named === undefined ? this.append({ kind: 'hold', hold, aud, scope: scopeOf(action) }) : this.#leaves.length - 1 }
    }
    const observed = decision !== 'permit' && isObservable(decision) && this.observes(observe === true) ? decision : undefined
    if (decision !== 'permit' && observed === undefined) return { decision: 'deny', code: decision, seq: this.append({ kind: 'deny', code: decision, aud, scope: scopeOf(action) }) }
    const { seq, salt } = this.#permit(action, agent, aud, this.#environments.get(session), { use: 'challenge', challenge, ...(intent === undefined ? {} : { intent }), ...(observed === undefined ? {} : { observed }) })
    return { decision: 'permit', ...this.#show(seq, shown, salt) }
  }

  #permit(action: Action, agent: Agent, aud: string, env: Artifact['env'] | undefined, how: Pick<Artifact, 'use' | 'challenge' | 'intent' | 'observed'>): { seq: number; salt: string } {
    const { rng, crypto } = this.#options
    const salt = toBase64Url(rng.bytes(16))
    const jti = toBase64Url(rng.bytes(16))
    const iat = Math.floor(this.#options.clock.wallMs() / 1_000)
    const seq = this.append({
      kind: 'permit',
      scope: scopeOf(action),
      action_commit: commitment('action', salt, actionDigest(action, crypto.sha256), crypto.sha256),
      sub: this.sub,
      act: { sub: `agent:${agent.name}`, verified: agent.verified },
      env: env ?? { commit: `sha256:${'0'.repeat(64)}`, level: 'none' },
      policy: { digest: `sha256:${'0'.repeat(64)}`, epoch: this.epoch, determining: [], inputs_commit: `sha256:${'0'.repeat(64)}` },
      iat, nbf: iat, exp: iat + 60,
      constraints: { lease_seconds: 300, max_runtime_seconds: 300, obligations: [] },
      iss: this.key.name, owner: this.sub, jti, txn: jti, depth: 0, approvals: [], risk: 'low', assurance: how.observed === undefined ? 'A3' : 'A1', aud, ...how, ...this.permits,
    })
    return { seq, salt }
  }

  /** Issues an artifact that can be carried to the gate `aud`, which has enrolled. */
  issue(action: Action, agent: Agent, aud: string): SealedEntry {
    const session = [...this.#gates].findLast(([, gate]) => gate === aud)?.[0] ?? ''
    const { seq, salt } = this.#permit(action, agent, aud, this.#environments.get(session), { use: 'redeem' })
    return this.seal(seq, salt)
  }

  #redeem(params: JsonValue, shown: Listener): JsonObject {
    const { session, artifact, challenge } = parseRedeemRequest(params)
    const { entry, proof, salt } = parseSealed(artifact)
    const permit = parseEntry(entry)
    if (this.#leaves[proof.index] !== entry || permit.kind !== 'permit') throw new Denied('issuance_not_logged')
    if (permit.use !== 'redeem') throw new Denied('artifact_spent')
    const { jti, aud, exp } = permit
    if (aud !== this.#gates.get(session)) throw new Denied('audience_mismatch')
    const before = this.#redeemed.get(jti)
    if (before !== undefined && before.challenge !== challenge) throw new Denied('artifact_spent')
    const leaf = leafDigest(leafHash(utf8(entry), this.#options.crypto.sha256))
    const seq = before?.seq ?? this.append({ kind: 'redemption', jti, leaf_hash: leaf, aud, challenge, exp })
    this.#redeemed.set(jti, { seq, challenge })
    const seals = { redemption: { ...this.seal(seq) }, artifact: { ...this.seal(proof.index, salt) } }
    const consistency = this.#consistency(shown.size)
    shown.size = this.#leaves.length
    return { ...seals, consistency }
  }

  /** Logs one entry. @returns its leaf index */
  append(body: EntryBody): number {
    const seq = this.#leaves.length
    this.#leaves.push(this.onTheLog(entryText({ v: 1, seq, time: Math.floor(this.#options.clock.wallMs()), tenant: this.tenant, ...body } as Entry)))
    return seq
  }

  /** An entry with a proof against the present tree. */
  seal(seq: number, salt?: string): SealedEntry {
    const size = this.#leaves.length
    const { sha256 } = this.#options.crypto
    const text = checkpointText({ origin: this.key.name, size, root: treeRoot(size, this.#subtree, sha256) })
    const checkpoint = `${text}\n${this.sign(text)}${this.#options.cosign?.(text) ?? ''}`
    const extra = salt === undefined ? {} : { extra: fromBase64Url(salt) }
    return { entry: this.#leaves[seq] as string, proof: formatProof({ ...extra, index: seq, hashes: inclusionProof(seq, size, this.#subtree, sha256), checkpoint }) }
  }

  /** The line of this log's signature over a checkpoint, whatever it says. */
  sign(text: string): string {
    return formatSignature(this.key, sign(null, utf8(text), this.#privateKey))
  }

  #consistency(from: number): string[] {
    const size = this.#leaves.length
    if (from === 0 || from === size || (from > size && !this.isHonest)) return []
    if (from > size) throw new Denied('state_diverged')
    return consistencyProof(from, size, this.#subtree, this.#options.crypto.sha256).map(toBase64)
  }

  /** Hashes of subtrees that are full, by level and index. */
  readonly #nodes = new Map<string, Uint8Array>()
  readonly #subtree = (level: number, index: number): Uint8Array => {
    const { sha256 } = this.#options.crypto
    const at = `${level}/${index}`
    const known = this.#nodes.get(at)
    if (known !== undefined) return known
    const hash = level === 0 ? leafHash(utf8(this.#leaves[index] as string), sha256) : nodeHash(this.#subtree(level - 1, 2 * index), this.#subtree(level - 1, 2 * index + 1), sha256)
    this.#nodes.set(at, hash)
    return hash
  }
}
