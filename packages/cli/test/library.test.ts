import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { copyPlain } from '@sealwrit/protocol'
import { nodeCryptography, loadPolicySet, parseCases, PolicyEngine, runCases } from '@sealwrit/control-plane'
import { afterAll, describe, expect, it } from 'vitest'
import { parseDocument } from 'yaml'
import { run } from '../../../test/support/processes.ts'
import { ACTION_CLASSES, readLibrary, type Ready, renamed, splitNames, toolsOf, withArguments } from '../src/local/library.ts'

const STARTER = path.resolve(import.meta.dirname, '../starter')
const MODULES = path.resolve(import.meta.dirname, '../../../node_modules')
const SCHEMA = fs.readFileSync(path.join(STARTER, 'schema.cedarschema'), 'utf8')
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-library-'))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))
const library = readLibrary()

function engineOf(some: readonly Ready[]): PolicyEngine {
  const files = Object.fromEntries(some.flatMap((one) => one.files.filter(([name]) => name.endsWith('.cedar'))))
  return new PolicyEngine(loadPolicySet({ ...files, 'schema.cedarschema': some.reduce(withArguments, SCHEMA) }, nodeCryptography.sha256))
}
const tested = (one: Ready, engine: PolicyEngine): readonly string[] => {
  const [name, text] = one.files.find(([file]) => file.endsWith('.test.yaml')) as [string, string]
  return runCases(parseCases(copyPlain(parseDocument(text).toJS()), name), engine).flatMap(({ name: title, failures }) => failures.map((failure) => `${title}: ${failure}`))
}
const textOf = (...places: string[]): string =>
  places.map((place) => {
    const at = path.join(MODULES, place)
    return fs.statSync(at).isFile() ? fs.readFileSync(at, 'utf8') : fs.readdirSync(at, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js')).map((name) => fs.readFileSync(path.join(at, name), 'utf8')).join('\n')
  }).join('\n')

describe('the library', () => {
  it.each(library.map((one) => [one.name, one] as const))('%s: loads without a warning, and its own tests pass, alone and beside all others', (_name, one) => {
    expect(tested(one, engineOf([one]))).toEqual([])
    expect(tested(one, engineOf(library))).toEqual([])
  })

  it.each(library.map((one) => [one.name, one] as const))('%s: nothing of it is permitted at a server with another name, and all of it is at one that it was renamed for', (name, one) => {
    const other = renamed(one, 'other')
    if (name !== 'filesystem') {
      expect(tested(other, engineOf([one])).length).toBeGreaterThan(0)
      for (const [, text] of other.files) expect(text).not.toContain(`mcp://${name}"`)
    }
    expect(tested(other, engineOf([other]))).toEqual([])
  })

  it('every tool has one class; what cannot be undone, spends, or changes who may what is nowhere permitted without a person', () => {
    const engine = engineOf(library)
    for (const one of library) {
      const names = toolsOf(one).flatMap((of) => of.names)
      expect(new Set(names).size, one.name).toBe(names.length)
      expect(Object.keys(one.tools).filter((cls) => !ACTION_CLASSES.some((known) => known === cls))).toEqual([])
      // With arguments that open as much as any can.
      const args = { owner: 'acme', branch: 'fix/a', channel_id: 'C0TEAM', sql: 'select 1', query: 'select 1', url: 'http://localhost:3000/', command: 'rm -rf /', q: 'repo:acme/x' }
      for (const cls of ['irreversible', 'spend', 'identity change'] as const) {
        const cases = (one.tools[cls] ?? []).map((tool) => ({ name: tool, action: { type: 'mcp.tool_call', target: `mcp://${one.name === 'filesystem' ? 'fs' : one.name}`, name: tool, arguments: args }, facts: { paths: 'inside' }, expect: 'permit' }))
        for (const { name: tool, got } of runCases(parseCases(cases, 'x'), engine)) expect(got['decision'], `${one.name} ${tool} is ${cls}`).not.toBe('permit')
      }
    }
  })

  it('names tools that the servers have, and all of those of the small ones', () => {
    const own = (name: string): readonly string[] => toolsOf(library.find((one) => one.name === name) as Ready).flatMap((of) => of.names)
    const servers = { memory: ['@modelcontextprotocol/server-memory/dist'], 'sequential-thinking': ['@modelcontextprotocol/server-sequential-thinking/dist'], everything: ['@modelcontextprotocol/server-everything/dist'], browser: ['playwright-core/lib/coreBundle.js'] }
    for (const [name, places] of Object.entries(servers)) {
      const text = textOf(...places)
      expect(own(name).filter((tool) => !text.includes(`"${tool}"`) && !text.includes(`'${tool}'`)), name).toEqual([])
      const registered = [...text.matchAll(/registerTool\("([a-z_-]+)"/g)].map(([, tool]) => tool as string)
      expect(registered.filter((tool) => !own(name).includes(tool)), name).toEqual([])
    }
  })

  it('a schema gets what the policies read, once, and is refused where it says something else', () => {
    const one = { name: 'x', arguments: { sql: 'String', paths: 'Set<String>' } }
    const schema = withArguments(SCHEMA, one)
    expect(schema.match(/ {2}sql\?: String,\n\};/)).not.toBeNull()
    expect(withArguments(schema, one)).toBe(schema)
    expect(() => withArguments(SCHEMA, { name: 'x', arguments: { path: 'Long' } })).toThrow('declares the argument path as String')
    expect(() => withArguments('entity A;', one)).toThrow('has no `type Arguments')
    expect(splitNames(' a, b,,c ')).toEqual(['a', 'b', 'c'])
  })
})

describe('init --with, policy add and policy library', () => {
  it('write policies that load and pass, change the schema, and leave everything as it was where anything is wrong', { timeout: 120_000 }, async () => {
    const cwd = path.join(root, 'project')
    fs.mkdirSync(cwd)
    const cli = (...args: string[]): ReturnType<typeof run> => run(args, { cwd })
    expect((await cli('init', '--with', 'memory,nothing')).exit).toBe(2)
    expect(fs.readdirSync(cwd)).toEqual([])
    expect((await cli('init', '--with', 'memory,shell')).exit).toBe(0)
    expect(fs.readdirSync(path.join(cwd, 'policies')).filter((name) => name.endsWith('.cedar')).sort()).toEqual(['doctor.cedar', 'filesystem.cedar', 'memory.cedar', 'shell.cedar'])
    const before = fs.readFileSync(path.join(cwd, 'schema.cedarschema'), 'utf8')
    expect(before).toContain('command?: String')
    expect(JSON.parse((await cli('policy', 'add', 'github', '--as', 'gh', '--json')).stdout)).toMatchObject({ changed: true })
    const after = fs.readFileSync(path.join(cwd, 'schema.cedarschema'), 'utf8')
    expect(after).toContain('owner?: String')
    expect(await cli('policy', 'add', 'github', '--as', 'gh')).toMatchObject({ exit: 1, stderr: expect.stringContaining('gh.cedar') as string })
    expect((await cli('policy', 'add', 'github', 'slack', '--as', 'gh')).exit).toBe(2)
    expect((await cli('policy', 'add', 'slack', '--as', '-x')).exit).not.toBe(0) // no name of a policy file: taken back
    expect(fs.readFileSync(path.join(cwd, 'schema.cedarschema'), 'utf8')).toBe(after)
    expect(fs.readdirSync(path.join(cwd, 'policies')).filter((name) => name.includes('-x'))).toEqual([])
    expect((await cli('policy', 'test')).stdout).toMatch(/(\d+) of \1 passed/)
    const listed = JSON.parse((await cli('policy', 'library', '--json')).stdout) as { library: { name: string }[] }
    expect(listed.library.map(({ name }) => name)).toEqual(library.map(({ name }) => name))
  })
})
