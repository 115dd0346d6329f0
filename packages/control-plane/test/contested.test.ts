import { MemoryFloor } from '@sealwrit/gate/testing'
import { generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { nodeClock, nodeCryptography, nodeRng, openSqliteStore, Plane, serveSocket, type Store } from '@sealwrit/control-plane'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { type AuthorizeReply, type DenialCode, Denied, fromBase64Url, noteKey, parseEntry, type RedeemReply, toBase64Url } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { score, sized } from '../../../test/support/scoreboard.ts'
import { type Postgres, startPostgres } from '../../../test/support/postgres.ts'
import { type CarriedArtifact, carriedOf, issueRequest, SocketClient } from './support/push.ts'
import { PERMIT_ALL, pinTools, policySet, sha256, TestGate, toolCall } from './support/rig.ts'

const ARTIFACTS = sized(1_000, 100_000)
const SEED = Number(process.env['SEALWRIT_SEED'] ?? 20_261_123)
/** Artifacts that are raced for at the same moment; few, since whoever is read first is read with all that it sent. */
const AT_ONCE = 4

let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

/** Park and Miller's generator: the order of racers can be run again from its seed. */
function seeded(seed: number): () => number {
  let state = seed % 2_147_483_647
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
}
function shuffle<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const k = Math.floor(random() * (i + 1))
    ;[items[i], items[k]] = [items[k] as T, items[i] as T]
  }
  return items
}

/** Planes of one log behind real sockets. */
class Planes {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-race-'))
  readonly planes: Plane[] = []
  readonly sockets: string[] = []
  readonly #open: () => Promise<Store>
  readonly #servers: { close(): Promise<void> }[] = []
  readonly #keys = generateKeyPairSync('ed25519')

  constructor(open: (folder: string) => Promise<Store>) {
    this.#open = () => open(this.folder)
  }
  async add(): Promise<void> {
    const key = noteKey('race.test/default', fromBase64Url(this.#keys.publicKey.export({ format: 'jwk' }).x as string), sha256)
    const logKey = { key, sign: (message: Uint8Array): Uint8Array => sign(null, message, this.#keys.privateKey) }
    const ports = { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store: await this.#open(), logKey, highWater: new MemoryFloor(), defer: setImmediate }
    const plane = await Plane.open(ports, policySet(PERMIT_ALL), { tenant: 'default', owner: 'team:r', localUser: 'somebody', isNew: true })
    const socket = path.join(this.folder, `${this.planes.length}.sock`)
    this.planes.push(plane)
    this.sockets.push(socket)
    this.#servers.push(await serveSocket(plane, socket))
  }
  async close(): Promise<void> {
    for (const server of this.#servers) await server.close()
    for (const plane of this.planes) await plane.close()
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}

const STORES = [
  ['SQLite', 1, async (folder: string) => openSqliteStore(path.join(folder, 'store.db'))],
  ['PostgreSQL, three planes', 3, undefined],
] as const

describe.each(STORES)('contested single use: %s', (name, planeCount, open) => {
  it(`S3, ATK-041, I2: ${ARTIFACTS} artifacts × 2, 4 and 8 racers from a barrier: exactly one redemption each (seed ${SEED})`, async () => {
    const url = open === undefined ? await postgres.database() : ''
    const planes = new Planes(open ?? (() => openPostgresStore(url, 'default')))
    for (let i = 0; i < planeCount; i++) await planes.add()
    const [first] = planes.planes as [Plane]
    const token = (): string => toBase64Url(nodeRng.bytes(16))
    const gate = new TestGate({ plane: first, rng: nodeRng, clock: nodeClock, token })
    // Issued at every plane in turn: the one that issued has read its own permit, and would always be first.
    const issuers = await Promise.all(planes.sockets.map((socket) => SocketClient.connect(socket)))
    // Every racer is a connection of its own that speaks for the one gate that the artifacts name.
    const racers: SocketClient[] = []
    for (let i = 0; i < 8; i++) {
      const racer = await SocketClient.connect(planes.sockets[i % planeCount] as string)
      await gate.enrolOver(racer)
      racers.push(racer)
    }
    await pinTools(first, gate, ['read_file'])

    const random = seeded(SEED)
    const jtis: string[] = []
    for (const count of [2, 4, 8]) {
      const wins = Array.from({ length: count }, () => 0)
      const refusals = new Map<DenialCode, number>()
      for (let done = 0; done < ARTIFACTS; done += AT_ONCE) {
        const issuer = issuers[(done / AT_ONCE) % planeCount] as SocketClient
        const artifacts = await Promise.all(Array.from({ length: Math.min(AT_ONCE, ARTIFACTS - done) }, async (): Promise<CarriedArtifact> => {
          const reply = await issuer.request<AuthorizeReply>('issue', issueRequest(gate, toolCall()))
          if (reply.decision !== 'permit') throw new Error(JSON.stringify(reply))
          return carriedOf(reply.sealed)
        }))
        jtis.push(...artifacts.map(({ permit }) => permit.jti))
        const redeemedBy = new Map<string, number>()
        let lift = (): void => undefined
        const barrier = new Promise<void>((resolve) => (lift = resolve))
        const attempts = artifacts.flatMap((artifact) => wins.map((_, racer) => ({ artifact, racer })))
        const racing = shuffle(attempts, random).map(async ({ artifact, racer }) => {
          await barrier
          try {
            const { redemption } = await (racers[racer] as SocketClient).request<RedeemReply>('redeem', { session: gate.session, artifact: artifact.sealed, challenge: token() })
            const entry = parseEntry(redemption.entry)
            if (entry.kind !== 'redemption' || entry.jti !== artifact.permit.jti) throw new Error('another redemption')
            if (redeemedBy.has(entry.jti)) throw new Error(`${entry.jti} was redeemed twice`)
            redeemedBy.set(entry.jti, racer)
            wins[racer] = (wins[racer] as number) + 1
          } catch (error) {
            if (!(error instanceof Denied)) throw error
            refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1)
          }
        })
        lift()
        await Promise.all(racing)
        expect(redeemedBy.size, 'every artifact is redeemed by somebody').toBe(artifacts.length)
      }
      expect(wins.reduce((a, b) => a + b)).toBe(ARTIFACTS)
      expect([...refusals]).toEqual([['artifact_spent', ARTIFACTS * (count - 1)]])
      const smallest = Math.min(...wins) / ARTIFACTS
      console.log(`contested, ${name}: ${ARTIFACTS} artifacts × ${count} racers, ${ARTIFACTS} redemptions, smallest share of a racer ${(smallest * 100).toFixed(1)} % (fair: ${(100 / count).toFixed(1)} %)`)
      score({ id: 'S3', figure: `contested single use, ${name}, ${count} racers: artifacts redeemed twice or by nobody`, n: ARTIFACTS, violations: 0, seed: SEED, faultsLanded: ARTIFACTS, notes: `smallest share of a racer ${(smallest * 100).toFixed(1)} %` })
      expect(smallest, 'everybody really raced; otherwise the run is void').toBeGreaterThan(0.25 / count)
    }
    const logged: string[] = []
    await first.log.refresh()
    for (let from = 0; from < first.log.size; from += 10_000) {
      for (const { entry } of await first.log.readRun(from, 10_000)) if (entry.kind === 'redemption') logged.push(entry.jti)
    }
    expect(logged.sort()).toEqual(jtis.sort())
    for (const client of [...issuers, ...racers]) client.close()
    await planes.close()
  }, 7_200_000)
})
