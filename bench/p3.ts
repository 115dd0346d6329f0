import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as net from 'node:net'
import * as path from 'node:path'
import { createInterface } from 'node:readline'
import { workFolder } from './support/disk.ts'
import { type Figure, median, perSecond } from './support/figure.ts'
import { BenchGate, fillers, startPlane, stop } from './support/plane.ts'

const ROUNDS = 5
const IN_FLIGHT = 64
const FILLERS = 95 // with the five starter policies: 100

const peers = path.join(import.meta.dirname, 'peers', 'package.json')
const starter = path.resolve(import.meta.dirname, '../packages/cli/starter')

/** Runs `count` steps, {@link IN_FLIGHT} at a time. @returns steps a second */
async function rate(count: number, step: () => Promise<unknown>): Promise<number> {
  let left = count
  const from = performance.now()
  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
    while (left-- > 0) await step()
  }))
  return count / ((performance.now() - from) / 1_000)
}

/** A client of the naive plane that checks the token and signs a receipt, with the same number of processes. */
async function naiveClient(folder: string): Promise<{ execute: () => Promise<void>; close: () => void }> {
  const jose = (await import(createRequire(peers).resolve('jose'))) as typeof import('jose')
  const policyFile = path.join(folder, 'naive.cedar')
  const texts = fs.readdirSync(path.join(starter, 'policies')).filter((n) => n.endsWith('.cedar')).map((n) => fs.readFileSync(path.join(starter, 'policies', n), 'utf8'))
  fs.writeFileSync(policyFile, `${texts.join('\n')}\n${fillers(FILLERS)}`)
  const socketPath = path.join(folder, 'naive.sock')
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'naive-plane.ts'), socketPath, path.join(folder, 'naive.db'), policyFile, path.join(starter, 'schema.cedarschema'), peers], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const socket = net.connect({ path: socketPath })
  const waiting = new Map<number, (result: Record<string, never>) => void>()
  createInterface({ input: socket }).on('line', (line) => {
    const { id, result } = JSON.parse(line) as { id: number; result: Record<string, never> }
    waiting.get(id)?.(result)
    waiting.delete(id)
  })
  let nextId = 0
  const ask = (method: string, params: object): Promise<Record<string, never>> => new Promise((resolve) => {
    const id = nextId++
    waiting.set(id, resolve)
    socket.write(`${JSON.stringify({ id, method, params })}\n`)
  })
  const { privateKey, publicKey } = await jose.generateKeyPair('Ed25519', { extractable: true })
  const { jwk } = await ask('hello', { jwk: await jose.exportJWK(publicKey) })
  const planeKey = await jose.importJWK(jwk as never, 'Ed25519')
  let calls = 0
  return {
    execute: async () => {
      const { token } = await ask('authorize', { path: `/srv/reports/${calls++}.txt` })
      const { payload } = await jose.jwtVerify(token as never, planeKey, { algorithms: ['Ed25519'] })
      const receipt = await new jose.SignJWT({ path: payload['path'], outcome: 'completed' }).setProtectedHeader({ alg: 'Ed25519' }).setIssuedAt().sign(privateKey)
      await ask('receipt', { token: receipt })
    },
    close: () => {
      socket.destroy()
      child.kill('SIGTERM')
    },
  }
}

/** Whole path at 64 in flight, plane and gate as processes, everything durable. */
export async function p3(): Promise<Figure[]> {
  if (!existsSync(path.join(import.meta.dirname, 'peers', 'node_modules', 'jose'))) throw new Error('run `npm ci --prefix bench/peers` first')
  const folder = workFolder()
  const { dir, child } = await startPlane(folder, FILLERS)
  const gate = new BenchGate(dir)
  await gate.open()
  const naive = await naiveClient(folder)
  await rate(2_000, () => gate.execute('before_reply'))
  await rate(200, naive.execute)
  const ours: number[] = []
  const theirs: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await rate(3_000, () => gate.execute('before_reply')))
    theirs.push(await rate(400, naive.execute))
  }
  gate.gate.close()
  naive.close()
  await stop(child)
  return [{
    id: 'P3', what: `whole path at ${IN_FLIGHT} in flight, executions a second, 100 policies`, baseline: 'naive path: Cedar text each call, jose, one SQLite FULL commit a record; two processes as well',
    must: 30, stretch: 60, better: 'higher', ratio: median(ours) / median(theirs),
    rows: [['ours, median of rounds', perSecond(median(ours))], ['naive, median of rounds', perSecond(median(theirs))]],
    durability: 'SQLite WAL, synchronous=FULL on both sides; receipts before the reply',
    note: 'CPU bound on two cores: a receipt costs one signature at the gate and one verification at the plane, and the rest is strict parsing and canonical writing; it would take receipts that share a signature (a change of format), or verification on more cores',
  }]
}
