import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { end, run, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-anew-')))
const dir = path.join(root, '.sealwrit')
const at = (name: string): string => path.join(dir, name)
const keys = (): string[] => fs.readdirSync(at('keys')).sort()
const vkey = (): string => fs.readFileSync(at('log.vkey'), 'utf8').trim()
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))
const anew = (...words: string[]): ReturnType<typeof run> => run(['log', 're-anchor', '--dir', dir, ...words])
const served = async (use: (plane: Awaited<ReturnType<typeof startPlane>>) => Promise<void>): Promise<void> => {
  const plane = await startPlane(dir)
  await use(plane).finally(() => end(plane.child))
}

/** The key after the first re-anchoring. */
let second: string
describe('sealwrit log re-anchor', () => {
  let original: string
  it('ATK-043: of a store that was put back: `up` says that it is closed, fsck and log read it, nothing is permitted', async () => {
    await served(async () => {
      expect((await run(['doctor', '--dir', dir])).exit).toBe(0)
    })
    original = vkey()
    const backup = fs.readFileSync(at('store.db'))
    await served(async () => {
      expect((await run(['doctor', '--dir', dir])).exit).toBe(0)
      expect((await run(['export', 'all', '--dir', dir, '-o', path.join(root, 'before.json')])).exit).toBe(0)
      const refused = await anew('--yes')
      expect(refused).toMatchObject({ exit: 1, stdout: '', stderr: `sealwrit: a plane runs on ${dir}\n  hint: stop it first\n` })
    })
    fs.writeFileSync(at('store.db'), backup)
    const damaged = await run(['fsck', '--dir', dir])
    expect(damaged.exit).toBe(13)
    expect(damaged.stdout).toMatch(/^damaged .*\n {2}problem: the store holds \d+ entries, and the log key signed \d+: an older copy is in its place/)
    await served(async ({ url }) => {
      expect((await fetch(`${url}/readyz`)).status).toBe(503)
      expect((await run(['log', '--dir', dir])).exit).toBe(0)
      expect((await run(['export', 'all', '--dir', dir, '-o', path.join(root, 'closed.json')])).exit).toBe(0)
    })
    expect((await run(['verify', path.join(root, 'closed.json'), '--dir', dir])).exit).toBe(0)
  })
  it('asks first: without a terminal and without --yes nothing is changed', async () => {
    const before = keys()
    expect(await anew()).toMatchObject({ exit: 2, stdout: '', stderr: 'sealwrit: this cannot be undone, and there is no terminal to ask at\n  hint: add --yes\n' })
    expect(keys()).toEqual(before)
    expect(vkey()).toBe(original)
  })
  it('goes on under a new key, keeps the old one aside, and says what was lost and who must be told', async () => {
    const done = await anew('--yes')
    expect(done.stderr).toBe('')
    expect(done.stdout).toMatch(/^re-anchored at index \d+; \d+ entries of the earlier history are lost \(newest known: size \d+, root sha256:[0-9a-f]{64}\)\n {2}new log key: [^\n]+\n {2}hand it to every gate, witness and verifier elsewhere; \d+ gates of this folder begin anew\n$/)
    expect(done.exit).toBe(0)
    second = vkey()
    expect(second).not.toBe(original)
    expect(keys().filter((name) => name.startsWith('log.pem'))).toEqual(['log.pem', expect.stringMatching(/^log\.pem\.[0-9a-f]{8}\.retired$/)])
    for (const name of keys()) expect(fs.statSync(at(`keys/${name}`)).mode & 0o077, name).toBe(0)
    expect((await run(['fsck', '--dir', dir])).stdout).toMatch(/^sound/)
    await served(async () => {
      expect((await run(['doctor', '--dir', dir])).exit).toBe(0)
      expect((await run(['export', 'all', '--dir', dir, '-o', path.join(root, 'after.json')])).exit).toBe(0)
    })
    const now = await run(['verify', path.join(root, 'after.json'), '--dir', dir])
    expect(now).toMatchObject({ exit: 0 })
    expect(now.stdout).toMatch(/the log was re-anchored at index \d+: a history of \d+ entries was lost/)
    expect((await run(['verify', path.join(root, 'after.json'), '--key', original])).exit).toBe(13)
    expect((await run(['verify', path.join(root, 'before.json'), '--key', original])).exit).toBe(0)
  })
  it.each(['the entry is logged, and no key is in its place', 'the new key is in its place, and its public half is not'] as const)('cut off when %s, it is run again', async (moment) => {
    const was = { pem: fs.readFileSync(at('keys/log.pem')), vkey: vkey(), keys: keys() }
    expect((await anew('--yes')).exit).toBe(0)
    const fresh = { pem: fs.readFileSync(at('keys/log.pem')), vkey: vkey() }
    // As a crash at that moment leaves the folder.
    fs.writeFileSync(at('log.vkey'), `${was.vkey}\n`)
    if (moment.startsWith('the new key')) {
      fs.writeFileSync(at('log.vkey.new'), `${fresh.vkey}\n`, { mode: 0o600 })
    } else {
      fs.writeFileSync(at('keys/log.pem'), was.pem)
      fs.writeFileSync(at('keys/log.pem.next'), fresh.pem, { mode: 0o600 })
      for (const name of keys()) if (!was.keys.includes(name) && name.endsWith('.retired')) fs.rmSync(at(`keys/${name}`))
    }
    const stuck = await run(['up', '--dir', dir, '--listen', '127.0.0.1:0'])
    expect(stuck.exit).toBe(1)
    expect((await anew('--yes')).exit).toBe(0)
    expect(vkey()).toBe(fresh.vkey)
    expect((await run(['fsck', '--dir', dir])).stdout).toMatch(/^sound/)
    await served(async ({ url }) => expect((await fetch(`${url}/readyz`)).status).toBe(200))
  })
  it('prints JSON, and refuses a folder without a plane', async () => {
    const { stdout, exit } = await anew('--yes', '--json')
    expect(exit).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ seq: expect.any(Number), lost: { size: expect.any(Number), root: expect.stringMatching(/^sha256:/) }, key: vkey() })
    expect((await run(['log', 're-anchor', '--dir', path.join(root, 'none'), '--yes'])).exit).not.toBe(0)
  })
})

describe('tampering, through the command line', () => {
  it('S21, ATK-070: fsck and verify end with 13 and each with its own reason', async () => {
    const store = fs.readFileSync(at('store.db'))
    const { DatabaseSync } = await import('node:sqlite')
    for (const [sql, why] of [
      ["UPDATE commit_group SET entries = replace(entries, '\"risk\":\"', '\"Risk\":\"') WHERE entries LIKE '%\"risk\":\"%'", /problem: entry \d+: /],
      ['DELETE FROM commit_group WHERE first_seq = (SELECT first_seq FROM commit_group ORDER BY first_seq LIMIT 1 OFFSET 3)', /problem: group \d+ does not follow entry \d+/],
      ['DELETE FROM commit_group WHERE first_seq = (SELECT max(first_seq) FROM commit_group)', /problem: the store holds \d+ entries, and the log key signed \d+/],
      ["INSERT INTO spent VALUES ('jti AAAAAAAAAAAAAAAAAAAAAA', 1)", /problem: the key jti A+ is spent, and no entry spends it/],
    ] as const) {
      fs.writeFileSync(at('store.db'), store)
      const database = new DatabaseSync(at('store.db'))
      expect(Number(database.prepare(sql).run().changes), sql).toBeGreaterThan(0)
      database.close()
      const { exit, stdout } = await run(['fsck', '--dir', dir])
      expect({ exit, sql }).toEqual({ exit: 13, sql })
      expect(stdout).toMatch(why)
    }
    fs.writeFileSync(at('store.db'), store)
    const lines = fs.readFileSync(path.join(root, 'after.json'), 'utf8')
    const bad = path.join(root, 'bad.json')
    for (const [change, why] of [
      [(text: string) => text.replace(/\\"kind\\":\\"gate\\"/, '\\"kind\\":\\"tool\\"'), /contradicted/],
      [(text: string) => text.replace(/index (\d+)\\n/, 'index 9999\\n'), /index outside the tree/],
      [(text: string) => text.slice(0, -40), /is not an evidence bundle/],
    ] as const) {
      fs.writeFileSync(bad, change(lines))
      expect(fs.readFileSync(bad, 'utf8')).not.toBe(lines)
      const { exit, stdout, stderr } = await run(['verify', bad, '--key', second])
      expect(exit).toBe(13)
      expect(stdout + stderr).toMatch(why)
    }
  })
})
