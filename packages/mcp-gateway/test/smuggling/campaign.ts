import { canonicalText, type JsonObject } from '@sealwrit/protocol'
import { Bench } from '../support/bench.ts'
import { ClientJudge, ServerJudge } from './judge.ts'
import { chunks, type Frame, MUTATIONS, type Mutation, RARE } from './mutate.ts'
import { Random } from './random.ts'
import { clientFrame, type Era, opening, server, serverFrame } from './traffic.ts'

/** Messages between two looks at what came of them. */
const BATCH = 64
/** One in so many is one of those that are too large to be made often. */
const RARELY = 2_000
/** Turns of the loop without anything new after which nothing is under way. */
const QUIET = 6

/** Nobody reads the receipts and denials of these campaigns; signing them would be most of their work. */
export const UNSIGNED = new Uint8Array(64)

export interface Campaign {
  readonly seed: number
  readonly count: number
  /** Revision of the client, and of the server. */
  readonly client: Era
  readonly server: Era
  /** Whose messages are mutated. */
  readonly hostile: 'client' | 'server'
}

export interface Outcome {
  readonly made: number
  readonly arrived: number
  readonly answered: number
  readonly connections: number
  /** How often each mutation was made. */
  readonly kinds: ReadonlyMap<string, number>
  readonly faults: readonly string[]
}

/** Sends mutated traffic through a gateway in this process, and judges every line that comes out of it on either side. */
export async function run({ seed, count, client, server: era, hostile }: Campaign): Promise<Outcome> {
  const random = new Random(seed)
  const kinds = new Map<string, number>()
  const faults: string[] = []
  let [arrived, answered, connections, made, next] = [0, 0, 0, 0, 0]

  const mutated = (frame: Frame, other: Frame): Buffer => {
    const set = random.once(RARELY) ? RARE : MUTATIONS
    const kind = random.pick(Object.keys(set))
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    made++
    return (set[kind] as Mutation)(frame, random, other)
  }

  while (made < count && faults.length < 10) {
    connections++
    const [toServer, toClient] = [new ServerJudge(), new ClientJudge()]
    let previous = serverFrame(0, random)
    const serve = server(era, (answer, method) => {
      const begins = method === 'initialize' || method === 'server/discover' || method === 'tools/list' // without these nothing goes on
      const bytes = hostile === 'server' && made < count && (begins ? random.once(20) : !random.once(3)) ? mutated(answer, previous) : Buffer.from(`${answer.text}\n`)
      previous = answer
      return bytes
    })
    const bench: Bench = new Bench({
      sign: () => UNSIGNED,
      script: (message) => serve(message as Parameters<typeof serve>[0], (bytes) => setImmediate(() => fromServer(bytes))),
      decide: (action) => {
        if (!isHonest(action)) return 'policy_denied'
        toServer.permit(action)
        toClient.permit(action)
        return 'permit'
      },
    })
    const deliver = (bytes: Buffer, send: (part: Buffer) => void): void => {
      for (const part of chunks(bytes, random)) send(part)
    }
    const fromServer = (bytes: Buffer): void => {
      toClient.serverSaid(bytes)
      deliver(bytes, (part) => bench.fromServer(part))
    }
    await bench.gate.connect()
    let [seenByServer, seenByClient] = [0, 0]
    const judge = async (): Promise<void> => {
      await quiet(bench)
      for (; seenByServer < bench.received.length; seenByServer++) report(toServer.fault(bench.received[seenByServer] as string), bench.received[seenByServer])
      for (; seenByClient < bench.answers.length; seenByClient++) {
        const message = bench.answers[seenByClient] as JsonObject
        report(toClient.fault(message), message)
        if (typeof message['method'] === 'string' && message['id'] !== undefined) bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id: message['id'], result: {} })}\n`)
      }
    }
    const report = (fault: string | undefined, what: unknown): void => {
      if (fault !== undefined) faults.push(`${fault} (seed ${seed}, ${client} → ${era}, hostile ${hostile}): ${(typeof what === 'string' ? what : JSON.stringify(what)).slice(0, 300)}`)
    }
    const say = (frame: Frame): void => {
      toClient.asks(frame.value['id'])
      bench.raw(Buffer.from(`${frame.text}\n`))
    }
    for (const frame of opening(client)) {
      say(frame)
      await quiet(bench)
    }
    let before = clientFrame(client, 1, random)
    while (made < count && bench.closedFor === undefined) {
      for (let i = 0; i < BATCH && made < count; i++) {
        const frame = clientFrame(client, 1_000 + next++, random)
        if (hostile === 'server') {
          say(frame)
          for (let more = random.below(6); more > 0 && made < count; more--) fromServer(mutated(serverFrame(next, random), before))
        } else {
          const bytes = mutated(frame, before)
          for (const id of idsIn(bytes)) toClient.asks(id)
          deliver(bytes, (part) => bench.raw(part))
          if (random.once(8)) bench.raw('\n') // what had no end gets one
        }
        before = frame
      }
      await judge()
    }
    await judge()
    arrived += toServer.arrived
    answered += toClient.answered
    bench.gate.close()
  }
  return { made, arrived, answered, connections, kinds, faults }
}

/** Permitted is what an honest client asks for: anything else must not be able to look like it. */
export function isHonest(action: JsonObject): boolean {
  const text = canonicalText(action)
  if (/evil|forged|__proto__|constructor/.test(text)) return false
  const { type, name, arguments: args } = action as { type: string; name: string; arguments: { n?: unknown } }
  return type === 'mcp.tool_call' ? name === 'read_file' && Number.isSafeInteger(args.n) : true
}

/** The ids that a client may have asked with, by a reading that takes whatever could be one. */
function idsIn(bytes: Buffer): unknown[] {
  const ids: unknown[] = []
  for (const [, id] of bytes.toString('utf8').matchAll(/"(?:i|\\u0069)(?:d|\\u0064)"\s*:\s*("(?:[^"\\]|\\.)*"|-?[\d.e+]+)/g)) {
    try {
      ids.push(JSON.parse(id as string))
    } catch {
      // no id of anything
    }
  }
  return ids
}

async function quiet(bench: Bench): Promise<void> {
  for (let still = 0, seen = -1; still < QUIET; ) {
    await new Promise((resolve) => setImmediate(resolve))
    const now = bench.received.length + bench.answers.length
    still = now === seen ? still + 1 : 0
    seen = now
  }
}
