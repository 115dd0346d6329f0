import * as net from 'node:net'
import { nodeClock, nodeCryptography, nodeRng } from '@sealwrit/gate'
import { SimulatedPlane } from '@sealwrit/gate/testing'
import {
  type Agent, canonicalText, checkpointText, Denied, formatProof, fromBase64, fromBase64Url, isObject, type JsonObject, type JsonValue, LineReader, MAX_WIRE_LINE, type Outcome, parseAction, parseCheckpointText, parseDenialRequest, parseNote, parseProof, parseReceiptRequest, parseStrict, parseStrictText, signingKey,
  type SigningKey, toBase64, verifyDenialReport, verifyGateProof, verifyReceipt, WIRE_LIMITS,
} from '@sealwrit/protocol'
import { memberText } from '../../output.ts'
import { changed, type Change, type Values } from '../change.ts'
import { pause } from '../pause.ts'
import type { GateDo } from '../rules.ts'
import { valuesWith } from '../values.ts'

/** Accounts of a gate that are kept, and connections that it may have. */
const MAX_ACCOUNTS = 10_000
const MAX_CONNECTIONS = 64

/** The entry that an answer is about. */
const KIND_OF = { authorize: 'permit', 'gates.enrol': 'gate', 'leases.renew': 'lease', redeem: 'redemption' } as const

/** What a gate signed about one permit. */
export interface Account {
  readonly jti: string
  readonly outcome: Outcome
  readonly cause: string | undefined
  readonly session: string
  readonly sequence: number
}

/**
 * A plane that can seal anything, true or wrong in one way: it has the log key. It serves gates on a Unix socket, and does to its answers
 * what the rule of the moment says.
 */
export class Adversary {
  readonly plane: SimulatedPlane = new SimulatedPlane({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography })
  /** Has the name of the log, and not its key. */
  readonly #stranger = new SimulatedPlane({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography })
  /** What is done to answers now. */
  attack: GateDo | undefined
  /** Questions of gates so far, by method. */
  readonly asked: Map<string, number> = new Map()
  /** Receipts that verify under the key that their gate enrolled with. */
  readonly accounts: Account[] = []
  /** Signed denials that verify, by the session that numbered them. */
  readonly denials: { readonly session: string; readonly sequence: number }[] = []
  /** What a gate signed that does not verify. */
  readonly forgeries: string[] = []
  /** `jti` of each permit, in order. */
  readonly permits: string[] = []
  /** What becomes of answers to `authorize` during a step that is not said as data. */
  between: ((result: JsonObject) => JsonObject) | undefined
  readonly #keys = new Map<string, string>()
  /** The last question for a permit. */
  #asked: JsonObject | undefined
  readonly #nonces = new Set<string>()
  readonly #sockets = new Set<net.Socket>()
  readonly #server = net.createServer((socket) => void this.#serve(socket))
  readonly #values: Values
  /** Answers that were made wrong so far. */
  made = 0
  /** Why one could not be made wrong as the rule says. */
  fault: Error | undefined
  /** Whether the line that leaves next is the answer that the rule is about. */
  #isNext = false

  constructor() {
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#values = valuesWith((name) => (name === 'origin' ? this.plane.key.name : name === 'last' ? this.permits.at(-1) : undefined))
    this.plane.isHonest = false
    this.plane.onTheLog = (text) => this.#orFault(text, () => this.#logged(text))
    this.plane.heard = (method, params) => this.#heard(method, params)
    this.plane.onTheWire = (method, answer) => this.#orFault(undefined, () => this.#answered(method, answer))
    for (let i = 0; i < 3; i++) this.plane.append({ kind: 'tool', target: 'mcp://before', name: `tool-${i}`, digest: `sha256:${'0'.repeat(64)}` }) // so that there is a history to be wrong about
  }

  /** @throws where the path cannot be listened on */
  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(path, resolve)
    })
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  /** An artifact for what the gate asked for last, as it is carried to the gate; wrong as the rule says. @throws {TypeError} */
  issue({ carried = {} }: GateDo): JsonValue {
    const { action, agent, session } = this.#asked ?? {}
    const key = this.#keys.get(memberText(session))
    if (action === undefined || agent === undefined || key === undefined) return null // a gate that never asked
    const sealed = { ...this.plane.issue(parseAction(action), agent as unknown as Agent, signingKey(fromBase64Url(key), nodeCryptography.sha256).kid) }
    return change({ artifact: this.#resealed(sealed, carried) }, carried.whole, this.#values)['artifact'] as JsonValue
  }

  /** Ends every connection, and waits until the other side may have seen it. */
  async hangUp(): Promise<void> {
    this.plane.disconnect()
    for (const socket of this.#sockets) socket.destroy()
    await pause(30)
  }

  async #serve(socket: net.Socket): Promise<void> {
    this.#sockets.add(socket)
    socket.on('error', () => socket.destroy())
    const connection = await this.plane.connect('', MAX_WIRE_LINE, { line: (bytes) => this.#orFault(undefined, () => this.#leaves(socket, bytes)), closed: () => socket.destroy() }).catch(() => undefined)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      connection?.close()
    })
    if (connection === undefined) return void socket.destroy()
    const reader = new LineReader(MAX_WIRE_LINE, (line) => connection.send(this.#orFault('', () => this.#arrives(line))))
    socket.on('data', (chunk) => {
      try {
        reader.push(chunk)
      } catch {
        socket.destroy()
      }
    })
  }

  /** What fails here is no answer of a plane, and would look like a refusal. */
  #orFault<T>(otherwise: T, act: () => T): T {
    try {
      return act()
    } catch (error) {
      this.fault ??= error instanceof Error ? error : new Error('unknown')
      return otherwise
    }
  }

  /** A gate's question; where the rule says so another one is answered than was asked. */
  #arrives(line: Uint8Array): string {
    const { attack } = this
    const text = Buffer.from(line).toString('utf8')
    if (attack?.asked === undefined) return text
    const message = parseStrict(line, WIRE_LIMITS)
    return isObject(message) && message['method'] === attack.on ? JSON.stringify({ ...message, params: changed(message['params'] as JsonValue, attack.asked, this.#values) }) : text
  }

  /** The line on its way to the gate; done to it is what the rule says of lines. */
  #leaves(socket: net.Socket, bytes: Uint8Array): void {
    const { attack } = this
    const isNext = this.#isNext
    this.#isNext = false
    const write = (text: string): void => void (socket.destroyed || socket.write(`${text}\n`))
    const text = Buffer.from(bytes).toString('utf8')
    if (!isNext || attack === undefined) return write(text)
    if (attack.hangs_up === true) return void socket.destroy()
    if (attack.long === true) return write('x'.repeat(MAX_WIRE_LINE + 1))
    const { line, instead } = attack
    if (line !== undefined && !text.includes(line[0])) throw new TypeError(`${line[0]} is not in the answer`)
    const sent = instead ?? (line === undefined ? text : text.replace(line[0], () => line[1]))
    const send = (): void => {
      for (let i = 0; i < (attack.times ?? 1); i++) write(sent)
    }
    if (attack.late_ms === undefined) send()
    else setTimeout(send, attack.late_ms).unref()
  }

  #logged(text: string): string {
    const { attack } = this
    const entry = parseStrictText(text) as JsonObject
    if (entry['kind'] === 'permit') this.permits.push(entry['jti'] as string)
    if (attack?.on === 'redeem' && attack.issued !== undefined && entry['kind'] === 'permit') return canonicalText(changed(entry, attack.issued, this.#values))
    if (attack === undefined || entry['kind'] !== KIND_OF[attack.on]) return text
    const made = attack.logged === undefined ? text : canonicalText(changed(entry, attack.logged, this.#values))
    if (attack.leaf !== undefined && !made.includes(attack.leaf[0])) throw new TypeError(`${attack.leaf[0]} is not in the entry`)
    return attack.leaf === undefined ? made : made.replace(attack.leaf[0], () => attack.leaf?.[1] ?? '')
  }

  #answered(method: string, answer: JsonObject): JsonObject | undefined {
    const { attack, between } = this
    const result = answer['result']
    if (method === 'nonce' && isObject(result)) this.#nonces.add(memberText(result['nonce']))
    if (method === 'authorize' && between !== undefined && isObject(result)) return { ...answer, result: between(result) }
    if (attack?.on !== method || attack.step !== undefined || !isObject(result)) return answer
    this.made++
    if (attack.lost === true) return undefined
    this.#isNext = true
    const member = method === 'redeem' ? 'redemption' : 'sealed'
    const sealed = result[member]
    const wrong = isObject(sealed) ? { ...result, [member]: this.#resealed(sealed, attack) } : result
    const message = { ...answer, result: change(wrong, attack.result, this.#values) }
    return change(message, attack.message, this.#values)
  }

  /** The sealed entry, with entry and proof as the rule has them. */
  #resealed(sealed: JsonObject, attack: Pick<GateDo, 'entry' | 'proof' | 'signed'>): JsonObject {
    const entry = attack.entry === undefined ? (sealed['entry'] as string) : canonicalText(changed(parseStrictText(sealed['entry'] as string), attack.entry, this.#values))
    if (attack.proof === undefined && attack.signed === undefined) return { ...sealed, entry }
    const { index, hashes, extra, checkpoint } = parseProof(sealed['proof'] as string)
    const note = parseNote(checkpoint)
    const head = parseCheckpointText(note.text)
    const [line] = note.signatures
    const shown: JsonObject = {
      index, hashes: hashes.map((hash) => toBase64(hash)), ...(extra === undefined ? {} : { extra: toBase64(extra) }),
      origin: head.origin, size: head.size, root: toBase64(head.root), key: { name: line?.name ?? '', id: line?.id ?? '' }, signature: toBase64(line?.signature ?? new Uint8Array(0)),
    }
    const made = change(shown, attack.proof, this.#values) as unknown as { index: number; hashes: string[]; extra?: string; origin: string; size: number; root: string; key: { name: string; id: string }; signature: string }
    const text = checkpointText({ origin: made.origin, size: made.size, root: fromBase64(made.root) })
    const signature = attack.signed === 'log' ? this.plane.sign(text) : attack.signed === 'stranger' ? this.#stranger.sign(text) : signatureLine(made)
    return { entry, proof: formatProof({ ...(made.extra === undefined ? {} : { extra: fromBase64(made.extra) }), index: made.index, hashes: made.hashes.map(fromBase64), checkpoint: `${text}\n${signature}` }) }
  }

  /** Keeps what a gate proves and signs; whether it is true is said at the end. */
  #heard(method: string, params: JsonValue): void {
    this.asked.set(method, (this.asked.get(method) ?? 0) + 1)
    if (!isObject(params)) return
    try {
      if (method === 'authorize') this.#asked = params
      if (method === 'gates.enrol') this.#enrolled(params)
      if (method === 'receipts') this.#receipt(params)
      if (method === 'denials') this.#denial(params)
    } catch (error) {
      if (this.forgeries.length < MAX_ACCOUNTS) this.forgeries.push(`${method}: ${error instanceof Denied ? error.message : 'cannot be read'}`)
    }
  }

  #enrolled(params: JsonObject): void {
    const [key, session, proof] = [memberText(params['key']), memberText(params['session']), memberText(params['proof'])]
    const nonce = verifyGateProof(proof, signingKey(fromBase64Url(key), nodeCryptography.sha256), { aud: this.plane.key.name, session }, nodeCryptography)
    if (!this.#nonces.delete(nonce)) throw new Denied('proof_of_possession_failed', 'over a nonce that was not given')
    this.#keys.set(session, key)
  }

  #receipt(params: JsonObject): void {
    const { session, receipt } = parseReceiptRequest(params)
    const { jti, outcome, cause, sequence } = verifyReceipt(receipt, this.#keyOf(session), nodeCryptography)
    if (this.accounts.length < MAX_ACCOUNTS) this.accounts.push({ jti, outcome, cause, session, sequence })
  }

  #denial(params: JsonObject): void {
    const { session, denial } = parseDenialRequest(params)
    const { sequence } = verifyDenialReport(denial, this.#keyOf(session), nodeCryptography)
    if (this.denials.length < MAX_ACCOUNTS) this.denials.push({ session, sequence })
  }

  /** The key under which a session was opened. @throws {Denied} `identity_unknown` */
  #keyOf(session: string): SigningKey {
    const key = this.#keys.get(session)
    if (key === undefined) throw new Denied('identity_unknown', 'of a session that was not opened')
    return signingKey(fromBase64Url(key), nodeCryptography.sha256)
  }
}

function change(value: JsonObject, how: Change | undefined, values: Values): JsonObject {
  return how === undefined ? value : (changed(value, how, values) as JsonObject)
}

function signatureLine({ key, signature }: { readonly key: { readonly name: string; readonly id: string }; readonly signature: string }): string {
  return `\u2014 ${key.name} ${toBase64(Buffer.concat([Buffer.from(key.id, 'hex'), fromBase64(signature)]))}\n`
}

