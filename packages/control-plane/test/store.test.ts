import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { openSqliteStore } from '@sealwrit/control-plane'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { storeContract, type StorePlace } from '@sealwrit/control-plane/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import pg from 'pg'
import { type Postgres, startPostgres } from '../../../test/support/postgres.ts'

let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

async function sqlitePlace(): Promise<StorePlace> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-store-'))
  return {
    isShared: false,
    open: async () => openSqliteStore(path.join(folder, 'store.db')),
    remove: async () => fs.rmSync(folder, { recursive: true, force: true }),
  }
}
async function postgresPlace(): Promise<StorePlace> {
  const url = await postgres.database()
  return { isShared: true, open: () => openPostgresStore(url, 'default'), remove: async () => undefined }
}

describe.each([['SQLite', sqlitePlace], ['PostgreSQL', postgresPlace]] as const)('the store contract: %s', (_name, place) => {
  it.each(storeContract(place))('$name', ({ run }) => run())
})

describe('PostgreSQL', () => {
  it('keeps the logs of tenants apart', async () => {
    const url = await postgres.database()
    const [a, b] = [await openPostgresStore(url, 'a'), await openPostgresStore(url, 'b')]
    const group = { firstSeq: 0, entries: ['{}'], bodies: [], checkpoint: undefined, tiles: [], spent: ['k'] }
    expect([await a.append(group), await b.append(group)]).toEqual(['appended', 'appended'])
    expect(await a.append({ ...group, firstSeq: 1 })).toBe('spent')
    await a.close()
    await b.close()
  })
  it('ATK-061: tenants whose names begin alike, look alike or mean something to a database are others: heads, entries, bodies, spent keys and what is beside them', async () => {
    const url = await postgres.database()
    const names = ['pay', 'pay-', 'payments', 'PAY', 'pаy', 'pay%', 'p_y', 'pay ', "pay' OR '1'='1"]
    const stores = await Promise.all(names.map((name) => openPostgresStore(url, name)))
    const salt = 'A'.repeat(22)
    for (const [i, store] of stores.entries()) {
      const digest = `sha256:${'0'.repeat(64)}` as const
      for (let n = 0; n <= i; n++) {
        const group = { firstSeq: n, entries: [JSON.stringify({ of: names[i], n })], bodies: [{ seq: n, purpose: 'action' as const, commit: digest, salt, digest, text: JSON.stringify(names[i]) }], checkpoint: undefined, tiles: [], spent: n === 0 ? ['the same key'] : [] }
        expect(await store.append(group), names[i]).toBe('appended')
      }
      await store.putMeta('account x', names[i] as string)
    }
    for (const [i, store] of stores.entries()) {
      expect((await store.head()).size, names[i]).toBe(i + 1)
      expect(await store.entries(0, 100)).toEqual(Array.from({ length: i + 1 }, (_, n) => JSON.stringify({ of: names[i], n })))
      expect(new Set((await store.bodies(0, 100)).map(({ text }) => text))).toEqual(new Set([JSON.stringify(names[i])]))
      expect([await store.getMeta('account x'), await store.spentAt('the same key')]).toEqual([names[i], 0])
      expect(await store.eraseBodies(0, 1)).toBe(1)
    }
    await Promise.all(stores.map((store) => store.close()))
  })
  it('migrates once, whoever comes first, and is opened by eight at the same moment', async () => {
    // How the second creator fails depends on the moment: by a key of the catalogue, its type or its table.
    for (let round = 0; round < 12; round++) {
      const fresh = await postgres.database()
      for (const store of await Promise.all(Array.from({ length: 8 }, () => openPostgresStore(fresh, 'default')))) await store.close()
    }
    const url = await postgres.database()
    await (await openPostgresStore(url, 'default')).close()
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    expect((await client.query('SELECT version, holder FROM sealwrit_version')).rows).toEqual([{ version: 2, holder: null }])
    await client.query("UPDATE sealwrit_version SET holder = 'a plane that died', expires_ms = 0, version = 0")
    const after = await openPostgresStore(url, 'default') // the lock of a dead holder runs out; every statement can be run again
    await after.close()
    await client.query('UPDATE sealwrit_version SET version = 99')
    await expect(openPostgresStore(url, 'default')).rejects.toThrow(/newer version of sealwrit/)
    await client.end()
  })
  it('that is not there is refused within its time, and says so', async () => {
    await expect(openPostgresStore('postgres://nobody@127.0.0.1:1/x', 'default')).rejects.toThrow(/the store cannot be reached/)
  })
})
