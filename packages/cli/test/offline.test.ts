import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { run } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-cli-')))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))
const file = (name: string, content: string | Buffer): string => {
  const at = path.join(root, name)
  fs.writeFileSync(at, content)
  return at
}

describe('sealwrit canon', () => {
  it('prints canonical bytes and digest', async () => {
    const { exit, stdout } = await run(['canon', file('a.json', ' {"b": 1e30, "a": "\\u00e9"} ')])
    expect(exit).toBe(0)
    expect(stdout).toMatch(/^\{"a":"é","b":1e\+30\}\nsha256:[0-9a-f]{64}\n$/)
  })
  it('reads standard input, and prints JSON', async () => {
    const { exit, stdout } = await run(['canon', '-', '--json'], { input: '[1,2]' })
    expect(exit).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ canonical: '[1,2]' })
  })
  it.each([
    ['twice.json', '{"a":1,"a":2}', 'request_malformed'],
    ['deep.json', '['.repeat(100_000), 'limit_exceeded'],
    ['big.json', '[9007199254740993]', 'arguments_not_canonical'],
    ['utf8.json', Buffer.from([0x22, 0xff, 0x22]), 'encoding_invalid'],
    ['bom.json', Buffer.from([0xef, 0xbb, 0xbf, 0x31]), 'encoding_invalid'],
    ['large.json', Buffer.alloc(1_048_577, 0x20), 'limit_exceeded'],
  ])('%s: exit 10 with its code and a hint, and nothing on stdout', async (name, content, code) => {
    const { exit, stdout, stderr } = await run(['canon', file(name, content)])
    expect({ exit, stdout }).toEqual({ exit: 10, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^sealwrit: ${code}: .*\\n  hint: `))
    const json = await run(['canon', path.join(root, name), '--json'])
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code } })
  })
  it('says which file it cannot read', async () => {
    const { exit, stderr } = await run(['canon', '/no/such/file'])
    expect(exit).toBe(1)
    expect(stderr).toBe('sealwrit: /no/such/file cannot be read (ENOENT)\n')
  })
})

describe('without a plane', () => {
  const dir = path.join(root, 'nowhere')
  it.each([['log'], ['show', '1'], ['export', 'all'], ['decide', 'ACTION'], ['doctor'], ['anchor', 'list'], ['anchor', 'now'], ['mcp', '--name', 'fs', '--', 'npx', '@modelcontextprotocol/server-filesystem', '.']])('`%s` exits with 14 and says how to start one', async (...args) => {
    const action = file('action.json', '{"type":"mcp.tool_call","target":"mcp://fs","name":"x","arguments":{}}')
    const words = args.map((word) => (word === 'ACTION' ? action : word))
    const { exit, stderr } = await run([words[0] as string, '--dir', dir, ...words.slice(1)])
    expect(stderr).toBe(`sealwrit: no plane answers on ${dir}/plane.sock; nothing ran\n  hint: start it with \`npm start\`, or name its folder with --dir\n`)
    expect(exit).toBe(14)
    expect(fs.existsSync(dir)).toBe(false)
  })
})

describe('usage', () => {
  it.each(['init', 'up', 'mcp', 'log', 'show', 'export', 'verify', 'decide', 'canon', 'anchor', 'policy', 'doctor', 'demo'])('`%s --help` has an example', async (command) => {
    const { exit, stdout } = await run([command, '--help'])
    expect(exit).toBe(0)
    expect(stdout).toContain(`Example:\n  sealwrit ${command}`)
  })
  it.each([['nonsense'], ['log', '--nonsense'], ['show'], ['mcp', '--name', 'fs'], ['mcp', '--', 'x'], ['mcp', '--name', '../x', '--', 'x'], ['log', '--limit', 'many'], ['log', '--limit', '-1'], ['up', '--listen', 'nowhere'], ['up', '--listen', '0.0.0.0:80'], ['up', '--listen', '127.0.0.1:99999']])('`%s %s %s` exits with 2, without a stack trace', async (...args) => {
    const { exit, stderr } = await run(args, { cwd: root })
    expect(exit).toBe(2)
    expect(stderr).not.toBe('')
    expect(stderr).not.toContain('    at ')
  })
})

describe('policies', () => {
  const folder = path.join(root, 'project')
  it('`init` writes them once, `policy validate` and `policy test` accept them', async () => {
    fs.mkdirSync(folder)
    const first = await run(['init'], { cwd: folder })
    expect(first.exit).toBe(0)
    expect(fs.readdirSync(folder).sort()).toEqual(['policies', 'schema.cedarschema', 'sealwrit.yaml'])
    const again = await run(['init'], { cwd: folder })
    expect(again.exit).toBe(1)
    expect(again.stderr).toContain('exist already; nothing was written')
    expect((await run(['policy', 'validate'], { cwd: folder })).stdout).toMatch(/^valid {2}4 policies, sha256:/)
    const test = await run(['policy', 'test'], { cwd: folder })
    expect(test.stdout).toContain('3 of 3 passed')
    expect(test.exit).toBe(0)
  })
  it('a test that fails names the case, and the policy that decided', async () => {
    fs.writeFileSync(path.join(folder, 'policies', 'more.test.yaml'), '- name: writes are fine\n  action: { type: mcp.tool_call, target: "mcp://fs", name: write_file, arguments: {} }\n  expect: permit\n')
    const { exit, stdout } = await run(['policy', 'test'], { cwd: folder })
    expect(stdout).toContain('FAIL  writes are fine\n          decision: expected permit, got policy_denied (decided by filesystem/no-writes)')
    expect(exit).toBe(1)
  })
  it.each([
    ['sealwrit.yaml', 'modes: open\n', /sealwrit\.yaml: .*members are owner, profile, policies, mode, receipt/s],
    ['sealwrit.yaml', 'owner: a\nowner: b\n', /sealwrit\.yaml: Map keys must be unique/],
    ['policies/bad.cedar', 'permit (', /bad\.cedar: /],
    ['policies/bad.cedar', Buffer.from([0xff, 0xfe]), /bad\.cedar cannot be read as UTF-8/],
  ])('%s with %j keeps the plane from starting, and is named', async (name, content, message) => {
    const at = path.join(folder, name)
    const before = fs.existsSync(at) ? fs.readFileSync(at) : undefined
    fs.writeFileSync(at, content)
    const { exit, stderr } = await run(['up', '--listen', '127.0.0.1:0'], { cwd: folder })
    expect(exit).toBe(1)
    expect(stderr).toMatch(message)
    if (before === undefined) fs.rmSync(at)
    else fs.writeFileSync(at, before)
  })
})
