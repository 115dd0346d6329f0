import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../test/support/agent.ts'
import { end, run, sealwrit } from '../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-defense-')))
const at = (...names: string[]): string => path.join(root, ...names)
const dir = at('.sealwrit')
const files = at('files')
const children: ChildProcess[] = []
const cli = (...args: string[]): ReturnType<typeof run> => run([...args, '--dir', dir], { cwd: root })
/** The first thing that a process says, as JSON. */
async function told<T>(child: ChildProcess): Promise<T> {
  children.push(child)
  let [out, errors] = ['', '']
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      if (out.trimEnd().endsWith('}')) resolve(JSON.parse(out) as T)
    })
    child.once('exit', () => reject(new Error(errors)))
  })
}
const startPlane = (): Promise<{ profiles: string[] }> => told(sealwrit(['up', '--json', '--dir', dir, '--listen', '127.0.0.1:0'], { cwd: root }))

/** What the release build would sign about the file server. */
function statement(keys: ReturnType<typeof generateKeyPairSync>): string {
  const script = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-filesystem/dist/index.js')
  const type = 'application/vnd.in-toto+json'
  const sha256 = createHash('sha256').update(fs.readFileSync(script)).digest('hex')
  const payload = Buffer.from(JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', subject: [{ name: 'index.js', digest: { sha256 } }], predicateType: 'https://slsa.dev/provenance/v1', predicate: { runDetails: { builder: { id: 'https://ci.example/release' } } } }))
  const sig = sign(null, Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]), keys.privateKey).toString('base64')
  fs.writeFileSync(at('server.statement.json'), JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json', verificationMaterial: { publicKey: { hint: 'ci' }, tlogEntries: [] }, dsseEnvelope: { payload: payload.toString('base64'), payloadType: type, signatures: [{ sig }] } }))
  return at('server.statement.json')
}

let attested = ''
beforeAll(async () => {
  for (const name of ['sealwrit.yaml', 'schema.cedarschema', 'policies', 'protected']) fs.cpSync(path.join(import.meta.dirname, name), at(name), { recursive: true })
  for (const folder of ['elsewhere', 'files']) fs.mkdirSync(at(folder))
  fs.writeFileSync(path.join(files, 'orders.txt'), 'hold the bridge')
  const ci = generateKeyPairSync('ed25519')
  fs.writeFileSync(at('ci.pem'), ci.publicKey.export({ type: 'spki', format: 'pem' }))
  fs.writeFileSync(at('id.jwks.json'), JSON.stringify({ keys: [{ ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }), kid: 'id', alg: 'ES256', use: 'sig' }] }))
  attested = statement(ci as never)
  const signer = spawn(process.execPath, [path.resolve(import.meta.dirname, '../signer-process/signer.mjs'), '--socket', at('signer.sock'), '--key', at('log-signer.pem'), '--hybrid'], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(signer)
  await once(signer.stdout as NodeJS.ReadableStream, 'data')
  // The first run makes the folder and says who the log is; the witnesses need that.
  const configured = fs.readFileSync(at('sealwrit.yaml'), 'utf8')
  fs.writeFileSync(at('sealwrit.yaml'), configured.replace(/^(profile|witness\w*):.*\n/gm, ''))
  const first = sealwrit(['up', '--json', '--dir', dir, '--listen', '127.0.0.1:0'], { cwd: root })
  await told(first)
  await end(first)
  const lines: string[] = []
  for (const name of ['w1', 'w2']) lines.push((await told<{ policy_line: string }>(sealwrit(['witness', '--json', '--dir', at(name), '--listen', '127.0.0.1:0', '--log', path.join(dir, 'log.vkey')]))).policy_line)
  const names = lines.map((text) => text.split(' ')[1] as string)
  fs.writeFileSync(at('witnesses.policy'), `${lines.join('\n')}\ngroup both all ${names.join(' ')}\nquorum both\n`)
  fs.writeFileSync(at('sealwrit.yaml'), configured)
}, 120_000)
afterAll(async () => {
  for (const child of children.toReversed()) await end(child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('a deployment under the profile defense', () => {
  it('starts, lets a read reach A4, holds a write for two officers, and shows a stranger that it was so', { timeout: 180_000 }, async () => {
    expect((await startPlane()).profiles).toEqual(['defense'])
    expect((await cli('profile', 'defense')).stdout).not.toContain('✗')
    expect((await cli('policy', 'test', at('policies'))).exit).toBe(0)
    const conforms = await cli('conformance', '--target', `unix:${path.join(dir, 'plane.sock')}`, '--profile', 'defense', '--rule', 'profile')
    expect([conforms.exit, conforms.stdout]).toEqual([0, expect.stringContaining('held 9, broken 0, not checked 0')])
    const added = await cli('agent', 'add', 'reader', '--json')
    const { file: key } = JSON.parse(added.stdout) as { file: string }
    const open = async (...words: string[]): Promise<Agent> => {
      const gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'files', '--agent', 'reader', '--agent-key', key, ...words, '--', 'npx', '@modelcontextprotocol/server-filesystem', files], { cwd: path.resolve(import.meta.dirname, '../..') })
      gateway.stderr?.resume()
      children.push(gateway)
      const agent = new Agent(gateway)
      expect(await agent.initialize()).toBe(true)
      await agent.request('tools/list', {})
      return agent
    }
    const call = async (agent: Agent, name: string, args: object): Promise<string> => JSON.stringify(await agent.request('tools/call', { name, arguments: args }))
    expect(await call(await open(), 'read_text_file', { path: path.join(files, 'orders.txt') })).toContain('environment_unattested')
    const agent = await open('--attestation', attested)
    expect(await call(agent, 'read_text_file', { path: path.join(files, 'orders.txt') })).toContain('hold the bridge')
    expect(await call(agent, 'read_text_file', { path: '/etc/passwd' })).toContain('policy_no_match')
    expect(await call(agent, 'move_file', { source: path.join(files, 'orders.txt'), destination: path.join(files, 'b') })).toContain('policy_denied')
    expect(await call(agent, 'write_file', { path: path.join(files, 'orders.txt'), content: 'retreat' })).toContain('approval_required')
    expect(fs.readFileSync(path.join(files, 'orders.txt'), 'utf8')).toBe('hold the bridge')

    const found = JSON.parse((await cli('log', 'search', '--min-assurance', 'A4', '--json')).stdout) as { executions: { id: string }[] }
    expect(found.executions).toHaveLength(1)
    const bundle = at('read.json')
    expect((await cli('export', found.executions[0]?.id as string, '-o', bundle)).exit).toBe(0)
    const { exit, stdout } = await run(['verify', bundle, '--key', path.join(dir, 'log.vkey'), '--witness-policy', at('witnesses.policy'), '--replay'])
    expect([exit, stdout]).toEqual([0, expect.stringContaining('the receipt states the assurance that its permit')])
    expect(stdout).not.toContain('the assurance that 1 receipts state') // the gate's session is in the evidence of this one execution
  })

  it('takes no policy that asks for less, and does not start once a witness is taken out of its configuration', { timeout: 120_000 }, async () => {
    fs.writeFileSync(at('policies', 'weak.cedar'), '@id("weak") @risk("low")\npermit (principal == Agent::"reader", action == Action::"mcp.tool_call", resource == Tool::"mcp://files/list_directory");\n')
    const refused = await cli('policy', 'activate', at('policies'))
    expect([refused.exit, refused.stdout]).toEqual([1, expect.stringMatching(/defense\.signed_environment[\s\S]*defense\.assurance/)])
    fs.rmSync(at('policies', 'weak.cedar'))
    const policy = fs.readFileSync(at('witnesses.policy'), 'utf8')
    fs.writeFileSync(at('witnesses.policy'), policy.replace('group both all', 'group both any'))
    const plane = children.findLast((one) => one.spawnargs.includes('up') && one.exitCode === null && one.signalCode === null) as ChildProcess
    await end(plane)
    const { exit, stderr } = await cli('up', '--listen', '127.0.0.1:0')
    expect([exit, stderr]).toEqual([1, expect.stringContaining('defense.two_witnesses')])
    fs.writeFileSync(at('witnesses.policy'), policy)
  })
})
