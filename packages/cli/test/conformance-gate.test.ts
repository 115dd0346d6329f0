import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { isDenialCode } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { changed, flipped } from '../src/conformance/change.ts'
import { runGateSuite } from '../src/conformance/gate/suite.ts'
import { STEPS } from '../src/conformance/gate/steps.ts'
import { type GateRule, readRules, rulesFile, RUNS } from '../src/conformance/rules.ts'
import { PROGRAM, run, sealwrit } from '../../../test/support/processes.ts'

const SPEC = path.resolve(import.meta.dirname, '../../../spec')
const rules = readRules()
const gateRules = rules.filter((rule): rule is GateRule => rule.suite === 'gate')
const support = (file: string): string => path.join(import.meta.dirname, 'support', file)
const NODE = [process.execPath, ...PROGRAM.slice(0, -1)]

/** Ids by what came of them. */
async function verdicts(command: readonly string[] | undefined, chosen: (id: string) => boolean = () => true): Promise<Record<string, readonly string[]>> {
  const found = await runGateSuite(gateRules.filter(({ id }) => chosen(id)), { command, told: () => undefined, signal: new AbortController().signal })
  return Object.fromEntries(Object.entries(Object.groupBy(found, ({ status }) => status)).map(([status, of]) => [status, of.map(({ rule, status: how, detail }) => (how === 'not checked' ? `${rule.id}: ${detail}` : rule.id))]))
}

describe('the rules', () => {
  it('are the same in the specification and in the program', () => {
    expect(fs.readFileSync(rulesFile, 'utf8')).toBe(fs.readFileSync(path.join(SPEC, 'vectors', 'conformance.json'), 'utf8'))
  })
  it('have ids of their own that begin with their suite, and expect codes of the list', () => {
    expect(new Set(rules.map(({ id }) => id)).size).toBe(rules.length)
    for (const { id, suite, expect: codes } of rules) {
      expect(id.startsWith(`${suite}.`), id).toBe(true)
      for (const code of codes) expect(code === RUNS || isDenialCode(code), `${id} ${code}`).toBe(true)
    }
  })
  it('name a page and a section that there are', () => {
    for (const { id, spec } of rules) {
      const [page, section] = spec.split('#') as [string, string | undefined]
      const headings = [...fs.readFileSync(path.join(SPEC, page), 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, text]) => (text as string).toLowerCase().replaceAll(' ', '-').replaceAll(/[^a-z0-9-]/g, ''))
      if (section !== undefined) expect(headings, `${id}: ${spec}`).toContain(section)
    }
  })
  it('name steps that there are', () => {
    for (const { id, do: { step } } of gateRules) if (step !== undefined) expect([...Object.keys(STEPS), 'asks', 'accounts'], id).toContain(step)
  })
})

describe('a change', () => {
  const values = (name: string): string => `<${name}>`
  it('sets, adds, turns and drops by pointers, leaves its document alone, and fills in what begins with $', () => {
    const document = { a: { b: 1, 'c/d': 'AAAA' }, list: [1, 2] }
    expect(changed(document, { set: { '/a/e': '$token', '/f': { g: ['$now', '$$5'] } }, add: { '/a/b': 61 }, flip: { '/a/c~1d': 0 }, drop: ['/list/0'] }, values)).toEqual({ a: { b: 62, 'c/d': 'AQAA', e: '<token>' }, list: [2], f: { g: ['<now>', '$5'] } })
    expect(document).toEqual({ a: { b: 1, 'c/d': 'AAAA' }, list: [1, 2] })
  })
  it.each([[{ set: { '/x/y': 1 } }], [{ add: { '/a': 1 } }], [{ drop: ['/x'] }], [{ flip: { '/n': 0 } }], [{ set: { '/__proto__/x': 1 } }]])('that leads nowhere is an error, and never a rule that tries nothing: %j', (change) => {
    expect(() => changed({ a: 'b', n: 1 }, change, values)).toThrow('leads nowhere')
  })
  it.each([['sha256:00', 'sha256:01'], ['AAAAAAAAAAAAAAAAAAAAAA', 'AQAAAAAAAAAAAAAAAAAAAA'], ['AAA=', 'AQA='], ['e30.e30.AAAAAAAAAAAAAAAAAAAAAA', 'e30.e30.AQAAAAAAAAAAAAAAAAAAAA']])('turns one bit of %s', (from, to) => {
    expect(flipped(from, 0)).toBe(to)
    expect(flipped(to, 0)).toBe(from)
  })
})

describe.concurrent('gates', () => {
  it('ours holds every rule', async () => {
    expect(await verdicts(undefined)).toEqual({ held: gateRules.map(({ id }) => id) })
  }, 120_000)
  it('one that lets everything run breaks every rule', async () => {
    expect(await verdicts([process.execPath, support('open-gate.mjs')])).toEqual({ broken: gateRules.map(({ id }) => id) })
  }, 120_000)
  it.each([
    ['nothing', []],
    ['signatures', ['gate.signature.bit', 'gate.signature.root']],
    ['obligations', ['gate.obligation']],
    ['time', ['gate.time.now']],
    ['floor', ['gate.history.restart']],
    ['denials', ['gate.accounts']],
  ])('one that leaves out %s breaks what is about that, and nothing else', async (left, broken) => {
    const chosen = ['gate.asks', 'gate.signature.bit', 'gate.signature.root', 'gate.obligation', 'gate.time.now', 'gate.history.restart', 'gate.accounts']
    const found = await verdicts([...NODE, support('hasty-gate.ts'), left], (id) => chosen.includes(id))
    expect(found['broken'] ?? []).toEqual(broken)
    expect(found['held']).toEqual(chosen.filter((id) => !broken.includes(id)).sort((a, b) => gateRules.findIndex(({ id }) => id === a) - gateRules.findIndex(({ id }) => id === b)))
  }, 60_000)
  it('one that goes away for good is not tried further', async () => {
    const words = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-mortal-')), 'lives')
    // It starts twice, and serves three calls each time.
    const script = `const fs = require('fs'), file = process.argv[1], [program, ...args] = process.argv.slice(2); const lives = fs.existsSync(file) ? Number(fs.readFileSync(file)) : 2; if (lives === 0) process.exit(1); fs.writeFileSync(file, String(lives - 1)); const child = require('child_process').spawn(program, args, { stdio: ['pipe', 'inherit', 'inherit'] }); let calls = 0; require('readline').createInterface({ input: process.stdin }).on('line', (line) => { if (line.includes('tools/call') && ++calls > 3) { child.kill(); process.exit(1) } child.stdin.write(line + '\\n') })`
    const found = await verdicts([process.execPath, '-e', script, words], (id) => id.startsWith('gate.form.') || id.startsWith('gate.artifact.'))
    fs.rmSync(path.dirname(words), { recursive: true })
    expect(found['held']).toBeUndefined()
    expect(found['not checked']?.at(-1)).toContain('nothing that is permitted runs any more')
  }, 60_000)
  it('one that leaves something running leaves nothing: it is ended with all that it started', async () => {
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-conformance-left-')), 'pid')
    await expect(verdicts(['/bin/sh', '-c', `sleep 120 & echo $! > ${file}; echo nonsense`])).rejects.toThrow('does not speak MCP')
    const stat = `/proc/${fs.readFileSync(file, 'utf8').trim()}/stat` // one that was killed may wait for init to take it
    await expect.poll(() => !fs.existsSync(stat) || / Z /.test(fs.readFileSync(stat, 'utf8'))).toBe(true)
    fs.rmSync(path.dirname(file), { recursive: true })
  })
  it('one that says what is no message is not checked', async () => {
    const found = await verdicts([process.execPath, '-e', `process.stdin.once('data', (line) => { console.log(JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} })); console.log('ready to serve'); setTimeout(() => undefined, 60000) })`], (id) => id.startsWith('gate.signature.'))
    expect(found['not checked']?.[0]).toBe('gate.signature.bit: the control call did not run: ended')
  }, 60_000)
  it('one that lets nothing run is not checked, and never held', async () => {
    const found = await verdicts([process.execPath, '-e', `require('readline').createInterface({ input: process.stdin }).on('line', (line) => { const { id } = JSON.parse(line); if (id) console.log(JSON.stringify({ jsonrpc: '2.0', id, ...(id === 1 ? { result: {} } : { error: { code: 1, message: 'no' } }) })) })`], (id) => id.startsWith('gate.signature.'))
    expect(Object.keys(found)).toEqual(['not checked'])
    expect(found['not checked']?.[0]).toBe('gate.signature.bit: the control call did not run: refused')
  }, 60_000)
})

describe.concurrent('sealwrit conformance', () => {
  it('says per rule what was seen, as text and as JSON, and exits with 0 only where nothing is broken', async () => {
    const args = ['conformance', '--rule', 'gate.signature', '--gate']
    const text = await run(args)
    expect([text.exit, text.stdout]).toEqual([0, expect.stringContaining('held 4, broken 0, not checked 0')])
    const open = await run([...args, '--json', '--', process.execPath, support('open-gate.mjs')])
    expect(open.exit).toBe(1)
    const { summary, rules: found } = JSON.parse(open.stdout) as { summary: object; rules: { id: string; status: string; detail: string }[] }
    expect(summary).toEqual({ held: 0, broken: 4, not_checked: 0 })
    expect(found[0]).toMatchObject({ id: 'gate.signature.bit', status: 'broken', detail: 'it ran: canary +1' })
  }, 60_000)
  it('lists its rules, and says what is wrong with its words', async () => {
    const listed = await run(['conformance', '--list', '--json'])
    expect((JSON.parse(listed.stdout) as { rules: unknown[] }).rules).toHaveLength(rules.length)
    for (const [args, said] of [[['conformance'], 'nothing to try'], [['conformance', '--rule', 'gate.nothing', '--list'], 'no rule is called'], [['conformance', '--', 'x'], 'a command goes with --gate']] as const) {
      const { exit, stderr } = await run(args)
      expect([exit, stderr]).toEqual([2, expect.stringContaining(said)])
    }
    expect((await run(['conformance', '--gate', '--', '/nonexistent/gate'])).stderr).toContain('cannot be started')
  }, 60_000)
  it('ends what it started when it is interrupted', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-interrupted-'))
    const child = sealwrit(['conformance', '--gate', '--rule', 'gate.reply', 'gate.lease'], { env: { TMPDIR: folder } })
    let errors = ''
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    for (let i = 0; !fs.readdirSync(folder).some((name) => fs.existsSync(path.join(folder, name, 'canary'))) && i < 400; i++) await new Promise((resolve) => setTimeout(resolve, 50))
    child.kill('SIGINT')
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(130)
    expect(errors).toContain('everything that was started has ended')
    expect(fs.readdirSync(folder).filter((name) => name.startsWith('sealwrit-conformance-'))).toEqual([])
    fs.rmSync(folder, { recursive: true })
  }, 60_000)
})
