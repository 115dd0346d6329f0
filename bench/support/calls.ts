import type { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { time } from './figure.ts'

/** The ways that one and the same call goes. */
export type Ways<T> = Readonly<Record<'direct' | 'proxied' | 'governed', T>>

/** How the calls of one figure are made. */
export interface Load {
  readonly rounds: number
  /** Calls of a round; three for each in flight at least. */
  readonly calls: number
  readonly inFlight: number
}

/**
 * Calls `read_file` in rounds, one way after the other in each; a first round warms up and does not count. No two calls of a way are equal.
 * @param argumentsOf the arguments of the call of this name
 * @returns milliseconds of each call
 */
export async function timeCalls(clients: Ways<Client>, { rounds, calls, inFlight }: Load, argumentsOf: (name: string) => Record<string, string>): Promise<Ways<number[]>> {
  const values: Ways<number[]> = { direct: [], proxied: [], governed: [] }
  for (let round = -1; round < rounds; round++) {
    for (const [way, client] of Object.entries(clients) as [keyof Ways<Client>, Client][]) {
      let made = 0
      const caller = async (): Promise<void> => {
        while (made < Math.max(calls, 3 * inFlight)) {
          const args = argumentsOf(`${round}-${made++}`)
          const ms = await time(async () => {
            const result = await client.callTool({ name: 'read_file', arguments: args })
            if (result.isError === true) throw new Error(JSON.stringify(result))
          })
          if (round >= 0) values[way].push(ms)
        }
      }
      await Promise.all(Array.from({ length: inFlight }, caller))
    }
  }
  return values
}
