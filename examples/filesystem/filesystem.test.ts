import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { end, PROGRAM, run, startPlane } from '../../test/support/processes.ts'

// The example as it stands, copied to a folder of its own so that the checkout stays clean.
const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-example-')))
const dir = path.join(root, '.sealwrit')
const files = path.join(root, 'files')
let plane: Awaited<ReturnType<typeof startPlane>>

beforeAll(async () => {
  fs.cpSync(import.meta.dirname, root, { recursive: true, filter: (source) => !source.endsWith('.sealwrit') })
  fs.mkdirSync(path.join(files, 'drafts'))
  plane = await startPlane(dir)
})
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

async function asAgent(agent: string | undefined): Promise<{ call: (name: string, args: Record<string, unknown>) => Promise<string>; close: () => Promise<void> }> {
  const client = new Client({ name: 'writer', version: '1' }) // what a client calls itself proves nothing
  const args = [...PROGRAM, 'mcp', '--pin', '--dir', dir, '--name', 'files', ...(agent === undefined ? [] : ['--agent', agent]), '--', 'npx', '@modelcontextprotocol/server-filesystem', files]
  await client.connect(new StdioClientTransport({ command: process.execPath, args, cwd: import.meta.dirname, stderr: 'ignore' }))
  return {
    call: async (name, given) => {
      const result = (await client.callTool({ name, arguments: given })) as { isError?: boolean; _meta?: { 'sealwrit/denial'?: { code: string } } }
      return result._meta?.['sealwrit/denial']?.code ?? (result.isError === true ? 'tool_error' : 'ran')
    },
    close: () => client.close(),
  }
}

it('its policies pass their own test', async () => {
  const { exit, stdout } = await run(['policy', 'test', path.join(root, 'policies')])
  expect(stdout).toContain('8 of 8 passed')
  expect(exit).toBe(0)
})

it('lets the writer write drafts and nothing else, and others only read', async () => {
  const writer = await asAgent('writer')
  const draft = path.join(files, 'drafts', 'plan.md')
  expect(await writer.call('write_file', { path: draft, content: 'a plan' })).toBe('ran')
  expect(fs.readFileSync(draft, 'utf8')).toBe('a plan')
  expect(await writer.call('write_file', { path: path.join(files, 'q3.txt'), content: 'x' })).toBe('policy_no_match')
  expect(await writer.call('move_file', { source: draft, destination: path.join(files, 'moved.md') })).toBe('policy_denied')
  await writer.close()
  const reader = await asAgent('reader')
  expect(await reader.call('read_text_file', { path: draft })).toBe('ran')
  expect(await reader.call('write_file', { path: draft, content: 'x' })).toBe('policy_no_match')
  expect(fs.readFileSync(draft, 'utf8')).toBe('a plan')
  await reader.close()
  const pretender = await asAgent(undefined)
  expect(await pretender.call('write_file', { path: draft, content: 'x' })).toBe('policy_no_match')
  expect(fs.readFileSync(draft, 'utf8')).toBe('a plan')
  await pretender.close()
})

it('refuses a draft that is a link to a place outside', async () => {
  const outside = path.join(root, 'outside.md')
  fs.writeFileSync(outside, 'untouched')
  fs.symlinkSync(outside, path.join(files, 'drafts', 'link.md'))
  const writer = await asAgent('writer')
  expect(await writer.call('write_file', { path: path.join(files, 'drafts', 'link.md'), content: 'x' })).toBe('policy_no_match')
  expect(fs.readFileSync(outside, 'utf8')).toBe('untouched')
  await writer.close()
})
