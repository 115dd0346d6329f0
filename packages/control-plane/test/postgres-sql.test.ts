import { MemoryFloor } from '@sealwrit/gate/testing'
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { type LogKey, nodeClock, nodeCryptography, nodeRng, Sequencer } from '@sealwrit/control-plane'
import { addressesOf, openPostgresStore } from '@sealwrit/control-plane/postgres'
import { fromBase64Url, noteKey } from '@sealwrit/protocol'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Postgres, startPostgres } from '../../../test/support/postgres.ts'

const folder = path.resolve(import.meta.dirname, '../src/store/postgres')

describe('SQL that every PostgreSQL-wire database runs', () => {
  const files = fs.readdirSync(folder).filter((name) => name.endsWith('.ts'))
  const texts = files.map((name) => fs.readFileSync(path.join(folder, name), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$| \/\/ .*$/gm, ''))
  const statements = texts.flatMap((text) => [...text.matchAll(/'((?:[^'\n]|\\')*)'|`([^`]*)`/g)].map((m) => m[1] ?? m[2] ?? '')).filter((text) => /\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|SHOW|WITH)\b/.test(text))

  it('is found by this test: the ones of opening, appending, reading and migrating', () => {
    expect(statements.length).toBeGreaterThan(18)
    for (const part of ['UPDATE sealwrit_head SET size', 'CREATE TABLE IF NOT EXISTS sealwrit_group', 'SELECT hashes FROM sealwrit_tile', 'SHOW transaction_read_only']) expect(statements.some((text) => text.includes(part)), part).toBe(true)
  })
  // CockroachDB and YugabyteDB lack these, restrict them, or give them another meaning.
  it.each([
    /advisory/i, /\bLISTEN\b/i, /\bNOTIFY\b/i, /\bTRIGGER\b/i, /\w*SERIAL\b(?!IZ)/i, /\bSEQUENCE\b/i, /\bnextval\b/i, /\bTRUNCATE\b/i, /\bDEFERRABLE\b/i, /plpgsql/i, /\bDO \$/i,
    /\bTEMP(?:ORARY)?\b/i, /\bUNLOGGED\b/i, /\bEXCLUDE\b/i, /\bEXTENSION\b/i, /\bFUNCTION\b/i, /\bLOCK TABLE\b/i, /\bSKIP LOCKED\b/i, /\bctid\b|\bxmin\b/i, /\bpg_\w+/i, /::/, /\bMERGE INTO\b/i, /\bRULE\b/i,
  ])('%s is in none of them', (banned) => {
    expect(statements.filter((text) => banned.test(text))).toEqual([])
  })
  it('mixes no definitions into what changes rows, and changes one table once in one statement', () => {
    for (const text of statements) {
      const changed = [...text.matchAll(/(?:INSERT INTO|UPDATE|DELETE FROM) (sealwrit_\w+)/g)].map((m) => m[1])
      expect(new Set(changed).size, text).toBe(changed.length)
      if (/\b(?:CREATE|ALTER|DROP)\b/.test(text)) expect(changed, text).toEqual([])
    }
  })
})

describe('the address of the store', () => {
  it.each([
    ['postgres://u:p@h/db', ['postgres://u:p@h/db']],
    ['postgresql://u@h:6432/db?sslmode=verify-full', ['postgresql://u@h:6432/db?sslmode=verify-full']],
    ['postgres://u:p%40ss@h1:5432,h2:5433,[::1]:5/db?target_session_attrs=read-write', ['postgres://u:p%40ss@h1:5432/db', 'postgres://u:p%40ss@h2:5433/db', 'postgres://u:p%40ss@[::1]:5/db']],
    ['postgres://u:a,b@h1,h2/db', ['postgres://u:a,b@h1/db', 'postgres://u:a,b@h2/db']],
    ['postgres:///db?host=/run/a,/run/b', ['postgres://localhost/db?host=%2Frun%2Fa', 'postgres://localhost/db?host=%2Frun%2Fb']],
    ['postgres://u@x/db?host=a,b&port=1,2&sslmode=require', ['postgres://u@x/db?host=a&port=1&sslmode=require', 'postgres://u@x/db?host=b&port=2&sslmode=require']],
    ['postgres://u@x/db?host=a,b&port=7', ['postgres://u@x/db?host=a&port=7', 'postgres://u@x/db?host=b&port=7']],
  ])('%s names %j', (uri, addresses) => {
    expect(addressesOf(uri)).toEqual(addresses)
  })
  it.each([
    ['a host twice empty', 'postgres://u@h1,,h2/db'],
    ['a trailing comma', 'postgres://u@h1,/db'],
    ['a host that is none', 'postgres://u@h1,h 2/db'],
    ['a port that is none', 'postgres://u@h1:port,h2/db'],
    ['an empty host parameter among others', 'postgres://u@h/db?host=/a,,/b'],
    ['fewer ports than hosts', 'postgres://u@h/db?host=a,b,c&port=1,2'],
    ['a parameter twice', 'postgres://u@h/db?host=a&host=b'],
    ['any server will do', 'postgres://u@h1,h2/db?target_session_attrs=any'],
    ['a standby', 'postgres://u@h1,h2/db?target_session_attrs=standby'],
    ['nine hosts', 'postgres://u@a,b,c,d,e,f,g,h,i/db'],
    ['a raw @ in the password', 'postgres://u:se@cret@h/db'],
    ['a raw / in the password', 'postgres://u:se/cret@h1,h2/db'],
    ['a fragment', 'postgres://u:p@h/db#x'],
    ['another scheme', 'mysql://u@h/db'],
  ])('is refused: %s, and the message holds nothing of it', (_why, uri) => {
    let message = ''
    try {
      addressesOf(uri)
    } catch (error) {
      message = (error as Error).message
    }
    expect(message).toMatch(/^the address of the store /)
    expect(message).not.toMatch(/cret/)
  })
})

/** Signed the log of the fixture: 32 bytes of ones, as PKCS #8 (RFC 8410). */
const FIXTURE_KEY = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 1)]), format: 'der', type: 'pkcs8' })

function logKey(privateKey: KeyObject): LogKey {
  const x = createPublicKey(privateKey).export({ format: 'jwk' }).x as string
  return { key: noteKey('fixture.test/default', fromBase64Url(x), nodeCryptography.sha256), sign: (message) => sign(null, message, privateKey) }
}

describe('a database of an older version', () => {
  let postgres: Postgres
  beforeAll(async () => {
    postgres = await startPostgres()
  })
  afterAll(() => postgres.stop())

  it('version 1, as it was written: opens, keeps every row, goes on, and is never taken back', async () => {
    const url = await postgres.database()
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query(fs.readFileSync(path.resolve(import.meta.dirname, 'fixtures/postgres-1.sql'), 'utf8'))
    const rows = async (): Promise<unknown[]> => {
      const all: unknown[] = []
      // By the columns that version 1 had: a later one may have added to them.
      const columns = (name: string): string => (name === 'execution' ? 'tenant, jti, seq, ending, deadline_ms, expiry' : '*')
      for (const name of ['meta', 'group', 'tile', 'spent', 'execution']) all.push((await client.query(`SELECT ${columns(name)} FROM sealwrit_${name} ORDER BY 1, 2, 3`)).rows)
      return all
    }
    const before = await rows()
    const [{ checkpoint }] = (await client.query('SELECT checkpoint FROM sealwrit_head')).rows as [{ checkpoint: string }]

    const store = await openPostgresStore(url, 'default')
    expect(await store.head()).toMatchObject({ size: 260, checkpoint })
    expect(await rows()).toEqual(before)
    expect(await store.append({ firstSeq: 260, entries: ['{}'], bodies: [], checkpoint: undefined, after: checkpoint, tiles: [], spent: ['once'] }), 'a key that version 1 spent').toBe('spent')
    expect(await store.execution('AAAAAAAAAAAAAAAAAAAAAA')).toEqual({ jti: 'AAAAAAAAAAAAAAAAAAAAAA', seq: 3, ending: 4, deadlineMs: 1_800_000_000_000, expiry: undefined, parent: undefined })
    expect(await store.getMeta('k')).toBe('v')

    // The log in it is a real one: this version reads it back, checks every leaf, tile and the signature, and goes on.
    const log = await Sequencer.open({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey: logKey(FIXTURE_KEY), highWater: new MemoryFloor(), defer: setImmediate }, 'default')
    expect(log.size).toBe(260)
    const { seq } = await log.submit(() => ({ body: { kind: 'tool', target: 'mcp://fs', name: 'new', digest: `sha256:${'a'.repeat(64)}` }, bodies: [] }))
    expect(seq).toBe(260)
    await store.close()
    const [{ version }] = (await client.query('SELECT version FROM sealwrit_version')).rows as [{ version: number }]
    expect(version).toBeGreaterThanOrEqual(1)
    await client.query('UPDATE sealwrit_version SET version = 1000')
    await expect(openPostgresStore(url, 'default')).rejects.toThrow(/newer version of sealwrit/)
    await client.end()
  })
  it('version 1 under another log key is refused', async () => {
    const url = await postgres.database()
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query(fs.readFileSync(path.resolve(import.meta.dirname, 'fixtures/postgres-1.sql'), 'utf8'))
    await client.end()
    const store = await openPostgresStore(url, 'default')
    await expect(Sequencer.open({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey: logKey(generateKeyPairSync('ed25519').privateKey), highWater: new MemoryFloor(), defer: setImmediate }, 'default')).rejects.toThrow(/not one of this log key/)
    await store.close()
  })
})
