import { describe, expect, it } from 'vitest'
import { score, sized } from '../../../test/support/scoreboard.ts'
import { Bench } from './support/bench.ts'

const FRAMES = sized(5_000, 100_000)
const SEED = 20_261_123

function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
}

describe('smuggling', () => {
  it(`S28: of ${FRAMES} mutated frames no unjudged byte reaches the server (seed ${SEED})`, async () => {
    const next = random(SEED)
    // Calls of one tool are permitted, and only with a number as their argument: everything else must not arrive.
    const open = (): Promise<Bench> => new Bench({ decide: (action) => (Number.isInteger((action['arguments'] as { n?: number }).n) ? 'permit' : 'policy_denied') }).initialize()
    let bench = await open()
    let [arrived, permits, connections] = [0, 0, 1]
    const judge = async (): Promise<void> => {
      await bench.settle()
      await bench.settle()
      const permitted = bench.plane.entries.filter(({ kind }) => kind === 'permit').length
      for (const line of bench.calls()) {
        expect(line).toMatch(/^\{"id":\d+,"jsonrpc":"2\.0","method":"tools\/call","params":\{"arguments":\{"n":-?[\d.e+]+\},"name":"read_file"\}\}$/)
        expect(Number.isInteger((JSON.parse(line) as { params: { arguments: { n: number } } }).params.arguments.n)).toBe(true)
      }
      expect(bench.calls().length).toBeLessThanOrEqual(permitted)
      arrived += bench.calls().length
      permits += permitted
    }
    const frame = (id: number): string => JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'read_file', arguments: { n: id } } })
    const escape = (text: string): string => text.replace(/[a-z]/, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
    const mutations: readonly ((text: string) => string)[] = [
      (text) => { const at = next(text.length); return text.slice(0, at) + String.fromCharCode(next(256)) + text.slice(at + 1) },
      (text) => { const at = next(text.length); return `${text.slice(0, at)}${text.slice(at, at + 1 + next(20))}${text.slice(at)}` },
      (text) => text.slice(0, next(text.length)),
      (text) => `[${text},${text}]`,
      (text) => text.replace('"method"', `"${escape('method')}"`),
      (text) => text.replace('tools/call', escape('tools/call')),
      (text) => text.replace('"id"', `"id":${next(9)},"id"`),
      (text) => text.replace('"params":{', '"params":{"name":"evil",'),
      (text) => text.replace('}}}', `},"extra":"${frame(1)}"}}`),
      (text) => `${text}\r`,
      (text) => `${text} ${text}`,
      (text) => text.replace('{', '{ \n'),
      (text) => `\ufeff${text}`,
      (text) => text.replace(/"n":\d+/, `"n":${['1e999', '-0', '9007199254740993', '"7"', 'null', '[1]', '1.5'][next(7)] as string}`),
      (text) => text.replace('"arguments"', '"__proto__":{"n":1},"arguments"'),
      (text) => text,
    ]
    let honest = 0
    for (let i = 0; i < FRAMES; i++) {
      const which = next(mutations.length)
      if (which === mutations.length - 1) honest++
      bench.raw(`${(mutations[which] as (text: string) => string)(frame(10 + i))}\n`)
      if (i % 64 === 0) await bench.settle()
      if (bench.closedFor === undefined) continue
      await judge() // too many bad messages end a connection: the attacker opens the next
      bench = await open()
      connections++
    }
    await judge()
    expect(arrived, 'honest frames went on arriving').toBeGreaterThan(FRAMES / 100)
    expect(honest).toBeGreaterThan(0)
    score({ id: 'S28', figure: 'mutated MCP frames: bytes that reach the server unjudged', n: FRAMES, violations: 0, seed: 20_261_123, faultsLanded: FRAMES, notes: `${connections} connections, ${arrived} judged calls arrived` })
    console.log(`smuggling: ${FRAMES} frames over ${connections} connections, ${arrived} judged calls arrived under ${permits} permits`)
  }, 600_000)
})
