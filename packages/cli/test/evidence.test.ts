import type { ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { end, run, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-evidence-')))
const dir = path.join(root, 'plane')
const at = (name: string): string => path.join(root, name)
let plane: { child: ChildProcess; url: string; origin: string }
let files: http.Server
const prefixOf = (server: http.Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

beforeAll(async () => {
  plane = await startPlane(dir)
  await run(['doctor', '--dir', dir])
  // Any file server: it knows nothing of logs.
  files = http.createServer((request, response) => {
    const file = path.join(root, decodeURIComponent(new URL(request.url ?? '', 'http://x').pathname))
    if (fs.existsSync(file) && fs.statSync(file).isFile()) response.end(fs.readFileSync(file))
    else response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  files.close()
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})
const report = async (args: string[]): Promise<{ exit: number; verdict: string; established: string[]; findings: string[] }> => {
  const { exit, stdout, stderr } = await run(['verify', '--json', ...args])
  if (stdout === '') return { exit, verdict: stderr, established: [], findings: [] }
  const { verdict, established, findings } = JSON.parse(stdout) as { verdict: string; established: { claim: string }[]; findings: { claim: string }[] }
  return { exit, verdict, established: established.map(({ claim }) => claim), findings: findings.map(({ claim }) => claim) }
}

describe('evidence', () => {
  it('links the checkpoint that somebody holds, for the whole log and for one execution', async () => {
    const held = at('held.note')
    fs.writeFileSync(held, await (await fetch(`${plane.url}/t/default/checkpoint`)).text())
    await run(['doctor', '--dir', dir])
    const { entries } = JSON.parse((await run(['log', '--dir', dir, '--json', '--kind', 'permit', '--limit', '1'])).stdout) as { entries: { jti: string }[] }
    const jti = entries[0]?.jti as string
    const history = 'the history is that of a checkpoint that was given'
    await run(['export', 'all', '-o', at('all.json'), '--dir', dir])
    expect((await report([at('all.json'), '--dir', dir, '--checkpoint', held])).established).toContain(history)
    await run(['export', jti, '-o', at('one.json'), '--dir', dir])
    expect((await report([at('one.json'), '--dir', dir, '--checkpoint', held])).findings.join()).toContain('nothing in the bundle links the given checkpoint')
    await run(['export', jti, '--since', held, '-o', at('linked.json'), '--dir', dir])
    const linked = await report([at('linked.json'), '--dir', dir, '--checkpoint', held])
    expect(linked).toMatchObject({ exit: 0, verdict: 'established' })
    expect(linked.established).toContain(history)
  })
  it('is replayed: every decision comes out again, and one whose inputs were swapped does not', async () => {
    const replayed = await report([at('all.json'), '--dir', dir, '--replay'])
    expect(replayed).toMatchObject({ exit: 0, verdict: 'established' })
    expect(replayed.established).toContain('the policies give this decision again, with its reasons and obligations')
    const { stdout } = await run(['verify', at('all.json'), '--dir', dir, '--replay'])
    expect(stdout).toMatch(/established: the policies give this decision again, with its reasons and obligations \(6 times\)/)
  })
  it('passes through pipes', async () => {
    const { stdout } = await run(['export', 'all', '--dir', dir])
    expect((await run(['verify', '-', '--dir', dir], { input: stdout })).stdout).toMatch(/^established/)
  })
})

describe('a mirror', () => {
  it('of the local plane is a folder that verify accepts, and that is brought up to date', async () => {
    const first = await run(['log', 'mirror', at('mirror'), '--dir', dir])
    expect(first.stdout).toMatch(/entries added; .* holds all \d+ of [0-9a-f]+\.local\/default/)
    expect(await report([at('mirror'), '--dir', dir])).toMatchObject({ exit: 0, verdict: 'established' })
    await run(['doctor', '--dir', dir])
    const again = JSON.parse((await run(['log', 'mirror', at('mirror'), '--dir', dir, '--json'])).stdout) as { added: number; size: number }
    expect(again.added).toBeGreaterThan(0)
    expect(again.added).toBeLessThan(again.size)
    expect((await report([at('mirror'), '--dir', dir])).established).toContain('these are all entries that the log key signed, and no others')
  })
  it('over HTTP asks for the token, and a mirror behind any file server can be mirrored again', async () => {
    const key = path.join(dir, 'log.vkey')
    const refused = await run(['log', 'mirror', at('http'), '--url', `${plane.url}/t/default`, '--key', key])
    expect(refused.exit).toBe(14)
    expect(refused.stderr).toContain('give the token with --token-file')
    expect((await run(['log', 'mirror', at('http'), '--url', `${plane.url}/t/default`, '--token-file', path.join(dir, 'token'), '--key', key])).exit).toBe(0)
    expect((await run(['log', 'mirror', at('second'), '--url', `${prefixOf(files)}/http`, '--key', key])).exit).toBe(0)
    expect(await report([at('second'), '--key', key])).toMatchObject({ verdict: 'established' })
  })
  it('ATK-070: one byte changed in any of its files is refused with 13', async () => {
    const source = at('http')
    const names = (fs.readdirSync(source, { recursive: true }) as string[]).filter((name) => fs.statSync(path.join(source, name)).isFile())
    expect(names.length).toBeGreaterThan(2)
    for (const name of names) {
      const copy = at('damaged')
      fs.rmSync(copy, { recursive: true, force: true })
      fs.cpSync(source, copy, { recursive: true })
      const bytes = fs.readFileSync(path.join(copy, name))
      bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1)
      fs.writeFileSync(path.join(copy, name), bytes)
      expect((await report([copy, '--dir', dir])).exit, name).toBe(13)
    }
  })
  it('ATK-068: of a log that shows another history, or a shorter one, is refused and left as it was', async () => {
    const other = await startPlane(at('other'))
    const foreign = await run(['log', 'mirror', at('mirror'), '--dir', at('other'), '--key', path.join(dir, 'log.vkey')])
    expect(foreign.exit).toBe(13)
    await end(other.child)
    const old = fs.readFileSync(path.join(at('http'), 'checkpoint'), 'utf8')
    await run(['doctor', '--dir', dir])
    await run(['log', 'mirror', at('mirror'), '--dir', dir])
    const shorter = await run(['log', 'mirror', at('mirror'), '--url', `${prefixOf(files)}/http`, '--key', path.join(dir, 'log.vkey')])
    expect(shorter).toMatchObject({ exit: 13 })
    expect(shorter.stderr).toMatch(/the log has \d+ entries, and this mirror holds \d+ that the same key signed/)
    expect(fs.readFileSync(path.join(at('mirror'), 'checkpoint'), 'utf8')).not.toBe(old)
    expect(await report([at('mirror'), '--dir', dir])).toMatchObject({ exit: 0 })
  })
})
