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
    expect((await client.query('SELECT version, holder FROM sealwrit_version')).rows).toEqual([{ version: 1, holder: null }])
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
