import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { enforce, Gate, nodeClock, nodeCryptography, nodeNet, nodeRng } from '@sealwrit/gate'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { type Action, canonicalize, commitment, Denied, digestOf, type Entry, fromBase64Url, NO_WITNESSES, parseEntry, parseVerifierKey, WitnessQuorum } from '@sealwrit/protocol'
import { pinOver } from '../packages/control-plane/test/support/pins.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Postgres, startPostgres } from './support/postgres.ts'
import { end, PROGRAM } from './support/processes.ts'
import { sized } from './support/scoreboard.ts'
import { ToxicProxy, type Window } from './support/toxic.ts'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-failover-'))
const KILLS = sized(12, 201)
let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(async () => {
  await postgres.stop()
  fs.rmSync(root, { recursive: true, force: true })
})

/** A plane as a process of its own; the database's address comes by the environment, as a password would. */
function startReplica(dir: string, store: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [...PROGRAM, 'up', '--json', '--dir', dir, '--listen', '127.0.0.1:0'], { env: { ...process.env, SEALWRIT_STORE: store }, stdio: ['ignore', 'pipe', 'pipe'] })
  return new Promise((resolve, reject) => {
    let errors = ''
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    child.stdout.once('data', () => resolve(child))
    child.once('exit', (code) => reject(new Error(`plane ended (${code}): ${errors}`)))
  })
}

/** Kills the plane that next makes a group durable, right at that moment. @returns which it was */
function killAt(when: Window, proxies: readonly ToxicProxy[], planes: readonly ChildProcess[]): Promise<number> {
  return new Promise((resolve) => {
    let isDone = false
    for (const [i, proxy] of proxies.entries()) {
      const at = (): void => {
        if (!isDone) planes[i]?.kill('SIGKILL')
        isDone = true
        for (const other of proxies) other.toxic = { kind: 'none' }
        resolve(i)
      }
      proxy.toxic = { kind: 'cut', text: APPEND, when, at }
    }
  })
}

const ACTION: Action = { type: 'mcp.tool_call', target: 'mcp://doctor', name: 'touch', arguments: {}, tool_digest: `sha256:${'a'.repeat(64)}` }

/** The statement that makes a group durable. */
const APPEND = 'UPDATE sealwrit_head SET size'
const WINDOWS: readonly (Window | 'at a random moment')[] = ['at a random moment', 'before it is sent', 'before its answer']

describe('planes of one log, killed one after the other', () => {
  it.each(WINDOWS)('S1, S2, I2, I3: kill -9 under load, of a group %s, time after time: the gate goes on with the other, no effect without its permit, none twice, nothing lost', async (window) => {
    const kills = window === 'at a random moment' ? KILLS : KILLS / 3
    if (!postgres.isOurs && window !== 'at a random moment') throw new Error('void: the proxy stands before the socket of a server of ours')
    const url = await postgres.database()
    const proxies = window === 'at a random moment' ? [] : [new ToxicProxy(postgres.socket), new ToxicProxy(postgres.socket)]
    const urls = [0, 1].map((i) => proxies[i]?.url(url) ?? url) as [string, string]
    const parent = fs.mkdtempSync(path.join(root, 'p'))
    const dirs = [path.join(parent, 'a'), path.join(parent, 'b')] as const
    const planes = [await startReplica(dirs[0], urls[0])]
    for (const name of ['keys', 'log.vkey', 'policies']) fs.cpSync(path.join(dirs[0], name), path.join(dirs[1], name), { recursive: true })
    fs.chmodSync(dirs[1], 0o700)
    planes.push(await startReplica(dirs[1], urls[1]))

    const keys = generateKeyPairSync('ed25519')
    const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
    const commit = commitment('environment', salt, digestOf(canonicalize({}), nodeCryptography.sha256), nodeCryptography.sha256)
    const gate = new Gate(
      { socketPaths: dirs.map((dir) => path.join(dir, 'plane.sock')), logKey: parseVerifierKey(fs.readFileSync(path.join(dirs[0], 'log.vkey'), 'utf8').trim(), nodeCryptography.sha256), witnesses: new WitnessQuorum(NO_WITNESSES), tenant: 'default', environment: { level: 'software', salt, document: {}, commit, measure: () => commit }, capabilities: () => false },
      { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor: new MemoryFloor(), sign: (m) => sign(null, m, keys.privateKey), publicKey: fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string) },
    )
    await gate.connect()
    const tools = [{ name: 'touch', digest: ACTION.tool_digest }]
    await gate.recordTools('mcp://doctor', tools)
    await pinOver(path.join(dirs[0], 'plane.sock'), 'mcp://doctor', tools)

    const canary: string[] = []
    const codes = new Map<string, number>()
    let [running, ran] = [true, 0]
    const worker = async (): Promise<void> => {
      while (running) {
        try {
          await enforce(gate, { action: ACTION, agent: { name: 'sealwrit-doctor', verified: true }, facts: () => ({ paths: 'none' }) }, async (artifact) => {
            canary.push(artifact.permit.jti)
            return { outcome: 'completed', resultBytes: new Uint8Array(0), value: undefined }
          })
          ran++
        } catch (error) {
          const code = error instanceof Denied ? error.code : String(error)
          codes.set(code, (codes.get(code) ?? 0) + 1)
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }
    }
    const load = Promise.all(Array.from({ length: 8 }, worker))
    let stalls = 0
    for (let kill = 0; kill < kills; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 150 + ((kill * 37) % 200)))
      const victim = window === 'at a random moment' ? kill % 2 : await killAt(window, proxies, planes)
      const before = ran
      await end(planes[victim] as ChildProcess, 'SIGKILL')
      for (let i = 0; i < 500 && ran === before; i++) await new Promise((resolve) => setTimeout(resolve, 20)) // the other one serves meanwhile
      if (ran === before) stalls++
      planes[victim] = await startReplica(dirs[victim] as string, urls[victim] as string)
    }
    running = false
    await load
    await new Promise((resolve) => setTimeout(resolve, 500)) // receipts that wait are delivered
    gate.close()
    for (const plane of planes) await end(plane)
    for (const proxy of proxies) await proxy.close()

    const store = await openPostgresStore(url, 'default')
    const entries: Entry[] = (await store.entries(0, 1_000_000)).map(parseEntry)
    await store.close()
    const permits = new Set(entries.flatMap((e) => (e.kind === 'permit' ? [e.jti] : [])))
    const receipts = entries.flatMap((e) => (e.kind === 'receipt' ? [e.jti] : []))
    expect(new Set(canary).size, 'no permit ran twice').toBe(canary.length)
    expect(canary.filter((jti) => !permits.has(jti)), 'no effect without a durable permit').toEqual([])
    expect(new Set(receipts).size, 'one ending each').toBe(receipts.length)
    expect(canary.filter((jti) => !receipts.includes(jti)), 'no receipt is lost').toEqual([])
    expect(entries.map((e) => e.seq)).toEqual(entries.map((_, i) => i))
    expect(stalls, 'the gate went on with the other plane').toBe(0)
    console.log(`failover: ${kills} kills of two planes on PostgreSQL, ${window}, ${canary.length} effects, ${permits.size} permits, ${receipts.length} receipts; refused meanwhile: ${JSON.stringify(Object.fromEntries(codes))}`)
  }, 600_000)
})
