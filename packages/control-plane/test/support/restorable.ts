import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { nodeClock, nodeCryptography, nodeRng, openSqliteStore, Plane, type PlanePorts, reAnchor, type ReAnchored, serveSocket, type Store } from '@sealwrit/control-plane'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { Gate, nodeNet } from '@sealwrit/gate'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { commitment, digestOf, canonicalize, fromBase64Url, NO_WITNESSES, noteKey, type NoteKey, WitnessQuorum } from '@sealwrit/protocol'
import pg from 'pg'
import type { Postgres } from '../../../../test/support/postgres.ts'
import { SkewedClock } from '../../../../test/support/world.ts'
import { pinsAtOnce } from './pins.ts'
import { PERMIT_ALL, policySet, sha256 } from './rig.ts'

/** Where a log lives, as somebody with backups sees it. */
export interface Place {
  open(): Promise<Store>
  /** Takes a copy, also while a plane writes. @returns puts it back */
  copy(): Promise<() => Promise<void>>
  remove(): Promise<void>
}

export async function sqlitePlace(): Promise<Place> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-restore-'))
  const file = path.join(folder, 'store.db')
  return {
    open: async () => openSqliteStore(file),
    copy: async () => {
      // Both in one turn, between two commits: what a snapshot of the volume holds.
      const files = [file, `${file}-wal`].map((name) => ({ name, bytes: fs.existsSync(name) ? fs.readFileSync(name) : undefined }))
      return async () => {
        for (const { name, bytes } of files) {
          if (bytes === undefined) fs.rmSync(name, { force: true })
          else fs.writeFileSync(name, bytes)
        }
      }
    },
    remove: async () => fs.rmSync(folder, { recursive: true, force: true }),
  }
}

const TABLES = ['head', 'group', 'tile', 'spent', 'execution', 'meta'].map((name) => `sealwrit_${name}`)
export function postgresPlace(postgres: Postgres): () => Promise<Place> {
  return async () => {
    const url = await postgres.database()
    const run = async <T>(use: (client: pg.Client) => Promise<T>): Promise<T> => {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      return use(client).finally(() => client.end())
    }
    return {
      open: () => openPostgresStore(url, 'default'),
      copy: async () => {
        const rows = await run(async (client) => {
          await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
          const out: string[] = []
          for (const table of TABLES) out.push(((await client.query(`SELECT COALESCE(json_agg(t), '[]')::text AS rows FROM ${table} t`)).rows[0] as { rows: string }).rows)
          await client.query('COMMIT')
          return out
        })
        return () => run(async (client) => {
          for (const [i, table] of TABLES.entries()) {
            await client.query(`DELETE FROM ${table}`)
            await client.query(`INSERT INTO ${table} SELECT * FROM json_populate_recordset(NULL::${table}, $1::json)`, [rows[i]])
          }
        })
      },
      remove: async () => undefined,
    }
  }
}

type Keys = { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
export function keyOf(keys: Keys): NoteKey {
  return noteKey('restore.test/default', fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string), sha256)
}

/** A plane on a place that can be put back, behind a real socket, and gates that remember. */
export class Restorable {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-rollback-'))
  readonly clock = new SkewedClock()
  keys: Keys = generateKeyPairSync('ed25519')
  highWater = new MemoryFloor()
  store!: Store
  plane!: Plane
  readonly place: Place
  #stop: (() => Promise<void>) | undefined
  readonly #gates: Gate[] = []

  constructor(place: Place) {
    this.place = place
  }
  get key(): NoteKey {
    return keyOf(this.keys)
  }
  ports(store: Store): PlanePorts {
    const { privateKey } = this.keys
    return { clock: this.clock, rng: nodeRng, crypto: nodeCryptography, store, logKey: { key: this.key, sign: (m) => sign(null, m, privateKey) }, highWater: this.highWater, defer: setImmediate }
  }
  async start(): Promise<void> {
    this.store = await this.place.open()
    this.plane = pinsAtOnce(await Plane.open(this.ports(this.store), policySet(PERMIT_ALL), { tenant: 'default', owner: 'team:r', localUser: 'somebody', isNew: true }))
    const socket = await serveSocket(this.plane, path.join(this.folder, 's'))
    this.#stop = async () => {
      await socket.close()
      await this.plane.close()
    }
  }
  async stop(): Promise<void> {
    await this.#stop?.()
    this.#stop = undefined
  }
  /** Goes on under a new key, as the operator's command does. */
  async reAnchor(): Promise<ReAnchored> {
    const formerLogKey = this.key
    this.keys = generateKeyPairSync('ed25519')
    const store = await this.place.open()
    try {
      return await reAnchor({ ...this.ports(store), formerLogKey }, 'default')
    } finally {
      await store.close()
    }
  }
  gate(floor: MemoryFloor, keys: Keys): Gate {
    const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
    const commit = commitment('environment', salt, digestOf(canonicalize({}), sha256), sha256)
    const gate = new Gate(
      { socketPaths: [path.join(this.folder, 's')], logKey: this.key, witnesses: new WitnessQuorum(NO_WITNESSES), tenant: 'default', environment: { level: 'software', salt, document: {}, commit, measure: () => commit }, capabilities: () => false },
      { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor, sign: (m) => sign(null, m, keys.privateKey), publicKey: fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string) },
    )
    this.#gates.push(gate)
    return gate
  }
  async remove(): Promise<void> {
    for (const gate of this.#gates) gate.close()
    await this.stop()
    await this.place.remove()
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}
