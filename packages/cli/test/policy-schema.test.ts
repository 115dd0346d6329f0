import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { SocketClient } from '@sealwrit/control-plane/client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-schema-')))
const dir = path.join(root, '.sealwrit')
const served = path.join(root, 'served')
let plane: Awaited<ReturnType<typeof startPlane>>
const schema = (...args: string[]): ReturnType<typeof run> => run(['policy', 'schema', ...args, '--dir', dir])
const file = (): string => [path.join(dir, 'policies/schema.cedarschema'), path.join(dir, 'schema.cedarschema')].find((one) => fs.existsSync(one)) as string

/** Has a gateway list the tools of server-filesystem once, and pins what was seen. */
async function pinned(): Promise<void> {
  const gateway = sealwrit(['mcp', '--name', 'files', '--dir', dir, '--', process.execPath, path.resolve(import.meta.dirname, '../../../node_modules/@modelcontextprotocol/server-filesystem/dist/index.js'), served])
  const asked = [{ id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } } }, { id: 2, method: 'tools/list' }]
  let text = ''
  gateway.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  for (const one of asked) {
    gateway.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', ...one })}\n`)
    await vi.waitFor(() => expect(text).toContain(`"id":${one.id}`), { timeout: 30_000 })
  }
  const client = new SocketClient(path.join(dir, 'plane.sock'))
  try {
    const { tools } = await client.request('tools.list', { target: 'mcp://files', limit: 100 })
    expect(tools.length).toBeGreaterThan(10)
    await client.request('tools.pin', { target: 'mcp://files', tools: tools.map(({ name, digest }) => ({ name, digest })) })
  } finally {
    client.close()
  }
  await end(gateway)
}

beforeAll(async () => {
  fs.mkdirSync(served)
  plane = await startPlane(dir)
}, 60_000)
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('policy schema', { timeout: 120_000 }, () => {
  it('says that nothing is pinned; then shows what pinned tools take, writes what is chosen, and the set can be activated with it', async () => {
    expect(await schema()).toMatchObject({ exit: 0, stdout: 'nothing to declare\nno tool is pinned; `sealwrit tool list` shows what gates saw\n' })
    await pinned()
    const before = fs.readFileSync(file(), 'utf8')
    const shown = await schema('--target', 'mcp://files')
    expect(shown.exit).toBe(0)
    expect(shown.stdout).toContain('left out  edits: no type that policies read\n')
    expect(shown.stdout).toMatch(/note +content, .*: a call with more than 8,192 characters/)
    expect(shown.stdout).toContain('+   dryRun?: Bool,\n')
    expect(shown.stdout).toContain('nothing was written; add --write')
    expect(fs.readFileSync(file(), 'utf8')).toBe(before)

    const written = await schema('dryRun', 'head', '--write')
    expect(written).toMatchObject({ exit: 0, stdout: `${file()}\n+   dryRun?: Bool,\n+   head?: String,\nwritten  it counts when it is activated: sealwrit policy activate\n` })
    expect(fs.readFileSync(file(), 'utf8')).toBe(before.replace('  uri?: String,\n', '  uri?: String,\n  dryRun?: Bool,\n  head?: String,\n'))
    expect(await schema('dryRun')).toMatchObject({ stdout: 'nothing to declare: dryRun is declared already\n' })
    fs.writeFileSync(path.join(dir, 'policies', 'dry.cedar'), '@id("dry") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://files/edit_file") when { context.args has dryRun && context.args.dryRun };\n')
    expect(await run(['policy', 'activate', '--dir', dir])).toMatchObject({ exit: 0 })
    const asked = JSON.parse((await schema('--json')).stdout) as { add: { name: string }[]; declared: string[]; written: boolean; schema: string }
    expect(asked).toMatchObject({ written: false, declared: expect.arrayContaining(['dryRun', 'head', 'path']) })
    expect(asked.schema).toContain('content?: String')
  })
  it('says what is wrong: no plane, a schema without arguments, a name that no tool has', async () => {
    expect((await schema('gone')).stdout).toContain('left out  gone: no pinned tool has it\n')
    const text = fs.readFileSync(file(), 'utf8')
    fs.writeFileSync(file(), text.replace('args: Arguments,', ''))
    const none = await schema('content', '--write')
    expect(none.exit).not.toBe(0)
    expect(none.stderr).toContain('context.args')
    fs.writeFileSync(file(), text)
    expect((await run(['policy', 'schema', '--dir', path.join(root, 'nowhere')])).exit).not.toBe(0)
  })
})
