import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { imagePlaces, measureServer, nodeClock, nodeCryptography, nodeRng, pathFacts, resolveCommand, type ResolvedCommand, serverRoots } from '@sealwrit/gate'
import type { JsonObject } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Denied } from '@sealwrit/protocol'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-env-')))
const at = (...names: string[]): string => path.join(root, ...names)
const write = (name: string, text: string, mode = 0o644): string => {
  fs.mkdirSync(path.dirname(at(name)), { recursive: true })
  fs.writeFileSync(at(name), text, { mode })
  return at(name)
}
beforeAll(() => {
  write('in/a.txt', 'a')
  write('in/deep/b.txt', 'b')
  write('inside/c.txt', 'c') // begins with the root's name, and is not in it
  write('out/secret.txt', 's')
  fs.symlinkSync(at('out'), at('in/link'))
  fs.symlinkSync(at('out/secret.txt'), at('in/file-link'))
  fs.symlinkSync(at('out/nothing-yet'), at('in/dangling'))
  fs.symlinkSync(at('in/loop-b'), at('in/loop-a'))
  fs.symlinkSync(at('in/loop-a'), at('in/loop-b'))
  fs.symlinkSync(at('in/deep'), at('in/inner-link'))
})
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))

describe('where path arguments lead', () => {
  const facts = (args: JsonObject): string => pathFacts(args, [at('in')], root).paths
  it.each<[string, () => JsonObject, string]>([
    ['no path at all', () => ({ query: 'x' }), 'none'],
    ['a file inside', () => ({ path: at('in/a.txt') }), 'inside'],
    ['relative to the working directory', () => ({ path: 'in/a.txt' }), 'inside'],
    ['the root itself', () => ({ path: at('in') }), 'inside'],
    ['a new file inside', () => ({ path: at('in/new/deep/file') }), 'inside'],
    ['a link that stays inside', () => ({ path: at('in/inner-link/b.txt') }), 'inside'],
    ['`..` that stays inside', () => ({ path: `${root}/in/deep/../a.txt` }), 'inside'],
    ['a list inside', () => ({ paths: [at('in/a.txt'), at('in/deep/b.txt')] }), 'inside'],
    ['a file URL inside', () => ({ uri: `file://${at('in/a.txt')}` }), 'inside'],
    ['outside', () => ({ path: '/etc/passwd' }), 'outside'],
    ['a folder whose name begins with the root’s', () => ({ path: at('inside/c.txt') }), 'outside'],
    ['`..` that leads out', () => ({ path: `${root}/in/../out/secret.txt` }), 'outside'],
    ['many `..`', () => ({ path: `${'../'.repeat(40)}etc/passwd` }), 'outside'],
    ['a link to a folder outside', () => ({ path: at('in/link/secret.txt') }), 'outside'],
    ['a link to a file outside', () => ({ path: at('in/file-link') }), 'outside'],
    ['a dangling link to outside', () => ({ path: at('in/dangling') }), 'outside'],
    ['one of a list outside', () => ({ paths: [at('in/a.txt'), '/etc/passwd'] }), 'outside'],
    ['a second member outside', () => ({ source: at('in/a.txt'), destination: '/etc/cron.d/x' }), 'outside'],
    ['nested deep', () => ({ options: [{ target: { file: '/etc/passwd' } }] }), 'outside'],
    ['an encoded file URL', () => ({ uri: 'file:///%65tc/passwd' }), 'outside'],
    ['a file URL of another host', () => ({ uri: 'file://evil.test/etc/passwd' }), 'unresolved'],
    ['another scheme', () => ({ uri: 'https://evil.test/' }), 'unresolved'],
    ['a drive letter', () => ({ path: 'C:\\Windows' }), 'unresolved'],
    ['NUL', () => ({ path: `${at('in/a.txt')}\0/../../etc` }), 'unresolved'],
    ['a home folder', () => ({ path: '~/.ssh/id_ed25519' }), 'unresolved'],
    ['quotes', () => ({ path: '"/etc/passwd"' }), 'unresolved'],
    ['empty', () => ({ path: '' }), 'unresolved'],
    ['a number', () => ({ path: 3 }), 'unresolved'],
    ['a loop of links', () => ({ path: at('in/loop-a') }), 'unresolved'],
    ['a link and `..`, which text and kernel read differently', () => ({ path: `${root}/in/link/../in/a.txt` }), 'unresolved'],
    ['a file used as a folder', () => ({ path: at('in/a.txt/x') }), 'unresolved'],
    ['a thousand and one', () => ({ paths: Array.from({ length: 1_001 }, () => at('in/a.txt')) }), 'unresolved'],
  ])('%s', (_name, args, expected) => expect(facts(args())).toBe(expected))
  it('without roots nothing is inside', () => expect(pathFacts({ path: at('in/a.txt') }, [], root).paths).toBe('outside'))
  it('the roots are the folders among the server’s own arguments, links resolved', () => {
    expect(serverRoots(['--flag', 'in', at('in/link'), 'nowhere', at('in/a.txt')], root)).toEqual([at('in'), at('out')])
  })
})

describe('the command of a server', () => {
  const options = { cwd: root, pathVariable: at('bin'), node: process.execPath, searchFrom: [] }
  const resolve = (...command: string[]): ResolvedCommand => resolveCommand(command, options)
  const code = (...command: string[]): string => {
    try {
      resolve(...command)
      return 'ok'
    } catch (error) {
      if (error instanceof Denied) return error.code
      throw error
    }
  }
  beforeAll(() => {
    write('bin/tool', '\u007fELF', 0o755)
    write('bin/not-executable', '\u007fELF', 0o644)
    write('bin/node', '\u007fELF', 0o755)
    write('bin/script', '#!/usr/bin/env node\n', 0o755)
    write('bin/with-options', '#!/usr/bin/env -S node --require x\n', 0o755)
    write('bin/long', `#!/${'x'.repeat(300)}\n`, 0o755)
    write('server.mjs', '')
    write('node_modules/@scope/server/package.json', JSON.stringify({ version: '1.2.3', bin: { server: 'dist/index.js' } }))
    write('node_modules/@scope/server/dist/index.js', '')
    write('node_modules/plain/package.json', JSON.stringify({ version: '2.0.0', bin: './run.js' }))
    write('node_modules/plain/run.js', '')
    write('node_modules/no-bin/package.json', JSON.stringify({ version: '1.0.0' }))
  })
  it('is an absolute executable, with the script that an interpreter runs', () => {
    expect(resolve('tool', '--x')).toEqual({ executable: at('bin/tool'), args: ['--x'], script: undefined, serverArgs: ['--x'] })
    expect(resolve('node', 'server.mjs', 'in')).toEqual({ executable: at('bin/node'), args: [at('server.mjs'), 'in'], script: at('server.mjs'), serverArgs: ['in'] })
    expect(resolve('./bin/script', 'in')).toMatchObject({ executable: fs.realpathSync(process.execPath), script: at('bin/script') }) // a Node script runs on the gate’s own Node
  })
  it('`npx PACKAGE` is the installed entry script under the gate’s own Node, never npx', () => {
    const node = fs.realpathSync(process.execPath)
    expect(resolve('npx', '-y', '@scope/server', 'in')).toEqual({ executable: node, args: [at('node_modules/@scope/server/dist/index.js'), 'in'], script: at('node_modules/@scope/server/dist/index.js'), serverArgs: ['in'] })
    expect(resolve('npx', '@scope/server@1.2.3')).toMatchObject({ executable: node })
    expect(resolve('/usr/bin/npx', 'plain')).toMatchObject({ script: at('node_modules/plain/run.js') })
  })
  it.each([
    [['npx', '@scope/server@9.9.9'], 'environment_unattested'],
    [['npx', 'not-installed'], 'environment_unattested'],
    [['npx', 'no-bin'], 'environment_unattested'],
    [['npx', '../../etc'], 'environment_unattested'],
    [['npx', '--package', 'x'], 'environment_unattested'],
    [['npx'], 'environment_unattested'],
    [['uvx', 'server'], 'environment_unattested'],
    [['npm', 'exec', 'x'], 'environment_unattested'],
    [['yarn', 'dlx', 'x'], 'environment_unattested'],
    [['node', '-e', 'x'], 'interpreter_unbound'],
    [['node', '--require', 'x', 'server.mjs'], 'interpreter_unbound'],
    [['node'], 'interpreter_unbound'],
    [['node', 'missing.mjs'], 'environment_unattested'],
    [['with-options'], 'interpreter_unbound'],
    [['long'], 'interpreter_unbound'],
    [['not-executable'], 'environment_unattested'],
    [['missing'], 'environment_unattested'],
    [['/no/such/program'], 'environment_unattested'],
    [[''], 'environment_unattested'],
    [[], 'environment_unattested'],
  ])('ATK-027, ATK-029: %j is %s', (command, expected) => expect(code(...command)).toBe(expected))
  it('ATK-027: `.` and empty entries of PATH are never searched', () => {
    write('planted', '\u007fELF', 0o755)
    for (const pathVariable of ['.', '', `:${at('bin')}`, `.:${at('bin')}:`]) {
      expect(() => resolveCommand(['planted'], { ...options, pathVariable }), pathVariable).toThrow(/environment/)
    }
  })
})

describe('the measured environment', () => {
  const measured = (): ReturnType<typeof measureServer> =>
    measureServer({ command: { executable: write('prog', '\u007fELF first', 0o755), args: ['in'], script: write('entry.mjs', 'first'), serverArgs: ['in'] }, cwd: at('in'), gateVersion: '0.1.0', image: imagePlaces({}) }, nodeClock, nodeCryptography, nodeRng)
  it('stays what it was while nothing changes, and names what was measured', () => {
    const environment = measured()
    expect(environment.measure()).toBe(environment.commit)
    expect(environment).toMatchObject({ level: 'software', document: { cwd: at('in'), executable: { path: at('prog') }, script: { path: at('entry.mjs') }, gate_version: '0.1.0' } })
    expect(measured().commit).not.toBe(environment.commit) // a fresh salt each time
  })
  it.each<[string, () => void]>([
    ['ATK-024: the executable is replaced by rename', () => fs.renameSync(write('prog.new', '\u007fELF other', 0o755), at('prog'))],
    ['ATK-025: the executable is rewritten in place', () => fs.writeFileSync(at('prog'), '\u007fELF other')],
    ['ATK-025: the script is rewritten in place, same length', () => fs.writeFileSync(at('entry.mjs'), 'fires')],
    ['ATK-025: the script is rewritten and its times are put back', () => {
      const { atime, mtime } = fs.statSync(at('entry.mjs'))
      fs.writeFileSync(at('entry.mjs'), 'fires')
      fs.utimesSync(at('entry.mjs'), atime, mtime)
    }],
    ['the script is gone', () => fs.rmSync(at('entry.mjs'))],
    ['ATK-031: the working directory is another one', () => {
      fs.renameSync(at('in'), at('in-old'))
      fs.mkdirSync(at('in'))
    }],
  ])('%s: its commitment is no longer the one', (name, change) => {
    const environment = measured()
    change()
    let commit: string
    try {
      commit = environment.measure()
    } catch (error) {
      commit = error instanceof Denied ? error.code : 'threw'
    }
    expect(commit).not.toBe(environment.commit)
    if (name.startsWith('ATK-031')) {
      fs.rmdirSync(at('in'))
      fs.renameSync(at('in-old'), at('in'))
    }
  })
  it('a rewrite with the same bytes is no change', () => {
    const environment = measured()
    fs.writeFileSync(at('entry.mjs'), 'first')
    expect(environment.measure()).toBe(environment.commit)
  })
  it('what cannot be read is environment_unattested', () => {
    expect(() => measureServer({ command: { executable: at('missing'), args: [], script: undefined, serverArgs: [] }, cwd: root, gateVersion: '0', image: imagePlaces({}) }, nodeClock, nodeCryptography, nodeRng)).toThrow(/environment/)
  })
})
