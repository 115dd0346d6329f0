import { nodeNet } from '@sealwrit/gate'

/** Longest answer, in bytes: a page of a thousand. */
const MAX_LINE = 16 * 2 ** 20

/** A connection to the plane's socket, as the command line has one. */
export interface Asker {
  ask(method: string, params: object): Promise<Record<string, unknown>>
  close(): void
}

/** Any number of questions may be under way at once. */
export async function asker(socket: string): Promise<Asker> {
  const waiting = new Map<number, (answer: { result?: Record<string, unknown>; error?: unknown }) => void>()
  let last = 0
  const connection = await nodeNet.connect(socket, MAX_LINE, {
    line: (bytes) => {
      const answer = JSON.parse(Buffer.from(bytes).toString()) as { id: number; result?: Record<string, unknown>; error?: unknown }
      waiting.get(answer.id)?.(answer)
      waiting.delete(answer.id)
    },
    closed: (reason) => {
      for (const answer of waiting.values()) answer({ error: reason })
      waiting.clear()
    },
  })
  return {
    ask: (method, params) =>
      new Promise((resolve, reject) => {
        const id = ++last
        waiting.set(id, ({ result, error }) => (result === undefined ? reject(new Error(`${method}: ${JSON.stringify(error)}`)) : resolve(result)))
        connection.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
      }),
    close: () => connection.close(),
  }
}
