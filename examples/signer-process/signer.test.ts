import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as net from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { once } from 'node:events'
import { afterAll, describe, expect, it } from 'vitest'
import { end, run, startPlane } from '../../test/support/processes.ts'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-signer-'))
const children: ChildProcess[] = []
afterAll(async () => {
  for (const child of children) await end(child)
  fs.rmSync(root, { recursive: true, force: true })
})

async function startSigner(socket: string, ...args: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'signer.mjs'), '--socket', socket, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}
const config = (name: string, keys: string): string => {
  const dir = path.join(root, name, '.sealwrit')
  fs.mkdirSync(path.join(root, name), { recursive: true })
  fs.writeFileSync(path.join(root, name, 'sealwrit.yaml'), `policies: .sealwrit/policies\nkeys: ${keys}\n`)
  return dir
}
async function verified(dir: string, name: string): Promise<void> {
  const file = path.join(root, `${name}.json`)
  expect((await run(['export', 'all', '--output', file, '--dir', dir])).exit).toBe(0)
  expect((await run(['verify', file, '--key', path.join(dir, 'log.vkey')])).exit).toBe(0)
}

describe('a log key in a process of its own', () => {
  it('signs for a plane that never has it, refuses what is no checkpoint, and hands over to another one', async () => {
    const [socket, second] = [path.join(root, 'a.sock'), path.join(root, 'b.sock')]
    const signer = await startSigner(socket, '--key', path.join(root, 'a.pem'))
    const dir = config('plane', `{ log: { signer: ${socket} } }`)
    const plane = await startPlane(dir)
    expect(fs.existsSync(path.join(dir, 'keys', 'log.pem'))).toBe(false)
    await verified(dir, 'first')
    await end(plane.child)

    const answer = await new Promise<string>((resolve) => {
      const client = net.connect(socket, () => client.write(`${JSON.stringify({ id: 1, method: 'sign', algorithm: 'Ed25519', message: Buffer.from('a cheque').toString('base64url') })}\n`))
      client.once('data', (chunk) => resolve(chunk.toString()))
    })
    expect(JSON.parse(answer)).toEqual({ id: 1, error: 'refused' })

    await startSigner(second, '--key', path.join(root, 'b.pem'))
    config('plane', `{ log: { signer: ${socket}, next: ${second} } }`)
    const again = await startPlane(dir)
    const was = fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8')
    expect((await run(['key', 'rotate', 'log', '--overlap', '0', '--dir', dir])).exit).toBe(0)
    for (let i = 0; i < 200 && fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8') === was; i++) await new Promise((resolve) => setTimeout(resolve, 25))
    expect(fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8')).not.toBe(was)
    await end(signer) // the retired one is not needed any more
    await verified(dir, 'second')
    await end(again.child)
    config('plane', `{ log: { signer: ${second} } }`)
    const third = await startPlane(dir)
    await verified(dir, 'third')
    await end(third.child)
  }, 120_000)

  const module = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so'].find((file) => fs.existsSync(file))
  const missing = module === undefined || spawnSync('pkcs11-tool', ['--version']).error !== undefined || spawnSync('softhsm2-util', ['--version']).error !== undefined
  if (missing) process.stderr.write('\nVOID: no softhsm2 and opensc on this machine: no token signed a log\n')
  it.skipIf(missing)(missing ? 'VOID without softhsm2 and opensc: in a PKCS #11 token' : 'in a PKCS #11 token', async () => {
    const conf = path.join(root, 'softhsm2.conf')
    fs.mkdirSync(path.join(root, 'tokens'))
    fs.writeFileSync(conf, `directories.tokendir = ${path.join(root, 'tokens')}\n`)
    fs.writeFileSync(path.join(root, 'pin'), '1234\n', { mode: 0o600 })
    process.env['SOFTHSM2_CONF'] = conf
    const made = (...args: string[]): void => expect(spawnSync(args[0] as string, args.slice(1), { encoding: 'utf8' }).status).toBe(0)
    made('softhsm2-util', '--init-token', '--free', '--label', 'sealwrit', '--pin', '1234', '--so-pin', '1234')
    made('pkcs11-tool', '--module', module as string, '--token-label', 'sealwrit', '--login', '--pin', '1234', '--keypairgen', '--key-type', 'EC:edwards25519', '--label', 'log')
    const socket = path.join(root, 'token.sock')
    await startSigner(socket, '--pkcs11', module as string, '--token', 'sealwrit', '--pin-file', path.join(root, 'pin'))
    const dir = config('token', `{ log: { signer: ${socket} } }`)
    const plane = await startPlane(dir)
    await verified(dir, 'token')
    await end(plane.child)
  }, 120_000)
})
