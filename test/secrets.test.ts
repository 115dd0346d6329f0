import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as net from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import type { ChildProcess } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from './support/agent.ts'
import { end, run, sealwrit, startPlane } from './support/processes.ts'

/** Secrets of each kind; 1,000 in all. */
const EACH = 200
const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-secrets-')))
const dir = path.join(root, '.sealwrit')
let plane: Awaited<ReturnType<typeof startPlane>>
/** Everything that processes wrote outside of their protocol, and every answer that is a refusal. */
const said: string[] = []
const kept: string[] = []
const secret = (): string => {
  const one = `hunter2-${randomBytes(12).toString('hex')}`
  kept.push(one)
  return one
}

beforeAll(async () => {
  plane = await startPlane(dir)
  for (const stream of [plane.child.stdout, plane.child.stderr]) stream?.on('data', (chunk: Buffer) => said.push(chunk.toString()))
})
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

/** Sends lines to the plane's socket, and waits until it has answered or hung up. */
function overSocket(lines: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(path.join(dir, 'plane.sock'))
    let answers = ''
    const timer = setTimeout(() => socket.destroy(), 2_000)
    socket.on('data', (chunk) => {
      answers += chunk.toString()
      if (answers.split('\n').length > lines.length) socket.destroy()
    })
    socket.on('error', () => undefined)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve(answers)
    })
    socket.write(lines.map((line) => `${line}\n`).join(''))
  })
}

const processes = (children: readonly ChildProcess[]): string => children.flatMap(({ pid }) => ['cmdline', 'comm', 'environ'].map((file) => fs.readFileSync(`/proc/${pid}/${file}`, 'utf8'))).join('\n')

describe('secrets', () => {
  it(`ATK-120, I8: of ${5 * EACH} and more secrets in good and malformed requests none is in a leaf, receipt, error, log, metric, span or process title`, { timeout: 120_000 }, async () => {
    const token = fs.readFileSync(path.join(dir, 'token'), 'utf8').trim()
    const server = path.join(import.meta.dirname, 'support', 'canary-server.mjs')
    const gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'doctor', '--agent', 'sealwrit-doctor', '--', process.execPath, server, path.join(root, 'canary')])
    gateway.stderr?.on('data', (chunk: Buffer) => said.push(chunk.toString()))
    const agent = new Agent(gateway)
    await agent.initialize()

    // Good requests: permitted ones run, others are denied by policy.
    let [ran, denied] = [0, 0]
    for (let i = 0; i < EACH; i++) {
      if ((await agent.touch(secret())) === 'ran') ran++
      const answer = await agent.request('tools/call', { name: 'nothing', arguments: { password: secret(), nested: [{ [secret()]: 1 }] } })
      said.push(JSON.stringify(answer))
      if (!JSON.stringify(answer).includes('"ran"')) denied++
    }
    expect([ran, denied]).toEqual([EACH, EACH])

    // Malformed ones, at every surface.
    for (let i = 0; i < EACH; i++) {
      const bad = [
        `{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"action":{"type":"mcp.tool_call","arguments":{"password":"${secret()}"}}}}`,
        `{"jsonrpc":"2.0","id":2,"method":"decide","params":{"password":"${kept.at(-1)}"}}`,
        `{"jsonrpc":"2.0","id":3,"method":"${kept.at(-1)}","params":{}}`,
        `{"password":"${kept.at(-1)}"`,
      ]
      said.push(await overSocket([bad[i % bad.length] as string]))
      const body = [`{"action":"${secret()}"}`, `{"${kept.at(-1)}":1,"${kept.at(-1)}":2}`, `${kept.at(-1)}`, `{"selector":"${kept.at(-1)}"}`][i % 4] as string
      const url = [`/v1/authorize`, '/v1/approvals', `/v1/${kept.at(-1)}`, '/v1/kills'][(i >> 2) % 4] as string
      const response = await fetch(`${plane.url}${url}`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: i % 3 === 0 ? `Bearer ${kept.at(-1)}` : `Bearer ${token}` }, body })
      said.push(await response.text(), JSON.stringify([...response.headers]))
      expect(response.ok, `${url} ${body}`).toBe(false)
    }
    const answer = await agent.request(secret(), { password: secret() })
    said.push(JSON.stringify(answer))

    const metrics = await fetch(`${plane.url}/metrics`, { headers: { authorization: `Bearer ${token}` } }).then((response) => response.text())
    const leaves = await run(['log', 'export', '--dir', dir])
    const bundle = await run(['export', 'all', '--dir', dir, '-o', path.join(root, 'all.json')])
    expect([leaves.exit, bundle.exit]).toEqual([0, 0])
    const entries = fs.readFileSync(path.join(root, 'all.json'), 'utf8').split('\n').map((line) => line.replace(/"bodies":.*$/, '')).join('\n')
    expect(entries.match(/"entry":/g)?.length ?? 0).toBeGreaterThan(3 * EACH)
    const places: Record<string, string> = { leaves: leaves.stdout, 'entries of a bundle without their bodies': entries, metrics, 'errors and logs': said.join('\n'), processes: processes([plane.child, gateway]) }
    for (const [place, text] of Object.entries(places)) {
      expect(text.length, place).toBeGreaterThan(100)
      // A digest of it without salt would be as good as the secret where it can be guessed.
      const found = kept.filter((one) => text.includes(one) || text.includes(createHash('sha256').update(one).digest('hex')))
      expect(found, place).toEqual([])
    }
    // That they did pass through is not in doubt: what stands behind the commitments holds them, and is erased on demand.
    expect(fs.readFileSync(path.join(root, 'all.json'), 'utf8')).toContain(kept[0])
    await end(gateway)
    console.log(`secrets: ${kept.length} in ${ran + denied + 2 * EACH + 1} requests, 0 found in ${Object.keys(places).join(', ')}`)
  })
})
