import type { ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runClientSuite } from '../src/conformance/client/suite.ts'
import { ANSWER_MS, HttpSender } from '../src/conformance/http.ts'
import { canaryCommand } from '../src/conformance/gate/gate-process.ts'
import { type ClientRule, readRules, RUNS } from '../src/conformance/rules.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-conformance-client-'))
const canary = path.join(root, 'canary')
const rules = readRules().filter((rule): rule is ClientRule => rule.suite === 'client')
const ids = rules.map(({ id }) => id)
const children: ChildProcess[] = []
const servers: http.Server[] = []
let gate: { readonly endpoint: string; readonly token_file: string }

beforeAll(async () => {
  const dir = path.join(root, '.sealwrit')
  children.push((await startPlane(dir)).child)
  fs.writeFileSync(canary, '')
  const child = sealwrit(['mcp', '--json', '--dir', dir, '--name', 'doctor', '--agent', 'sealwrit-doctor', '--pin', '--listen', '127.0.0.1:0', '--', ...canaryCommand(canary)])
  children.push(child)
  gate = await new Promise((resolve) => child.stdout?.once('data', (chunk: Buffer) => resolve(JSON.parse(chunk.toString()) as typeof gate)))
}, 60_000)
afterAll(async () => {
  for (const server of servers) server.close()
  for (const child of children.reverse()) await end(child)
  fs.rmSync(root, { recursive: true, force: true })
})

async function verdicts(url: string, token?: string): Promise<Record<string, readonly string[]>> {
  const found = await runClientSuite(rules, { url: new URL(url), token, told: () => undefined, signal: new AbortController().signal })
  return Object.fromEntries(Object.entries(Object.groupBy(found, ({ status }) => status)).map(([status, all]) => [status, all.map(({ rule }) => rule.id)]))
}

/** A server that answers everything alike. */
async function answering(status: number, body: object): Promise<string> {
  const server = http.createServer((request, response) => {
    request.resume()
    request.on('end', () => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)))
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`
}

describe('a gate over HTTP', () => {
  it('of ours holds every rule, and nothing runs', async () => {
    expect(await verdicts(gate.endpoint, fs.readFileSync(gate.token_file, 'utf8').trim())).toEqual({ held: ids })
    expect(fs.readFileSync(canary, 'utf8')).toBe('')
  }, 60_000)
  it('that answers everything breaks every rule that expects a refusal', async () => {
    expect(await verdicts(await answering(200, { jsonrpc: '2.0', id: 1, result: {} }))).toEqual({ held: ['client.control'], broken: rules.filter(({ expect: codes }) => !codes.includes(RUNS)).map(({ id }) => id) })
  })
  it('that answers nothing is not checked, and never held', async () => {
    expect(await verdicts(await answering(403, { jsonrpc: '2.0', id: 1, error: { code: 1, message: '', data: { code: 'origin_forbidden' } } }))).toEqual({ 'not checked': ids })
  })
  it('that leads elsewhere is not checked either', async () => {
    expect(await verdicts(await answering(302, {}))).toEqual({ 'not checked': ids })
  })
  it('whose answer does not end is waited for as long as any, and no longer', async () => {
    const server = http.createServer((_request, response) => {
      const drip = setInterval(() => response.write(' '), 1_000)
      response.on('close', () => clearInterval(drip))
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const sender = new HttpSender(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
    expect(await sender.send({ verb: 'POST', path: '/', headers: {}, body: '{}' })).toBeUndefined()
    sender.close()
  }, ANSWER_MS + 5_000)
  it('is sent a canary before an assessment: what it refuses is evidence, and what lets it through leaves nothing else to count', async () => {
    const dir = path.join(root, '.sealwrit')
    const assess = async (...words: string[]): Promise<{ level: number; invalid: string[]; measures: Record<string, { value: number }> }> => JSON.parse((await run(['assess', '--json', '--dir', dir, '--canary', ...words])).stdout) as never
    const found = await assess(gate.endpoint, '--token-file', gate.token_file)
    expect([found.invalid, found.measures['refusing_gates_share']?.value, found.measures['gates']?.value]).toEqual([[], 1, 2])
    expect(found.measures['stop_ms']?.value).toBeLessThan(2_000)
    const open = await answering(200, { jsonrpc: '2.0', id: 1, result: {} })
    const lied = await assess(open)
    expect([lied.level, lied.invalid]).toEqual([0, [`the gate at ${open} let through what is forbidden`]])
    expect(await run(['assess', '--dir', dir, '--canary', 'http://127.0.0.1:1/mcp'])).toMatchObject({ exit: 14, stderr: expect.stringContaining('did not say why') as string })
    expect(await run(['assess', '--dir', dir, '--canary', 'nowhere'])).toMatchObject({ exit: 2, stderr: expect.stringContaining('names no gate') as string })
  }, 90_000)
  it('is named by its endpoint', async () => {
    const held = await run(['conformance', '--target', gate.endpoint, '--token-file', gate.token_file, '--json'])
    expect([held.exit, (JSON.parse(held.stdout) as { of: object; summary: object }).summary]).toEqual([0, { held: ids.length, broken: 0, not_checked: 0 }])
    const without = await run(['conformance', '--target', gate.endpoint])
    expect([without.exit, without.stdout]).toEqual([1, expect.stringContaining('the control was not answered: identity_missing')])
    expect(await run(['conformance', '--target', 'http://127.0.0.1:1/mcp'])).toMatchObject({ exit: 14, stderr: expect.stringContaining('nothing answers') as string })
  }, 60_000)
})
