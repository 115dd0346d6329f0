import { execFileSync, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { imagePlaces, type MeasuredEnvironment, measureServer, nodeClock, nodeCryptography, nodeRng } from '@sealwrit/gate'
import { canonicalize, commitment, type Digest, digestOf, factsOf, type JsonObject, parseEnvironmentDocument } from '@sealwrit/protocol'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'

const { sha256 } = nodeCryptography
const base = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-collect-')))
afterAll(() => fs.rmSync(base, { recursive: true, force: true }))
let root = base
let count = 0
beforeEach(() => {
  root = path.join(base, `${count++}`)
  write('bin/server', '\u007fELF server')
})

const write = (name: string, text: string | Buffer): string => {
  const file = path.join(root, name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
  return file
}
const C1 = '1'.repeat(40)
const C2 = '2'.repeat(40)
const DIGEST = `sha256:${'a'.repeat(64)}`
/** Time that stands still, unless a test lets each look at the clock take long. */
const measure = (change: { program?: string; variable?: string; file?: string; containerFile?: string; monotonicMs?: () => number } = {}): MeasuredEnvironment => {
  const executable = path.join(root, change.program ?? 'bin/server')
  const image = { variable: change.variable, file: change.file ?? path.join(root, 'no-image'), containerFile: change.containerFile ?? path.join(root, 'no-container') }
  return measureServer({ command: { executable, args: [], script: undefined, serverArgs: [] }, cwd: root, gateVersion: '0.1.0', image }, { monotonicMs: change.monotonicMs ?? nodeClock.monotonicMs }, nodeCryptography, nodeRng)
}
const of = (environment: MeasuredEnvironment): NonNullable<ReturnType<typeof parseEnvironmentDocument>> => {
  const document = parseEnvironmentDocument(environment.document)
  if (document === undefined) throw new Error('no document')
  return document
}
const git = (change?: Parameters<typeof measure>[0]): unknown => {
  const document = of(measure(change))
  return document.git ?? document.absent.git
}
const hasGit = spawnSync('git', ['--version']).status === 0
const run = (...args: string[]): string => execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t.test', '-c', 'init.defaultBranch=main', '-c', 'commit.gpgsign=false', ...args], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' } }).trim()

describe('the document of an environment', () => {
  it('is closed, and every optional fact is told or named as absent', () => {
    const environment = measure()
    const document = of(environment)
    expect(document.absent).toMatchObject({ git: 'none', lock: 'none', script: 'none' })
    expect(document).toMatchObject({ os: os.platform(), arch: os.arch(), kernel: os.release(), uid: process.getuid?.() })
    expect(JSON.stringify(document)).not.toContain(os.hostname()) // names stay out
    expect(environment.commit).toBe(commitment('environment', environment.salt, digestOf(canonicalize(environment.document), sha256), sha256))
    const { absent, ...without } = environment.document
    for (const wrong of [{ ...environment.document, extra: 1 }, without, { ...without, absent: {} }, { ...environment.document, git: { commit: C1 } }, { ...environment.document, uid: -1 }, { ...environment.document, kind: 'other' }, { ...environment.document, absent: { ...(absent as JsonObject), git: 'because' } }]) {
      expect(() => parseEnvironmentDocument(wrong as JsonObject), JSON.stringify(wrong)).toThrow(/environment/)
    }
    expect(parseEnvironmentDocument({ host: 'x' })).toBeUndefined() // one without a kind says nothing
  })
})

describe('the git commit', () => {
  it.runIf(hasGit)('is what git itself says: of a branch, packed, detached, in a linked worktree and on a branch without a commit', () => {
    run('init', '-q')
    expect(git()).toBe('none')
    run('add', '.')
    run('commit', '-qm', 'one')
    const head = (): string => run('rev-parse', 'HEAD')
    expect(git()).toEqual({ commit: head(), ref: 'refs/heads/main' })
    run('pack-refs', '--all')
    expect(fs.existsSync(path.join(root, '.git/refs/heads/main'))).toBe(false)
    expect(git()).toEqual({ commit: head(), ref: 'refs/heads/main' })
    run('worktree', 'add', '-q', 'tree', '-b', 'feature/x')
    write('tree/f', 'x')
    execFileSync('git', ['-C', path.join(root, 'tree'), '-c', 'user.name=t', '-c', 'user.email=t@t.test', 'commit', '-q', '--allow-empty', '-m', 'two'], { stdio: 'ignore' })
    const there = execFileSync('git', ['-C', path.join(root, 'tree'), 'rev-parse', 'HEAD'], { encoding: 'utf8' }).trim()
    expect(git({ program: 'tree/f' })).toEqual({ commit: there, ref: 'refs/heads/feature/x' })
    expect(there).not.toBe(head())
    run('checkout', '-q', '--detach')
    expect(git()).toEqual({ commit: head() })
    expect(git({ program: 'bin/server' })).toEqual({ commit: head() })
  })
  it('of SHA-256 repositories has 64 digits', () => {
    write('.git/HEAD', `${'c'.repeat(64)}\n`)
    expect(git()).toEqual({ commit: 'c'.repeat(64) })
  })
  it.each<[string, () => void, unknown]>([
    ['HEAD that names itself', () => (write('.git/HEAD', 'ref: refs/heads/a\n'), write('.git/refs/heads/a', 'ref: refs/heads/a\n')), 'malformed'],
    ['references that name each other', () => (write('.git/HEAD', 'ref: refs/heads/a\n'), write('.git/refs/heads/a', 'ref: refs/heads/b\n'), write('.git/refs/heads/b', 'ref: refs/heads/a\n')), 'malformed'],
    ['a reference that leads out', () => write('.git/HEAD', 'ref: refs/heads/../../../secret\n'), 'malformed'],
    ['a reference outside refs', () => write('.git/HEAD', 'ref: ../secret\n'), 'malformed'],
    ['an absolute reference', () => write('.git/HEAD', 'ref: /etc/passwd\n'), 'malformed'],
    ['no reference and no commit', () => write('.git/HEAD', `${'g'.repeat(40)}\n`), 'malformed'],
    ['uppercase', () => write('.git/HEAD', `${'A'.repeat(40)}\n`), 'malformed'],
    ['a second line', () => write('.git/HEAD', `${C1}\n${C2}\n`), 'malformed'],
    ['no HEAD', () => write('.git/config', ''), 'malformed'],
    ['a HEAD as long as it may be', () => write('.git/HEAD', `${C1}${'\n'.padEnd(4_056, ' ')}`), 'malformed'],
    ['a HEAD that is longer', () => write('.git/HEAD', 'x'.repeat(4_097)), 'too_large'],
    ['packed references that are larger than is read', () => {
      write('.git/HEAD', 'ref: refs/heads/a\n')
      fs.truncateSync(write('.git/packed-refs', ''), 16_777_217) // sparse
    }, 'too_large'],
    ['a loop of links for HEAD', () => (write('.git/config', ''), fs.symlinkSync('HEAD', path.join(root, '.git/HEAD'))), 'unreadable'],
    ['a loop of links for .git', () => fs.symlinkSync('.git', path.join(root, '.git')), 'unreadable'],
    ['a pipe for HEAD, which would never end', () => (write('.git/config', ''), execFileSync('mkfifo', [path.join(root, '.git/HEAD')])), 'malformed'],
    ['a pipe for .git', () => execFileSync('mkfifo', [path.join(root, '.git')]), 'malformed'],
    ['a device without end for HEAD', () => (write('.git/config', ''), fs.symlinkSync('/dev/zero', path.join(root, '.git/HEAD'))), 'malformed'],
    ['a worktree file of something else', () => write('.git', 'gitdir:\n'), 'malformed'],
    ['a worktree that is gone', () => write('.git', 'gitdir: /nowhere/at/all\n'), 'malformed'],
    ['references in a table', () => write('.git/HEAD', 'ref: refs/heads/.invalid\n'), 'not_told'],
    ['a packed line that is no commit', () => (write('.git/HEAD', 'ref: refs/heads/a\n'), write('.git/packed-refs', '# pack-refs\nzzz refs/heads/a\n')), 'malformed'],
    ['a packed reference whose name only ends alike', () => (write('.git/HEAD', 'ref: refs/heads/a\n'), write('.git/packed-refs', `${C1} refs/heads/x refs/heads/a\n`)), 'malformed'],
    ['another packed reference', () => (write('.git/HEAD', 'ref: refs/heads/a\n'), write('.git/packed-refs', `${C1} refs/heads/ab\n`)), 'none'],
  ])('hostile .git: %s is a named absence, never a guess', (_name, make, expected) => {
    make()
    expect(git()).toEqual(expected)
  })
  it.runIf(process.getuid?.() === 0)('of a repository that another user put above us is not told', () => {
    write('.git/HEAD', `${C1}\n`)
    expect(git()).toEqual({ commit: C1 })
    fs.chownSync(path.join(root, '.git'), 12_345, 12_345)
    expect(git()).toBe('not_told')
  })
})

describe('lock and image', () => {
  const lock = (program?: string): unknown => {
    const document = of(measure(program === undefined ? {} : { program }))
    return document.lock?.path ?? document.absent.lock
  }
  it('the lock is the nearest above the program; of an installed package it is that of who installed it', () => {
    write('package-lock.json', '{}')
    expect(lock()).toBe(path.join(root, 'package-lock.json'))
    write('bin/yarn.lock', '')
    expect(lock()).toBe(path.join(root, 'bin/yarn.lock'))
    write('node_modules/a/node_modules/b/index.js', '')
    write('node_modules/a/npm-shrinkwrap.json', '{}')
    expect(lock('node_modules/a/node_modules/b/index.js')).toBe(path.join(root, 'package-lock.json'))
  })
  it('a lock that is a pipe or too large is a named absence', () => {
    execFileSync('mkfifo', [path.join(root, 'bin/package-lock.json')])
    expect(lock()).toBe('malformed')
    fs.rmSync(path.join(root, 'bin/package-lock.json'))
    fs.truncateSync(write('bin/package-lock.json', ''), 67_108_865)
    expect(lock()).toBe('too_large')
  })
  it.each<[string, () => Parameters<typeof measure>[0], unknown]>([
    ['a variable', () => ({ variable: DIGEST }), { digest: DIGEST, from: 'variable' }],
    ['a variable with a name', () => ({ variable: `registry.test/app:1@${DIGEST}` }), { digest: DIGEST, from: 'variable' }],
    ['a variable that is no digest', () => ({ variable: 'app:latest' }), 'malformed'],
    ['a file', () => ({ file: write('image', `app@${DIGEST}\n`) }), { digest: DIGEST, from: 'file' }],
    ['a file that says something else', () => ({ file: write('image', 'latest\n') }), 'malformed'],
    ['a file that is too large', () => ({ file: write('image', 'x'.repeat(8_193)) }), 'too_large'],
    ['podman', () => ({ containerFile: write('containerenv', `engine="podman-5.0"\nimageid="${'b'.repeat(64)}"\n`) }), { digest: `sha256:${'b'.repeat(64)}`, from: 'file' }],
  ])('the image as told by %s', (_name, told, expected) => {
    const document = of(measure(told()))
    expect(document.image ?? document.absent.image).toEqual(expected)
  })
  it('an image that nobody tells is absent', () => {
    expect(['none', 'not_told']).toContain(of(measure()).absent.image)
    expect(imagePlaces({ SEALWRIT_IMAGE: DIGEST }).variable).toBe(DIGEST)
  })
  it('what takes longer than a look may is too_slow', () => {
    write('.git/HEAD', `${C1}\n`)
    let now = 0
    const slow = of(measure({ monotonicMs: () => (now += 2_000) })) // the program itself is read in three looks at the clock
    expect([slow.absent.git, slow.absent.lock]).toContain('too_slow')
  })
})

describe('what changes while the server runs', () => {
  it('beside the program: another commitment at once, and a new environment once it is renewed', () => {
    write('.git/HEAD', 'ref: refs/heads/main\n')
    write('.git/refs/heads/main', `${C1}\n`)
    let now = 0
    const environment = measure({ monotonicMs: () => now })
    const first = environment.commit
    environment.renew?.()
    expect(environment.commit).toBe(first)
    write('.git/refs/heads/main', `${C2}\n`)
    expect(environment.measure()).not.toBe(first)
    environment.renew?.()
    expect(environment.commit).toBe(first) // it was looked at within this second
    now += 1_000
    environment.renew?.()
    expect(environment.commit).not.toBe(first)
    expect(environment.measure()).toBe(environment.commit)
    expect(factsOf(of(environment)).git_commit).toBe(C2)
  })
  it.each<[string, () => void]>([
    ['a branch is packed, and changed there', () => (fs.rmSync(path.join(root, '.git/refs/heads/main')), write('.git/packed-refs', `${C2} refs/heads/main\n`))],
    ['HEAD is detached', () => write('.git/HEAD', `${C2}\n`)],
    ['a nearer repository appears', () => write('bin/.git/HEAD', `${C2}\n`)],
    ['a lock appears', () => write('package-lock.json', '{}')],
    ['a nearer lock appears', () => write('bin/package-lock.json', '{}')],
  ])('%s: it is seen', (_name, change) => {
    write('.git/HEAD', 'ref: refs/heads/main\n')
    write('.git/refs/heads/main', `${C1}\n`)
    const environment = measure()
    change()
    expect(environment.measure()).not.toBe(environment.commit)
  })
  it('ATK-024: another program is never taken for the one that runs', () => {
    const environment = measure()
    const first: Digest = environment.commit
    write('bin/server', '\u007fELF other')
    write('package-lock.json', '{}')
    environment.renew?.()
    expect(environment.commit).toBe(first)
    expect(environment.measure()).not.toBe(first)
  })
  it('packing without a change is no change', () => {
    write('.git/HEAD', 'ref: refs/heads/main\n')
    const loose = write('.git/refs/heads/main', `${C1}\n`)
    const environment = measure()
    write('.git/packed-refs', `# pack-refs with: peeled fully-peeled sorted \n${C1} refs/heads/main\n`)
    fs.rmSync(loose)
    expect(environment.measure()).toBe(environment.commit)
  })
})
