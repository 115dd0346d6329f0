import type { ChildProcess } from 'node:child_process'
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-environment-')))
const dir = path.join(root, '.sealwrit')
const app = path.join(root, 'app')
const server = path.join(app, 'server.mjs')
const canary = path.join(root, 'canary')
const COMMITS = ['1', '2'].map((digit) => digit.repeat(40)) as [string, string]
const BUILDER = 'https://ci.example/release'
const SLSA = 'https://slsa.dev/provenance/v1'
const keys = generateKeyPairSync('ed25519')
const policy = (commit: string): string =>
  `@id("touch") @environment("level:signed fact:git_commit") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch") when { context has intent && context.intent == Purpose::"maintenance" && context.environment has git_commit && context.environment.git_commit == "${commit}" };\n`
const gateways: ChildProcess[] = []
let plane: ChildProcess

/** What a build would sign about the server's script. */
function statement(file: string, key: KeyObject = keys.privateKey): string {
  const type = 'application/vnd.in-toto+json'
  const sha256 = createHash('sha256').update(fs.readFileSync(server)).digest('hex')
  const payload = Buffer.from(JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', subject: [{ name: 'server.mjs', digest: { sha256 } }], predicateType: SLSA, predicate: { runDetails: { builder: { id: BUILDER } } } }))
  const sig = sign(null, Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]), key).toString('base64')
  fs.writeFileSync(path.join(root, file), JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json', verificationMaterial: { publicKey: { hint: 'ci' }, tlogEntries: [] }, dsseEnvelope: { payload: payload.toString('base64'), payloadType: type, signatures: [{ sig }] } }))
  return path.join(root, file)
}

beforeAll(async () => {
  fs.mkdirSync(path.join(app, '.git/refs/heads'), { recursive: true })
  fs.copyFileSync(path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs'), server)
  fs.writeFileSync(path.join(app, '.git/HEAD'), 'ref: refs/heads/main\n')
  fs.writeFileSync(path.join(app, '.git/refs/heads/main'), `${COMMITS[0]}\n`)
  fs.writeFileSync(path.join(root, 'ci.pem'), keys.publicKey.export({ type: 'spki', format: 'pem' }))
  fs.writeFileSync(canary, '')
  fs.writeFileSync(path.join(root, 'sealwrit.yaml'), `policies: .sealwrit/policies\nenvironment:\n  trust:\n    - name: release\n      predicate_types: ["${SLSA}"]\n      builder: ${BUILDER}\n      keys: { ci: ci.pem }\n`)
  await end((await startPlane(dir)).child) // the first run writes the folder
  const schema = path.join(dir, 'policies', 'schema.cedarschema')
  const text = fs.readFileSync(schema, 'utf8')
  fs.writeFileSync(schema, `entity Purpose enum ["maintenance", "review"];\n${text.replace('lineage: {', 'intent?: Purpose,\n  lineage: {')}`)
  fs.writeFileSync(path.join(dir, 'policies', 'touch.cedar'), policy(COMMITS[0]))
  ;({ child: plane } = await startPlane(dir))
})
afterAll(async () => {
  for (const gateway of gateways) await end(gateway)
  await end(plane)
  fs.rmSync(root, { recursive: true, force: true })
})
async function wrapped(...args: string[]): Promise<Agent> {
  const gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'canary', '--agent', 'coder', ...args, '--', process.execPath, server, canary])
  gateway.stderr?.resume()
  gateways.push(gateway)
  const agent = new Agent(gateway)
  expect(await agent.initialize()).toBe(true)
  return agent
}
const touched = (): string[] => fs.readFileSync(canary, 'utf8').split('\n').filter((line) => line !== '')
const cli = (...args: string[]): ReturnType<typeof run> => run([...args, '--dir', dir])

describe('evidence of the environment, from files to policy', () => {
  it('ATK-014: software-only evidence, or another purpose, runs nothing; signed evidence for the purpose runs', async () => {
    expect(await (await wrapped('--intent', 'maintenance')).touch('unsigned')).toBe('environment_unattested')
    const signed = ['--attestation', statement('signed.json')]
    expect(await (await wrapped(...signed)).touch('no purpose')).toBe('policy_no_match')
    expect(await (await wrapped(...signed, '--intent', 'review')).touch('other purpose')).toBe('policy_no_match')
    expect(await (await wrapped(...signed, '--intent', 'maintenence')).touch('slip')).toBe('request_malformed')
    expect(touched()).toEqual([])
    expect(await (await wrapped(...signed, '--intent', 'maintenance')).touch('all of it')).toBe('ran')
    expect(touched()).toEqual(['all of it'])
  })
  it('says everywhere what the evidence is', async () => {
    const { stdout } = await cli('log')
    expect(stdout).toMatch(/gate .*session .*software-only evidence/)
    expect(stdout).toMatch(/permit .*for maintenance {2}signed evidence/)
    expect((await cli('gate', 'list')).stdout).toMatch(/signed evidence/)
    const { entries } = JSON.parse((await cli('log', '--json')).stdout) as { entries: { kind: string; jti: string }[] }
    const { jti } = entries.findLast(({ kind }) => kind === 'permit') as { jti: string }
    expect((await cli('show', jti)).stdout).toMatch(/env .*signed evidence/)
    const bundle = path.join(root, 'evidence.json')
    expect((await cli('export', 'all', '-o', bundle)).exit).toBe(0)
    expect((await cli('verify', bundle, '--replay')).exit).toBe(0)
    expect(fs.readFileSync(bundle, 'utf8')).toContain(BUILDER)
  })
  it('a commit while the server runs is asked about anew, and undone it runs again', async () => {
    const agent = await wrapped('--attestation', path.join(root, 'signed.json'), '--intent', 'maintenance')
    expect(await agent.touch('before')).toBe('ran')
    fs.writeFileSync(path.join(app, '.git/refs/heads/main'), `${COMMITS[1]}\n`)
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect(await agent.touch('another commit')).toBe('policy_no_match')
    fs.writeFileSync(path.join(app, '.git/refs/heads/main'), `${COMMITS[0]}\n`)
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect(await agent.touch('after')).toBe('ran')
    expect(touched()).toEqual(['all of it', 'before', 'after'])
  })
  it('ATK-014: a statement of somebody else, or about another script, opens no session', async () => {
    const failing = async (file: string): Promise<string> => {
      const { exit, stderr } = await run(['mcp', '--pin', '--dir', dir, '--name', 'canary', '--attestation', file, '--', process.execPath, server, canary])
      expect(exit).not.toBe(0)
      return stderr
    }
    expect(await failing(statement('forged.json', generateKeyPairSync('ed25519').privateKey))).toContain('environment_unattested')
    fs.appendFileSync(server, '\n// changed\n')
    expect(await failing(path.join(root, 'signed.json'))).toContain('environment_unattested')
    expect(await failing(path.join(root, 'canary'))).toContain('is no JSON')
    expect(await failing(path.join(root, 'nothing.json'))).toContain('cannot be read')
  })
  it('a dry run supposes environment and intent', async () => {
    const file = path.join(root, 'action.json')
    const action = { type: 'mcp.tool_call', target: 'mcp://canary', name: 'touch', arguments: {} }
    fs.writeFileSync(file, JSON.stringify({ action, environment: { level: 'signed', git_commit: COMMITS[0] } }))
    expect(JSON.parse((await cli('decide', file, '--intent', 'maintenance', '--json')).stdout)).toMatchObject({ decision: 'permit' })
    fs.writeFileSync(file, JSON.stringify({ action, environment: { git_commit: COMMITS[0] }, intent: 'maintenance' }))
    const { stdout } = await cli('decide', file)
    expect(stdout).toMatch(/environment_unattested[\s\S]*level signed[\s\S]*what would change it: an environment/)
  })
  it.each<[string, string, RegExp]>([
    ['keys and a root', 'keys: { ci: ci.pem }\n      trusted_root: r.json\n      identity: a\n      issuer: b', /either keys or trusted_root/],
    ['neither', 'about: program', /either keys or trusted_root/],
    ['a root without an identity', 'trusted_root: r.json', /needs identity and issuer/],
    ['a key that is not there', 'keys: { ci: missing.pem }', /missing\.pem cannot be read/],
    ['an expression of a member', 'keys: { ci: ci.pem }\n      identity_pattern: ".*"', /identity_pattern|nrecognized/],
  ])('a configuration with %s is refused by name', async (_name, rule, message) => {
    const other = fs.mkdtempSync(path.join(root, 'config-'))
    fs.writeFileSync(path.join(other, 'sealwrit.yaml'), `policies: .sealwrit/policies\nenvironment:\n  trust:\n    - name: release\n      predicate_types: ["${SLSA}"]\n      builder: ${BUILDER}\n      ${rule}\n`)
    const { exit, stderr } = await run(['up', '--dir', path.join(other, '.sealwrit'), '--listen', '127.0.0.1:0'])
    expect(exit).not.toBe(0)
    expect(stderr).toMatch(message)
  })
})
