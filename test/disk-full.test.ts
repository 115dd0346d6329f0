import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { nodeClock, nodeCryptography, nodeRng, openSqliteStore } from '@sealwrit/control-plane'
import { enforce, Gate, nodeNet } from '@sealwrit/gate'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { type Action, canonicalize, commitment, Denied, digestOf, fromBase64Url, NO_WITNESSES, parseEntry, parseVerifierKey, WitnessQuorum } from '@sealwrit/protocol'
import { pinOver } from '../packages/control-plane/test/support/pins.ts'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { end, PROGRAM, run, startPlane } from './support/processes.ts'
import { score, sized } from './support/scoreboard.ts'
import { SmallDisk } from './support/small-disk.ts'

const STEPS = sized(16, 256)
const STEP_BYTES = 4_096
/** Each starts the program several times, on whatever machine. */
vi.setConfig({ testTimeout: 120_000 })
const MEBIBYTES = 16
const TOOL_DIGEST = `sha256:${'a'.repeat(64)}`
const TOOLS = [{ name: 'touch', digest: TOOL_DIGEST }]
const POLICY = '@id("touch") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch");\n'

const made = SmallDisk.make(MEBIBYTES)
if (typeof made === 'string') score({ id: 'S11', figure: 'disk full at each free-space step of 4 KiB: effects without a durable permit', n: 0, violations: 0, voided: made })
const disk = typeof made === 'string' ? undefined : made
afterAll(() => disk?.remove())

let planted = 0
/** A real gate with a canary: what is in `ran` really happened. */
class Canary {
  readonly ran: string[] = []
  readonly #gate: Gate
  readonly #socket: string
  readonly #name = `canary ${planted++}`
  #count = 0
  #isReady = false

  constructor(dir: string) {
    this.#socket = path.join(dir, 'plane.sock')
    const { sha256 } = nodeCryptography
    const keys = generateKeyPairSync('ed25519')
    const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
    const commit = commitment('environment', salt, digestOf(canonicalize({}), sha256), sha256)
    const logKey = parseVerifierKey(fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8').trim(), sha256)
    this.#gate = new Gate(
      { socketPaths: [this.#socket], logKey, witnesses: new WitnessQuorum(NO_WITNESSES), tenant: 'default', environment: { level: 'software', salt, document: {}, commit, measure: () => commit }, capabilities: () => false },
      { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor: new MemoryFloor(), sign: (m) => sign(null, m, keys.privateKey), publicKey: fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string) },
    )
  }
  /** @returns `ran`, or the code it was denied with */
  async touch(): Promise<string> {
    const id = `${this.#name} ${this.#count++}`
    const action: Action = { type: 'mcp.tool_call', target: 'mcp://canary', name: 'touch', arguments: { id }, tool_digest: TOOL_DIGEST }
    try {
      if (!this.#isReady) {
        await this.#gate.recordTools('mcp://canary', TOOLS)
        await pinOver(this.#socket, 'mcp://canary', TOOLS)
      }
      this.#isReady = true
      await enforce(this.#gate, { action, agent: { name: 'tester', verified: true }, facts: () => ({ paths: 'none' }) }, async () => {
        this.ran.push(id)
        return { outcome: 'completed', resultBytes: new Uint8Array(1), value: undefined }
      })
      return 'ran'
    } catch (error) {
      return error instanceof Denied ? error.code : String(error)
    }
  }
  /** Calls until one is denied, at most `limit` times. */
  async untilDenied(limit: number): Promise<string> {
    let code = 'ran'
    for (let i = 0; i < limit && code === 'ran'; i++) code = await this.touch()
    return code
  }
  async untilRan(limit: number): Promise<boolean> {
    for (let i = 0; i < limit; i++) {
      if ((await this.touch()) === 'ran') return true
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return false
  }
  close(): void {
    this.#gate.close()
  }
}

/** Permits in the store, by the id that their action holds. */
async function permitted(file: string): Promise<string[]> {
  const store = openSqliteStore(file)
  try {
    const ids: string[] = []
    const { size } = await store.head()
    for (const entry of (await store.entries(0, size)).map(parseEntry)) {
      if (entry.kind !== 'permit') continue
      const text = (await store.bodies(entry.seq)).find(({ purpose }) => purpose === 'action')?.text
      ids.push((JSON.parse(text ?? '{}') as { arguments: { id: string } }).arguments.id)
    }
    return ids
  } finally {
    await store.close()
  }
}
/** Effects that have not exactly one permit, or happened twice. */
async function violationsOf(file: string, canary: Canary): Promise<string[]> {
  const permits = await permitted(file)
  return canary.ran.filter((id, i) => permits.filter((other) => other === id).length !== 1 || canary.ran.indexOf(id) !== i)
}

async function prepare(dir: string): Promise<void> {
  await end((await startPlane(dir)).child) // the first run writes the folder
  fs.writeFileSync(path.join(dir, 'policies', 'touch.cedar'), POLICY)
}

describe.skipIf(disk === undefined)('a disk that is full', () => {
  it(`S11, ATK-080: with ${STEPS} steps of 4 KiB of free space: denied while it lasts, no effect without a durable permit, recovers by itself`, async () => {
    const at = disk as SmallDisk
    const from = Date.now()
    const dir = path.join(at.folder, 'p')
    await prepare(dir)
    const violations: string[] = []
    const codes = new Map<string, number>()
    let landed = 0
    let effects = 0
    const canaries: Canary[] = []
    for (let step = 0; step < STEPS; step++) {
      const plane = await startPlane(dir) // what was written is carried over at the end of each, so that the log of writes has to grow again
      const canary = new Canary(dir)
      canaries.push(canary)
      if ((await canary.touch()) !== 'ran') violations.push(`step ${step}: denied before the disk was full`)
      at.leave(step * STEP_BYTES)
      const code = await canary.untilDenied(20 + 4 * step)
      codes.set(code, (codes.get(code) ?? 0) + 1)
      if (code === 'evidence_unavailable') landed++
      const before = canary.ran.length
      if (code !== 'ran' && (await canary.touch()) === 'ran' && canary.ran.length === before) violations.push(`step ${step}: an answer without an effect`)
      at.free()
      if (!(await canary.untilRan(40))) violations.push(`step ${step}: does not recover`)
      await end(plane.child)
      canary.close()
      effects += canary.ran.length
      violations.push(...(await violationsOf(path.join(dir, 'store.db'), canary)).map((id) => `step ${step}: effect ${id} without its one permit`))
    }
    const { exit, stdout } = await run(['fsck', '--dir', dir])
    if (exit !== 0) violations.push(`fsck: ${stdout}`)
    score({ id: 'S11', figure: 'disk full at each free-space step of 4 KiB: effects without a durable permit, or no recovery', n: STEPS, violations: violations.length, faultsLanded: landed, seconds: (Date.now() - from) / 1_000, notes: `${effects} effects, ${[...codes].map(([code, count]) => `${count} × ${code}`).join(', ')}` })
    console.log(`disk full: ${STEPS} steps, ${landed} landed, ${effects} effects, ${JSON.stringify(Object.fromEntries(codes))}`)
    expect(violations).toEqual([])
    expect(landed, 'steps in which the fault landed; otherwise the run is void').toBeGreaterThan(STEPS / 2)
  }, 7_200_000)

  it('ATK-081: read-only it does not start, and starts again when it can be written', async () => {
    const at = disk as SmallDisk
    const dir = path.join(at.folder, 'ro')
    await prepare(dir)
    const before = fs.readdirSync(dir).sort()
    const plane = await startPlane(dir)
    expect(at.remount('ro'), 'the system refuses while a plane writes').toBe(false)
    await end(plane.child)
    expect(at.remount('ro')).toBe(true)
    try {
      const refused = await run(['up', '--dir', dir, '--listen', '127.0.0.1:0'])
      expect(refused.exit).not.toBe(0)
      expect(refused.stderr).toMatch(/read-?only|EROFS|unable to open database file/i)
      expect(refused.stderr).not.toContain('    at ')
    } finally {
      expect(at.remount('rw')).toBe(true)
    }
    expect(fs.readdirSync(dir).sort()).toEqual(expect.arrayContaining(before.filter((name) => !name.startsWith('plane.sock'))))
    const again = await startPlane(dir)
    const canary = new Canary(dir)
    expect(await canary.touch()).toBe('ran')
    canary.close()
    await end(again.child)
  })
})

describe('ATK-081: a store that is taken away while it is open', () => {
  let root: string
  let dir: string
  let plane: { child: ChildProcess }
  let canary: Canary
  beforeEach(async () => {
    root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-taken-')))
    dir = path.join(root, '.sealwrit')
    await prepare(dir)
    plane = await startPlane(dir)
    canary = new Canary(dir)
    expect(await canary.touch()).toBe('ran')
  })
  afterEach(async () => {
    canary.close()
    await end(plane.child, 'SIGKILL')
    fs.rmSync(root, { recursive: true, force: true })
  })
  const up = (): ReturnType<typeof run> => run(['up', '--dir', dir, '--listen', '127.0.0.1:0'])

  it.each(['store.db', 'store.db-wal'])('%s deleted: nothing is acknowledged from then on, and no new store takes its place', async (name) => {
    fs.rmSync(path.join(dir, name))
    const ran = canary.ran.length
    expect(await canary.touch()).toBe('evidence_unavailable')
    expect(await canary.touch()).toBe('evidence_unavailable')
    expect(canary.ran.length).toBe(ran)
    await end(plane.child, 'SIGKILL')
    if (name === 'store.db') {
      expect(await up()).toMatchObject({ exit: 1, stderr: expect.stringMatching(/store\.db is missing/) })
      expect(fs.existsSync(path.join(dir, name))).toBe(false)
      return
    }
    plane = await startPlane(dir) // what was acknowledged went with the log of writes: whoever saw it closes this plane
    let code = 'unavailable'
    for (let i = 0; i < 20 && code === 'unavailable'; i++) code = await canary.touch()
    expect(code).toBe('store_rollback')
    expect(canary.ran.length).toBe(ran)
  })
  it('replaced by an empty file, by a new database, or by another plane’s store: denied, and refused at the next start', async () => {
    const other = path.join(root, 'other')
    await end((await startPlane(other)).child)
    const file = path.join(dir, 'store.db')
    const aside = path.join(root, 'aside.db')
    fs.renameSync(file, aside)
    fs.copyFileSync(path.join(other, 'store.db'), file)
    const ran = canary.ran.length
    expect(await canary.touch()).toBe('evidence_unavailable')
    expect(canary.ran.length).toBe(ran)
    await end(plane.child, 'SIGKILL')
    for (const make of [
      () => fs.copyFileSync(path.join(other, 'store.db'), file),
      () => fs.writeFileSync(file, ''),
      () => {
        fs.rmSync(file)
        void openSqliteStore(file).close()
      },
    ]) {
      for (const suffix of ['-wal', '-shm']) fs.rmSync(file + suffix, { force: true })
      make()
      const { exit, stderr } = await up()
      expect(exit).toBe(1)
      expect(stderr).toMatch(/empty|damaged|another log|not one of this log key/)
    }
  })
  it.runIf(process.getuid?.() === 0)('permission lost: a plane of an ordinary user whose folder is closed to it denies, and goes on when it is open again', async () => {
    await end(plane.child)
    canary.close()
    fs.chmodSync(root, 0o755)
    const nobody = 65_534
    for (const name of ['', ...(fs.readdirSync(dir, { recursive: true }) as string[])]) fs.lchownSync(path.join(dir, name), nobody, nobody)
    // The secret of the machine goes along with the folder: without it nothing opens the key.
    const state = path.join(root, 'state')
    fs.cpSync(path.join(process.env['XDG_STATE_HOME'] as string, 'sealwrit'), path.join(state, 'sealwrit'), { recursive: true })
    for (const name of ['', ...(fs.readdirSync(state, { recursive: true }) as string[])]) fs.lchownSync(path.join(state, name), nobody, nobody)
    const child = spawn(process.execPath, [...PROGRAM, 'up', '--json', '--dir', dir, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'], uid: nobody, gid: nobody, env: { ...process.env, HOME: '/', XDG_STATE_HOME: state } })
    let errors = ''
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve())
      child.once('exit', (code) => reject(new Error(`plane ended (${code}): ${errors}`)))
    })
    plane = { child }
    canary = new Canary(dir)
    expect(await canary.touch()).toBe('ran')
    fs.chmodSync(dir, 0)
    // Files that are open stay open: the mark beside the store is what can no longer be written, once a second.
    let code = 'ran'
    for (let i = 0; i < 40 && code === 'ran'; i++) {
      code = await canary.touch()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(code).toBe('evidence_unavailable')
    fs.chmodSync(dir, 0o700)
    expect(await canary.untilRan(40)).toBe(true)
    await end(child)
    expect(await violationsOf(path.join(dir, 'store.db'), canary)).toEqual([])
  })
})
