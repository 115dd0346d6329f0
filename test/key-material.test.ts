import { spawnSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { nodeCryptography } from '@sealwrit/gate'
import { parseLogKey, verifyCheckpoint } from '@sealwrit/protocol'
import { loadKeyFile } from '../packages/cli/src/adapters/key-file.ts'
import { machineSecretFile } from '../packages/cli/src/adapters/passphrase.ts'
import { buildProgram } from '../packages/cli/src/program.ts'
import { end, run, sealwrit, startPlane } from './support/processes.ts'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-keys-'))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))
const SRC = path.resolve(import.meta.dirname, '../packages')
const sources = fs.readdirSync(SRC).flatMap((name) => {
  const dir = path.join(SRC, name, 'src')
  return fs.existsSync(dir) ? (fs.readdirSync(dir, { recursive: true }) as string[]).filter((file) => file.endsWith('.ts')).map((file) => path.join(name, 'src', file)) : []
})
const read = (file: string): string => fs.readFileSync(path.join(SRC, file), 'utf8')
const naming = (pattern: RegExp): string[] => sources.filter((file) => pattern.test(read(file))).sort()

describe('ATK-065: randomness', () => {
  it('comes from the generator of the operating system, at the edges of a process and nowhere else', () => {
    expect(sources.length).toBeGreaterThan(200)
    expect(naming(/randomBytes|randomUUID|randomInt|randomFill|getRandomValues/)).toEqual(
      ['cli/src/adapters/passphrase.ts', 'cli/src/commands/witness.ts', 'cli/src/local/folder.ts', 'control-plane/src/adapters/node.ts', 'control-plane/src/store/postgres/store.ts', 'gate/src/adapters/node.ts'],
    )
    expect(naming(/Math\.random|seedrandom|Math\.floor\(Date|new Date\(\)/)).toEqual([])
    expect(naming(/seededRng/).filter((file) => !file.includes('/testing/'))).toEqual([])
  })
  it('makes keys of Ed25519 and ML-DSA-65 alone, whose signatures need none', () => {
    const made = sources.flatMap((file) => [...read(file).matchAll(/generateKeyPair\w*\(([^)]*)\)/g)].map(([, what]) => what))
    expect(new Set(made)).toEqual(new Set(["'ed25519'", "'ml-dsa-65'"]))
    expect(naming(/generateKeyPair/)).toEqual(['cli/src/adapters/key-file.ts'])
  })
})

/** The secret part of the key in a file, in the spellings in which it could be found. */
function spellings(file: string): string[] {
  const secret = fs.readFileSync(machineSecretFile()).subarray(0, -1)
  const key = createPrivateKey({ key: fs.readFileSync(file), passphrase: secret })
  const seed = Buffer.from((key.export({ format: 'jwk' }) as { d: string }).d, 'base64url')
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' })
  return [seed.toString('hex'), seed.toString('base64'), seed.toString('base64url'), seed.toString('latin1'), pkcs8.toString('base64'), pkcs8.toString('hex')]
}

describe('ATK-066: the log key', () => {
  it('lies encrypted, and is in no string of the plane’s heap, its command line, its output or an error', async () => {
    const dir = path.join(root, 'heap', '.sealwrit')
    const child = sealwrit(['up', '--json', '--activate', '--dir', dir, '--listen', '127.0.0.1:0'], { cwd: root, env: { NODE_OPTIONS: '--heapsnapshot-signal=SIGUSR2' } })
    let printed = ''
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    try {
      for (let i = 0; !printed.trimEnd().endsWith('}') && i < 600; i++) await new Promise((resolve) => setTimeout(resolve, 50))
      const file = path.join(dir, 'keys', 'log.pem')
      expect(fs.readFileSync(file, 'utf8')).toContain('BEGIN ENCRYPTED PRIVATE KEY')
      const wanted = spellings(file)
      child.kill('SIGUSR2')
      const found = (): string | undefined => fs.readdirSync(root).find((name) => name.endsWith('.heapsnapshot'))
      let [size, last] = [0, -1]
      for (let i = 0; (found() === undefined || size === 0 || size !== last) && i < 600; i++) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        last = size
        size = found() === undefined ? 0 : fs.statSync(path.join(root, found() as string)).size
      }
      const heap = fs.readFileSync(path.join(root, found() as string), 'latin1')
      expect(heap).toContain('log.pem') // it is the plane’s
      const ps = spawnSync('ps', ['-ww', '-o', 'args', '-p', String(child.pid)], { encoding: 'utf8' }).stdout
      expect(ps).toContain('main.ts')
      for (const one of wanted) for (const place of [heap, ps, printed]) expect(place.includes(one)).toBe(false)
    } finally {
      await end(child)
    }
  }, 180_000)
  it('is refused at mode 0644, encrypted or plain; a passphrase that does not open it is an error that names the file and nothing of it', async () => {
    for (const protection of ['encrypted', 'plain'] as const) {
      const file = path.join(root, `${protection}.pem`)
      loadKeyFile(file, true, protection)
      expect(loadKeyFile(file, false).isEncrypted).toBe(protection === 'encrypted')
      fs.chmodSync(file, 0o644)
      expect(() => loadKeyFile(file, false)).toThrow(/can be read by others \(mode 644\)/)
      fs.chmodSync(file, 0o600)
    }
    const [given, other] = [path.join(root, 'passphrase'), path.join(root, 'other')]
    for (const [file, text] of [[given, 'correct horse'], [other, 'battery staple']] as const) fs.writeFileSync(file, `${text}\n`, { mode: 0o600 })
    const dir = path.join(root, 'given', '.sealwrit')
    const env = { SEALWRIT_KEY_PASSPHRASE_FILE: given, XDG_STATE_HOME: path.join(root, 'state') }
    const first = sealwrit(['up', '--json', '--activate', '--dir', dir, '--listen', '127.0.0.1:0'], { env })
    await new Promise((resolve) => first.stdout?.once('data', resolve))
    await end(first)
    for (const change of [{ SEALWRIT_KEY_PASSPHRASE_FILE: other }, { SEALWRIT_KEY_PASSPHRASE_FILE: undefined }]) {
      const { exit, stderr } = await run(['up', '--dir', dir, '--listen', '127.0.0.1:0'], { env: { ...env, ...change } })
      expect(exit).toBe(1)
      expect(stderr).toContain('log.pem is encrypted, and nothing here opens it')
      expect(stderr).not.toMatch(/battery|horse|at .*\.ts/)
    }
    fs.chmodSync(given, 0o644)
    expect((await run(['up', '--dir', dir, '--listen', '127.0.0.1:0'], { env })).stderr).toContain('can be read by others (mode 644)')
  }, 120_000)
  it('of an older version is read as it is, told of, and encrypted by `key encrypt`', async () => {
    const dir = path.join(root, 'older', '.sealwrit')
    const file = path.join(dir, 'keys', 'log.pem')
    loadKeyFile(file, true, 'plain')
    fs.mkdirSync(path.join(dir, 'gates', 'fs', '0'), { recursive: true })
    loadKeyFile(path.join(dir, 'gates', 'fs', '0', 'key.pem'), true, 'plain')
    const { publicKey } = loadKeyFile(file, false)
    const { exit, stdout } = await run(['key', 'encrypt', '--json', '--dir', dir])
    expect([exit, (JSON.parse(stdout) as { encrypted: string[] }).encrypted.length]).toEqual([0, 2])
    for (const one of [file, path.join(dir, 'gates', 'fs', '0', 'key.pem')]) {
      expect(loadKeyFile(one, false).isEncrypted).toBe(true)
      expect(fs.statSync(one).mode & 0o777).toBe(0o600)
    }
    expect(loadKeyFile(file, false).publicKey).toEqual(publicKey)
  })
})

describe('ATK-067: no switch turns signing off', () => {
  const planes: Awaited<ReturnType<typeof startPlane>>[] = []
  afterEach(async () => {
    for (const plane of planes.splice(0)) await end(plane.child)
  })
  const commands = (from = buildProgram()): ReturnType<typeof buildProgram>[] => [from, ...from.commands.flatMap((command) => commands(command as ReturnType<typeof buildProgram>))]

  it('among the flags of every command, and among the variables that the program reads', () => {
    const flags = commands().flatMap((command) => command.options.map(({ long }) => long ?? ''))
    expect(flags.length).toBeGreaterThan(100)
    // Lists of what may ask, or is proposed; each begins closed.
    const lists = new Set(['--allow', '--allow-host', '--allow-origin'])
    expect(flags.filter((flag) => !lists.has(flag) && /unsigned|insecure|unsafe|no-|skip|dev|disable|off|force|allow|trust-all|ignore/.test(flag))).toEqual([])
    const read = new Set(sources.flatMap((file) => [...fs.readFileSync(path.join(SRC, file), 'utf8').matchAll(/process\.env\['(\w+)'\]|(SEALWRIT_[A-Z_]+): /g)].map(([, one, two]) => one ?? (two as string))))
    expect([...read].sort()).toEqual(['NO_COLOR', 'PATH', 'SEALWRIT_DIR', 'SEALWRIT_KEY_PASSPHRASE', 'SEALWRIT_KEY_PASSPHRASE_FILE', 'SEALWRIT_STORE', 'SEALWRIT_TENANT', 'XDG_STATE_HOME'])
  })
  it.each([
    ['SEALWRIT_UNSIGNED', '1'], ['SEALWRIT_MODE', 'development'], ['NODE_ENV', 'development'], ['SEALWRIT_KEY_PASSPHRASE', ''], ['SEALWRIT_KEYS', 'none'],
  ])('with %s=%s a plane signs as ever', async (name, value) => {
    const before = process.env[name]
    process.env[name] = value
    try {
      const dir = path.join(root, `env-${name}`, '.sealwrit')
      const plane = await startPlane(dir)
      planes.push(plane)
      const note = await (await fetch(`${plane.url}/t/default/checkpoint`)).text()
      const key = parseLogKey(fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8'), nodeCryptography.sha256)
      expect(verifyCheckpoint(note, key, nodeCryptography).size).toBeGreaterThan(0)
    } finally {
      if (before === undefined) delete process.env[name]
      else process.env[name] = before
    }
  }, 60_000)
  it.each([['keys: { checkpoints: none }'], ['keys: { log: { signer: none, unsigned: true } }'], ['keys: { checkpoints: ed25519, mode: development }'], ['signing: off']])('a configuration with %s is refused', async (text) => {
    const folder = fs.mkdtempSync(path.join(root, 'config-'))
    fs.writeFileSync(path.join(folder, 'sealwrit.yaml'), `${text}\n`)
    const { exit, stderr } = await run(['up', '--dir', path.join(folder, '.sealwrit'), '--listen', '127.0.0.1:0'])
    expect(exit).toBe(1)
    expect(stderr).toContain('sealwrit.yaml')
  }, 60_000)
})
