import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as http from 'node:http'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-export-')))
const dir = path.join(root, '.sealwrit')
const canary = (i: number): string => `CANARY-${String(i).padStart(4, '0')}-${'x'.repeat(16)}`
let plane: Awaited<ReturnType<typeof startPlane>>
let size = 0

/** An MCP server that knows one tool, calls everything a success and says a secret each time. */
const SERVER = `
import { createInterface } from 'node:readline'
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method } = JSON.parse(line)
  if (id === undefined) return
  const result = method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'canary', version: '1' } }
    : method === 'tools/list' ? { tools: [{ name: 'touch', inputSchema: { type: 'object' } }] } : { content: [{ type: 'text', text: 'CANARY-in-a-result' }] }
  process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n')
})
`

async function govern(work: (agent: Agent, gateway: ChildProcess) => Promise<void>): Promise<void> {
  const gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'doctor', '--agent', 'sealwrit-doctor', '--', process.execPath, path.join(root, 'server.mjs')], { cwd: root })
  gateway.stderr?.resume()
  const agent = new Agent(gateway)
  expect(await agent.initialize()).toBe(true)
  await work(agent, gateway)
  await end(gateway)
}
const lines = (text: string): Record<string, unknown>[] => {
  expect(text.endsWith('\n') || text === '').toBe(true)
  return text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as Record<string, unknown>)
}
const exported = (...args: string[]): ReturnType<typeof run> => run(['log', 'export', '--dir', dir, ...args])

beforeAll(async () => {
  fs.writeFileSync(path.join(root, 'server.mjs'), SERVER)
  plane = await startPlane(dir)
  await govern(async (agent, gateway) => {
    for (let i = 0; i < 200; i++) {
      const secret = canary(i)
      if (i % 4 === 0) await agent.request('tools/call', { name: 'touch', arguments: { id: secret, [secret]: [secret] }, _meta: { progressToken: secret, traceparent: secret } })
      else if (i % 4 === 1) await agent.request('resources/read', { uri: `file:///${secret}` })
      else if (i % 4 === 2) await agent.request('tools/call', { name: 'touch', arguments: { id: 'x' }, [secret]: secret })
      else gateway.stdin?.write(`${secret}\n{"jsonrpc":"2.0","id":1,"id":2,"method":"${secret}"}\n`)
    }
    await agent.request('ping', {})
  })
  size = ((await run(['log', '--dir', dir, '--json', '--limit', '1'])).stdout.match(/"seq": (\d+)/)?.[1] as unknown as number) * 1 + 1
}, 120_000)
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('sealwrit log export', () => {
  it('is beside `sealwrit log`, which lists as before', async () => {
    expect((await run(['log', '--dir', dir, '--limit', '3'])).stdout.split('\n')).toHaveLength(5) // three, and where the older ones are
    expect((await run(['log', '--help'])).stdout).toMatch(/--before[\s\S]*export/)
    expect((await run(['log', 'export', '--help'])).stdout).toMatch(/--since[\s\S]*Example:/)
  })
  it.each(['cloudevents', 'ocsf', 'jsonl'])('%s: lines = entries, in the order of the log, and where the next export begins', async (format) => {
    const { exit, stdout, stderr } = await exported('--format', format)
    expect(exit).toBe(0)
    const seqs = lines(stdout).map((event) => (format === 'cloudevents' ? Number((event['id'] as string).split('/').pop()) : format === 'ocsf' ? (event['metadata'] as { sequence: number }).sequence : event['seq']))
    expect(seqs).toEqual(Array.from({ length: size }, (_, i) => i))
    expect(stderr).toBe(`${size} entries exported; the next export begins with --since ${size}\n`)
  })
  it('a bundle of the same log holds the same leaves', async () => {
    const bundle = JSON.parse((await run(['export', 'all', '--dir', dir])).stdout) as { entries: { entry: string }[] }
    expect(lines((await exported('--format', 'jsonl')).stdout)).toEqual(bundle.entries.map(({ entry }) => JSON.parse(entry)))
  })
  it('resumed in the middle it equals the whole, also across files', async () => {
    const whole = (await exported()).stdout
    const [first, second] = [path.join(root, 'a.jsonl'), path.join(root, 'b.jsonl')]
    const cut = whole.split('\n').slice(0, 41).join('\n').concat('\n')
    fs.writeFileSync(first, cut) // what an export that was ended leaves
    const { stdout } = await exported('--since', '41', '-o', second, '--json')
    expect(JSON.parse(stdout)).toEqual({ file: second, entries: size - 41, next: size })
    expect(fs.readFileSync(first, 'utf8') + fs.readFileSync(second, 'utf8')).toBe(whole)
    expect((fs.statSync(second).mode & 0o777).toString(8)).toBe('600')
  })
  it('at the end of the log there is nothing, and beyond it nothing is invented', async () => {
    expect(await exported('--since', String(size))).toEqual({ exit: 0, stdout: '', stderr: `0 entries exported; the next export begins with --since ${size}\n` })
    const beyond = await exported('--since', String(size + 1))
    expect(beyond.exit).toBe(2)
    expect(beyond.stderr).toContain(`the log has ${size} entries`)
  })
  it('never writes over a file', async () => {
    const file = path.join(root, 'kept.jsonl')
    fs.writeFileSync(file, 'kept')
    const { exit, stderr } = await exported('-o', file)
    expect(exit).toBe(1)
    expect(stderr).toMatch(/exists already\n {2}hint: .*>>/)
    expect(fs.readFileSync(file, 'utf8')).toBe('kept')
  })
  it.each([
    [['--format', 'xml'], 2, '--format takes cloudevents, ocsf, jsonl, not `xml`'],
    [['--since', '-1'], 2, '--since takes a leaf index'],
    [['--since', '1e3'], 2, '--since takes a leaf index'],
    [['--limit', '3'], 2, 'unknown option'],
  ])('%j is a mistake in its use', async (args, exit, message) => {
    const result = await exported(...args)
    expect(result.exit).toBe(exit)
    expect(result.stderr).toContain(message)
    expect(result.stdout).toBe('')
  })
  it('without a plane it says so, with the exit code for it', async () => {
    const { exit, stderr } = await run(['log', 'export', '--dir', path.join(root, 'nowhere')])
    expect(exit).toBe(14)
    expect(stderr).toContain('no plane answers')
  })
  it('a reader that has enough ends it without a fault', async () => {
    const child = sealwrit(['log', 'export', '--dir', dir, '--format', 'ocsf', '--follow'])
    const head = spawn('head', ['-n', '1'], { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdout?.pipe(head.stdin)
    head.stdin.on('error', () => child.stdout?.destroy())
    let errors = ''
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    const grow = setInterval(() => void run(['doctor', '--dir', dir]), 3_000) // something new to write, so that the closed pipe is noticed
    const code = await new Promise((resolve) => child.once('close', resolve))
    clearInterval(grow)
    expect(code).toBe(0)
    expect(errors).not.toContain('EPIPE')
  }, 60_000)
  it('a plane that goes away ends --follow with the exit code for it, and what was exported stays said', async () => {
    const other = path.join(root, 'other')
    const second = await startPlane(other)
    const child = sealwrit(['log', 'export', '--dir', other, '--follow'])
    let [out, errors] = ['', '']
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      void end(second.child)
    })
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(14)
    expect(errors).toMatch(new RegExp(`^${lines(out).length} entries exported; the next export begins with --since ${lines(out).length}\\nsealwrit: no plane answers`))
  }, 60_000)
  it('--follow goes on with what is added, until it is interrupted; then it says where it stands', async () => {
    const child = sealwrit(['log', 'export', '--dir', dir, '--follow', '--format', 'jsonl'])
    let [out, errors] = ['', '']
    child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    const until = async (test: () => boolean): Promise<void> => {
      for (let i = 0; i < 600 && !test(); i++) await new Promise((resolve) => setTimeout(resolve, 50))
      expect(test()).toBe(true)
    }
    await until(() => out.split('\n').length > size)
    const before = out.split('\n').length
    await govern(async (agent) => {
      expect(await agent.touch('later')).toBe('ran')
    })
    await until(() => out.split('\n').length >= before + 3) // the session, the permit, the receipt
    const code = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGINT')
    expect(await code).toBe(0)
    const events = lines(out)
    expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: events.length }, (_, i) => i))
    expect(errors).toBe(`${events.length} entries exported; the next export begins with --since ${events.length}\n`)
  }, 60_000)
})

describe('S30, I8: secrets', () => {
  it.each(['cloudevents', 'ocsf', 'jsonl'])('of 200 canary secrets in arguments, results, ids and malformed lines none is in an export as %s, in plain or in base64', async (format) => {
    const { stdout, stderr } = await exported('--format', format)
    const decoded = [...stdout.matchAll(/[A-Za-z0-9_-]{40,}/g)].map(([text]) => Buffer.from(text, 'base64url').toString('latin1')).join('\n')
    for (const text of [stdout, stderr, decoded]) expect(text).not.toContain('CANARY')
    expect(decoded).toContain('"outcome":"completed"') // the search looks into tokens
    const bundle = (await run(['export', 'all', '--dir', dir])).stdout
    expect(bundle).toContain('CANARY') // and could find one: bodies are in a bundle, and nowhere here
  })
  it('nor in the metrics of the plane that took them all', async () => {
    const token = fs.readFileSync(path.join(dir, 'token'), 'utf8').trim()
    const answer = await new Promise<{ status: number; text: string }>((resolve) =>
      http.get(`${plane.url}/metrics`, { headers: { authorization: `Bearer ${token}` }, agent: false }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk)).on('end', () => resolve({ status: response.statusCode as number, text }))
      }),
    )
    expect(answer.status).toBe(200)
    expect(answer.text).toMatch(/sealwrit_decisions_total\{decision="permit",code="none",by="plane"\} [1-9]/)
    expect(answer.text).toMatch(/sealwrit_decisions_total\{decision="deny",code="request_malformed",by="gate"\} [1-9]/)
    expect(answer.text).toMatch(/\nsealwrit_fail_open_total 0\n/)
    expect(answer.text).not.toContain('CANARY')
    expect(answer.text).not.toContain(token)
  })
})
