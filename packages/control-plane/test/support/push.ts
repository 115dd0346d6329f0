import * as net from 'node:net'
import { createInterface } from 'node:readline'
import type { Plane } from '@sealwrit/control-plane'
import { type Action, type AuthorizeReply, Denied, type DenialCode, type IssueRequest, leafDigest, leafHash, parseEntry, type Permit, type RedeemReply, type SealedEntry, utf8 } from '@sealwrit/protocol'
import { sha256, TestGate, toolCall } from './rig.ts'

/** An artifact as an agent carries it. */
export interface CarriedArtifact {
  readonly sealed: SealedEntry
  readonly permit: Permit
  readonly leaf: string
}

export function issueRequest(gate: TestGate, action: Action = toolCall(), change: Partial<IssueRequest> = {}): IssueRequest {
  return { action, agent: { name: 'tester', verified: true }, audience: gate.id, form: 'redeem', seconds: 60, ...change }
}

/** What a local caller does that is no gate. */
export function askIssue(plane: Plane, request: IssueRequest): Promise<AuthorizeReply> {
  return plane.issue(request, { size: 0 })
}

export async function issue(plane: Plane, gate: TestGate, action?: Action, change?: Partial<IssueRequest>): Promise<CarriedArtifact> {
  const reply = await askIssue(plane, issueRequest(gate, action, change))
  if (reply.decision !== 'permit') throw new Error(`not permitted: ${JSON.stringify(reply)}`)
  return carriedOf(reply.sealed)
}

export function carriedOf(sealed: SealedEntry): CarriedArtifact {
  return { sealed, permit: parseEntry(sealed.entry) as Permit, leaf: leafDigest(leafHash(utf8(sealed.entry), sha256)) }
}

export async function redeem(plane: Plane, gate: TestGate, { sealed }: Pick<CarriedArtifact, 'sealed'>, challenge: string): Promise<RedeemReply> {
  const reply = await plane.redeem({ session: gate.session, artifact: { ...sealed }, challenge }, gate.id, { size: 0 })
  gate.begins(sealed.entry)
  return reply
}

/** One real connection to a plane's socket. */
export class SocketClient {
  readonly #socket: net.Socket
  readonly #waiting = new Map<number, (answer: Record<string, unknown>) => void>()
  #nextId = 1

  private constructor(socket: net.Socket) {
    this.#socket = socket
    socket.on('error', () => undefined)
    const lines = createInterface({ input: socket })
    lines.on('error', () => undefined) // it repeats what the socket says when the other end is killed
    lines.on('line', (line) => {
      const answer = JSON.parse(line) as { id: number }
      this.#waiting.get(answer.id)?.(answer as never)
      this.#waiting.delete(answer.id)
    })
  }
  static connect(path: string): Promise<SocketClient> {
    const socket = net.connect({ path })
    return new Promise((resolve, reject) => socket.once('error', reject).once('connect', () => resolve(new SocketClient(socket))))
  }
  /** @throws {Denied} what the plane refuses with */
  async request<T>(method: string, params: object): Promise<T> {
    const id = this.#nextId++
    const answer = await new Promise<Record<string, unknown>>((resolve) => {
      this.#waiting.set(id, resolve)
      this.#socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
    })
    if (answer['error'] !== undefined) throw new Denied((answer['error'] as { data: { code: DenialCode } }).data.code)
    return answer['result'] as T
  }
  close(): void {
    this.#socket.destroy()
  }
}
