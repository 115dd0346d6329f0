import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import type { AnchorOutcome, ListedSink } from '@sealwrit/control-plane'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { end, run, startPlane } from '../../../test/support/processes.ts'
import { noOpenssl, OpensslTsa, opensslAnswer, serve } from '../../../test/support/tsa.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-anchor-')))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))

describe.skipIf(noOpenssl !== undefined)('sealwrit anchor', () => {
  const dir = path.join(root, 'project', '.sealwrit')
  const key = path.join(dir, 'log.vkey')
  const copies = path.join(root, 'copies.jsonl')
  const at = (name: string): string => path.join(root, name)
  let tsa: OpensslTsa
  let authority: Awaited<ReturnType<typeof serve>>
  let plane: Awaited<ReturnType<typeof startPlane>>
  beforeAll(async () => {
    tsa = new OpensslTsa()
    tsa.root('root')
    tsa.root('stranger')
    tsa.issue('clock', 'root', 'tsa', 'rsa')
    authority = await serve(opensslAnswer(tsa, 'clock'))
    fs.mkdirSync(path.dirname(dir))
    fs.cpSync(path.resolve(import.meta.dirname, '../starter/policies'), path.join(root, 'project', 'policies'), { recursive: true })
    fs.copyFileSync(path.resolve(import.meta.dirname, '../starter/schema.cedarschema'), path.join(root, 'project', 'policies', 'schema.cedarschema'))
    fs.writeFileSync(path.join(root, 'project', 'sealwrit.yaml'), `anchors:\n  - { type: rfc3161, url: "${authority.url}" }\n  - { type: file, path: ../copies.jsonl }\n  - { type: http, url: "http://127.0.0.1:9/none" }\nanchor_interval_minutes: 10080\n`)
    plane = await startPlane(dir)
  })
  afterAll(async () => {
    await end(plane.child)
    await authority.close()
    tsa.remove()
  })

  it('now: each place answers for itself, and one that fails makes the exit code 1', async () => {
    const { exit, stdout, stderr } = await run(['anchor', 'now', '--dir', dir])
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^anchored {2}rfc3161 http:\/\/127\.0\.0\.1:\d+\/tsa: the checkpoint of \d+ entries\nanchored {2}file .*copies\.jsonl: the checkpoint of \d+ entries\nfailed {4}http http:\/\/127\.0\.0\.1:9\/none: not reachable \(ECONNREFUSED\)\n$/)
    expect(exit).toBe(1)
    const { outcomes } = JSON.parse((await run(['anchor', 'now', '--json', '--dir', dir])).stdout) as { outcomes: AnchorOutcome[] }
    for (const [name, outcome] of [['token.json', outcomes[0]], ['copy.json', outcomes[1]]] as const) fs.writeFileSync(at(name), JSON.stringify((outcome as { anchor: unknown }).anchor))
  })
  it('list: shows the last success and the last failure of each place', async () => {
    const { exit, stdout } = await run(['anchor', 'list', '--dir', dir])
    expect(exit).toBe(0)
    expect(stdout).toMatch(/rfc3161 http.*\n {2}\d+ anchored, the last at 20.* \(the plane’s clock\): the checkpoint of \d+ entries\nfile .*\n {2}\d+ anchored.*\nhttp .*\n {2}nothing anchored yet\n {2}failed at 20.*: not reachable/)
    const { sinks } = JSON.parse((await run(['anchor', 'list', '--json', '--dir', dir])).stdout) as { sinks: ListedSink[] }
    expect(sinks.map(({ type, isConfigured }) => [type, isConfigured])).toEqual([['rfc3161', true], ['file', true], ['http', true]])
  })
  it('verify: with the authority’s certificate, or one above it, an external time; anywhere, offline', async () => {
    fs.copyFileSync(key, at('log.vkey'))
    for (const certificate of ['root.crt', 'clock.crt']) {
      const { exit, stdout } = await run(['anchor', 'verify', at('token.json'), '--tsa-cert', tsa.file(certificate), '--key', at('log.vkey')], { cwd: '/' })
      expect(stdout).toMatch(/^external time {2}the checkpoint of \d+ entries existed at 20.*Z \(± 1501 ms\), by the word of TSA `clock`\n {2}log key /)
      expect(exit).toBe(0)
    }
    const json = await run(['anchor', 'verify', at('token.json'), '--tsa-cert', tsa.file('root.crt'), '--dir', dir, '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({ kind: 'external time', timeKind: 'tsa', tsa: 'clock', origin: plane.origin, accuracyMs: 1_501 })
  })
  it('verify: without a certificate, under another one, or for a copy: exit 13, and no word of proof', async () => {
    const cases: [string[], RegExp][] = [
      [[at('token.json')], /^local {2}not established .* the token says .*, but no TSA certificate was given\n/],
      [[at('token.json'), '--tsa-cert', tsa.file('stranger.crt')], /^local {2}not established .*does not lead to a TSA certificate that was given\n/],
      [[at('copy.json'), '--tsa-cert', tsa.file('root.crt')], /^copy {2}a copy of the checkpoint .* was written to .*, by the plane’s own word: not external proof\n/],
    ]
    for (const [args, text] of cases) {
      const { exit, stdout } = await run(['anchor', 'verify', ...args, '--key', key])
      expect(stdout).toMatch(text)
      expect(exit).toBe(13)
      expect(JSON.parse((await run(['anchor', 'verify', ...args, '--key', key, '--json'])).stdout)).not.toMatchObject({ kind: 'external time' })
    }
    expect(fs.readFileSync(copies, 'utf8')).toContain(JSON.parse(fs.readFileSync(at('copy.json'), 'utf8')).checkpoint.split('\n')[2])
  })
  it('verify: what was tampered with is named with its reason, exit 13', async () => {
    const anchor = JSON.parse(fs.readFileSync(at('token.json'), 'utf8')) as { checkpoint: string; token: string }
    const copy = JSON.parse(fs.readFileSync(at('copy.json'), 'utf8')) as { checkpoint: string }
    const bytes = Buffer.from(anchor.token, 'base64')
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
    const check = async (value: unknown, certificate = 'root.crt'): Promise<string> => {
      fs.writeFileSync(at('changed.json'), typeof value === 'string' ? value : JSON.stringify(value))
      const { exit, stderr, stdout } = await run(['anchor', 'verify', at('changed.json'), '--tsa-cert', tsa.file(certificate), '--key', key])
      expect({ exit, stdout }).toEqual({ exit: 13, stdout: '' })
      return stderr
    }
    expect(await check({ ...anchor, token: bytes.toString('base64') })).toContain('does not hold: signature_invalid')
    expect(await check({ ...anchor, checkpoint: copy.checkpoint.replace(/\n\d+\n/, '\n1\n') })).toContain('does not hold: signature_invalid')
    expect(await check({ ...anchor, token: 'MAA=' })).toContain('does not hold: token_malformed')
    expect(await check({ ...anchor, extra: 1 })).toContain('does not hold: artifact_malformed')
    expect(await check('{"type":"file","type":"file"}')).toContain('does not hold: request_malformed')
  })
  it('verify: says what is wrong with the files that it was given', async () => {
    expect(await run(['anchor', 'verify', at('token.json'), '--tsa-cert', key, '--key', key])).toMatchObject({ exit: 2, stderr: expect.stringMatching(/--tsa-cert .*no certificate in it\n {2}hint: give the authority’s certificate/) })
    expect(await run(['anchor', 'verify', at('token.json'), '--tsa-cert', '/no/such', '--key', key])).toMatchObject({ exit: 1, stderr: expect.stringContaining('/no/such cannot be read (ENOENT)') })
    expect(await run(['anchor', 'verify', at('missing.json'), '--key', key])).toMatchObject({ exit: 1, stderr: expect.stringContaining('cannot be read (ENOENT)') })
    expect(await run(['anchor', 'verify', at('token.json'), '--dir', at('nowhere')])).toMatchObject({ exit: 2, stderr: expect.stringContaining('no key to verify against') })
    fs.writeFileSync(at('large.json'), Buffer.alloc(131_073, 0x20))
    expect(await run(['anchor', 'verify', at('large.json'), '--key', key])).toMatchObject({ exit: 1, stderr: expect.stringContaining('larger than 131072 bytes') })
  })
})

describe('anchors in sealwrit.yaml', () => {
  const folder = fs.mkdtempSync(path.join(root, 'config-'))
  it.each<[string, string, RegExp]>([
    ['an unknown type', '[{ type: blockchain, url: "https://x.example" }]', /anchors\.0\.type: /],
    ['an unknown member', '[{ type: file, path: /mnt/a, format: csv }]', /anchors\.0: .*format/],
    ['a file without a path', '[{ type: file }]', /anchors\.0\.path: /],
    ['plain http elsewhere', '[{ type: rfc3161, url: "http://tsa.example/" }]', /anchors\.0\.url: only https, or http on loopback/],
    ['a password', '[{ type: http, url: "https://u:hunter2@x.example/" }]', /anchors\.0\.url: a URL with a password would stand in evidence/],
    ['no URL', '[{ type: http, url: "x" }]', /anchors\.0\.url: not a URL/],
    ['a file in the plane’s folder', '[{ type: file, path: .sealwrit/anchors.jsonl }]', /anchors\.0\.path: lies in the plane’s own folder\n {2}hint: name a file on another disk/],
    ['a way round into it', '[{ type: file, path: link/anchors.jsonl }]', /anchors\.0\.path: lies in the plane’s own folder/],
    ['a place twice', '[{ type: file, path: /mnt/a }, { type: file, path: /mnt/../mnt/a }]', /anchors\.1\.type: the same place twice/],
    ['nine places', `[${Array.from({ length: 9 }, (_, i) => `{ type: file, path: /mnt/${i} }`).join(', ')}]`, /anchors: /],
    ['an interval of nothing', '[]\nanchor_interval_minutes: 0', /anchor_interval_minutes: /],
  ])('%s keeps the plane from starting, and is named without secrets', async (_name, anchors, message) => {
    fs.mkdirSync(path.join(folder, '.sealwrit'), { recursive: true, mode: 0o700 })
    if (!fs.existsSync(path.join(folder, 'link'))) fs.symlinkSync('.sealwrit', path.join(folder, 'link'))
    fs.writeFileSync(path.join(folder, 'sealwrit.yaml'), `anchors: ${anchors}\n`)
    const { exit, stderr, stdout } = await run(['up', '--listen', '127.0.0.1:0'], { cwd: folder })
    expect({ exit, stdout }).toEqual({ exit: 1, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).not.toContain('hunter2')
    expect(fs.readdirSync(path.join(folder, '.sealwrit'))).toEqual([])
  })
  it('a plane without places says so', async () => {
    const dir = path.join(root, 'plain')
    const plane = await startPlane(dir)
    try {
      expect(await run(['anchor', 'now', '--dir', dir])).toMatchObject({ exit: 1, stderr: expect.stringMatching(/this plane anchors its checkpoints nowhere\n {2}hint: name a place under `anchors` in sealwrit\.yaml/) })
      expect(await run(['anchor', 'list', '--dir', dir])).toMatchObject({ exit: 0, stdout: 'this plane anchors its checkpoints nowhere\n' })
    } finally {
      await end(plane.child)
    }
  })
})
