import { type ChildProcess } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import { loadKeyFile } from '../packages/cli/src/adapters/key-file.ts'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { enforce, Gate, nodeClock, nodeCryptography, nodeNet, nodeRng } from '@sealwrit/gate'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { type Action, canonicalize, checkpointText, commitment, Denied, digestOf, formatSignature, formatVerifierKey, fromBase64Url, NO_WITNESSES, parseVerifierKey, parseWitnessPolicy, utf8, verifyQuorum, WitnessQuorum } from '@sealwrit/protocol'
import { pinOver } from '../packages/control-plane/test/support/pins.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { end, run, sealwrit, startPlane } from './support/processes.ts'

const { sha256 } = nodeCryptography
const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-witnessed-')))
const dir = path.join(root, '.sealwrit')
const key = path.join(dir, 'log.vkey')
const policyFile = path.join(root, 'witnesses.policy')

interface RunningWitness {
  readonly child: ChildProcess
  readonly url: string
  readonly name: string
  readonly vkey: string
  readonly policy_line: string
  readonly logs: readonly string[]
}
/** A witness as a process of its own. */
function startWitness(folder: string, listen = '127.0.0.1:0', logs: readonly string[] = [key]): Promise<RunningWitness> {
  const child = sealwrit(['witness', '--json', '--dir', folder, '--listen', listen, '--log', ...logs])
  return new Promise((resolve, reject) => {
    let [out, errors] = ['', '']
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      if (out.trimEnd().endsWith('}')) resolve({ child, ...(JSON.parse(out) as Omit<RunningWitness, 'child'>) })
    })
    child.once('exit', (code) => reject(new Error(`witness ended (${code}): ${errors}`)))
  })
}

const ACTION: Extract<Action, { type: 'mcp.tool_call' }> = { type: 'mcp.tool_call', target: 'mcp://doctor', name: 'touch', arguments: {}, tool_digest: `sha256:${'a'.repeat(64)}` }
let plane: Awaited<ReturnType<typeof startPlane>>
let witnesses: RunningWitness[] = []
const gates: Gate[] = []
/** A gate in this process on the plane's real socket. */
function gateWith(policy: WitnessQuorum, floor = new MemoryFloor()): { attempt: () => Promise<string>; effects: () => number; gate: Gate } {
  const keys = generateKeyPairSync('ed25519')
  const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
  const commit = commitment('environment', salt, digestOf(canonicalize({}), sha256), sha256)
  const gate = new Gate(
    { socketPaths: [path.join(dir, 'plane.sock')], logKey: parseVerifierKey(fs.readFileSync(key, 'utf8').trim(), sha256), witnesses: policy, tenant: 'default', environment: { level: 'software', salt, document: {}, commit, measure: () => commit }, capabilities: () => false },
    { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor, sign: (m) => sign(null, m, keys.privateKey), publicKey: fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string) },
  )
  gates.push(gate)
  let effects = 0
  let isRecorded = false
  const attempt = async (): Promise<string> => {
    try {
      if (!isRecorded) {
        const tools = [{ name: 'touch', digest: ACTION.tool_digest }]
        await gate.recordTools('mcp://doctor', tools)
        await pinOver(path.join(dir, 'plane.sock'), 'mcp://doctor', tools)
      }
      isRecorded = true
      await enforce(gate, { action: ACTION, agent: { name: 'sealwrit-doctor', verified: true }, facts: () => ({ paths: 'none' }) }, async () => {
        effects++
        return { outcome: 'completed', resultBytes: new Uint8Array(1), value: undefined }
      })
      return 'ran'
    } catch (error) {
      if (error instanceof Denied) return error.code
      throw error
    }
  }
  return { attempt, effects: () => effects, gate }
}

beforeAll(async () => {
  plane = await startPlane(dir) // makes the log key that the witnesses are told of
  await end(plane.child)
  witnesses = await Promise.all([1, 2, 3].map((i) => startWitness(path.join(root, `w${i}`))))
  fs.writeFileSync(policyFile, `log ${fs.readFileSync(key, 'utf8').trim()}\n${witnesses.map(({ policy_line }) => `${policy_line}\n`).join('')}group two 2 ${witnesses.map(({ name }) => name).join(' ')}\nquorum two\n`)
  fs.writeFileSync(path.join(root, 'sealwrit.yaml'), 'policies: .sealwrit/policies\nwitnesses: witnesses.policy\n')
  plane = await startPlane(dir)
}, 60_000)
afterAll(async () => {
  for (const gate of gates) gate.close()
  await end(plane.child)
  for (const { child } of witnesses) await end(child)
  fs.rmSync(root, { recursive: true, force: true })
})
const policy = (): WitnessQuorum => new WitnessQuorum(parseWitnessPolicy(fs.readFileSync(policyFile), sha256))

describe('a plane, three witnesses and a gate, each a process or a socket apart', () => {
  it('calls run under two of three cosignatures; readers get the same checkpoint', async () => {
    const { attempt, effects } = gateWith(policy())
    expect([await attempt(), await attempt(), effects()]).toEqual(['ran', 'ran', 2])
    const note = await (await fetch(`${plane.url}/t/default/checkpoint`)).text()
    expect(verifyQuorum(note, policy().policy, { nowSeconds: Math.floor(Date.now() / 1_000), maxAgeSeconds: 60 }, nodeCryptography).length).toBeGreaterThanOrEqual(2)
  }, 30_000)

  it('ATK-078, I4: with two witnesses killed nothing runs; with one back it heals by itself', async () => {
    const { attempt, effects } = gateWith(policy())
    expect(await attempt()).toBe('ran')
    const [, two, three] = witnesses as [RunningWitness, RunningWitness, RunningWitness]
    await end(two.child, 'SIGKILL')
    expect(await attempt()).toBe('ran')
    await end(three.child, 'SIGKILL')
    const before = effects()
    expect([await attempt(), await attempt()]).toEqual(['witness_quorum_not_met', 'witness_quorum_not_met'])
    expect(effects()).toBe(before)
    witnesses[1] = await startWitness(path.join(root, 'w2'), new URL(two.url).host)
    expect(await attempt()).toBe('ran')
    expect(witnesses[1].vkey).toBe(two.vkey)
    witnesses[2] = await startWitness(path.join(root, 'w3'), new URL(three.url).host)
    expect(await attempt()).toBe('ran')
    expect(effects()).toBe(before + 2)
  }, 60_000)

  it('ATK-062: whoever stole the log key cannot show a gate a log that nobody witnessed', async () => {
    const logKey = parseVerifierKey(fs.readFileSync(key, 'utf8').trim(), sha256)
    const stolen = loadKeyFile(path.join(dir, 'keys', 'log.pem'), false)
    const text = checkpointText({ origin: logKey.name, size: 1_000, root: sha256(utf8('off the log')) })
    const note = `${text}\n${formatSignature(logKey, stolen.sign(utf8(text)))}`
    expect(() => policy().verify(note, Math.floor(Date.now() / 1_000), nodeCryptography)).toThrow('not enough witnesses')
    expect(() => new WitnessQuorum(NO_WITNESSES).verify(note, 0, nodeCryptography)).not.toThrow()
    // And a witness that is shown it, next to what it knows, does not cosign it.
    const { url } = witnesses[0] as RunningWitness
    expect((await fetch(`${url}/add-checkpoint`, { method: 'POST', body: `old 0\n\n${note}` })).status).toBe(409)
  })

  it('ATK-068: the witness hands out a fork proof, which `verify --fork` proves offline; 13 for a fork, 0 for none', async () => {
    const logKey = parseVerifierKey(fs.readFileSync(key, 'utf8').trim(), sha256)
    const stolen = loadKeyFile(path.join(dir, 'keys', 'log.pem'), false)
    const folder = path.join(root, 'w4')
    const witness = await startWitness(folder)
    try {
      const signed = (size: number, what: string): string => {
        const text = checkpointText({ origin: logKey.name, size, root: sha256(utf8(what)) })
        return `${text}\n${formatSignature(logKey, stolen.sign(utf8(text)))}`
      }
      const post = (body: string): Promise<Response> => fetch(`${witness.url}/add-checkpoint`, { method: 'POST', body })
      expect((await post(`old 0\n\n${signed(5, 'one')}`)).status).toBe(200)
      const answer = await post(`old 5\n\n${signed(5, 'two')}`)
      expect(answer.status).toBe(409)
      const files = { proof: await answer.text(), one: signed(5, 'one'), two: signed(5, 'two'), six: signed(6, 'six') }
      for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(root, name), content)
      const verify = async (...names: string[]): Promise<[number, string]> => {
        const { exit, stdout, stderr } = await run(['verify', '--fork', ...names.map((name) => path.join(root, name)), '--key', key], { cwd: os.tmpdir() })
        return [exit, stdout + stderr]
      }
      const [proved, pair, same, unknown, alone] = await Promise.all([verify('proof'), verify('two', 'one'), verify('one', 'one'), verify('one', 'six'), verify('one')])
      expect(proved).toEqual([13, expect.stringMatching(/^fork proved: the key of .* signed two trees of 5 leaves\n$/)])
      expect(pair).toEqual([13, expect.stringContaining('fork proved')])
      expect(same).toEqual([0, expect.stringContaining('no fork: both checkpoints are of one tree of 5 leaves')])
      expect(unknown).toEqual([13, expect.stringMatching(/^not established: [\s\S]*hint: a fork proof needs the hashes/)])
      expect(alone[0]).toBe(2)
      fs.writeFileSync(path.join(root, 'proof'), files.proof.replace('"v":1', '"v":2'))
      expect(await verify('proof')).toEqual([13, expect.stringContaining('is not evidence about')])
      const stranger = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x as string
      const other = formatVerifierKey({ ...logKey, publicKey: fromBase64Url(stranger) })
      expect((await run(['verify', '--fork', path.join(root, 'one'), path.join(root, 'two'), '--key', other])).exit).toBe(1)
    } finally {
      await end(witness.child)
    }
  }, 60_000)
})

describe('sealwrit witness', () => {
  it('keeps key and name, takes no second process, and says what is wrong with its folder', async () => {
    const folder = path.join(root, 'w1')
    expect((fs.statSync(path.join(folder, 'key.pem')).mode & 0o777).toString(8)).toBe('600')
    const second = await run(['witness', '--dir', folder, '--listen', '127.0.0.1:0', '--log', key])
    expect([second.exit, second.stderr]).toEqual([1, expect.stringContaining('a witness runs on')])
    await end((witnesses[0] as RunningWitness).child)
    const renamed = await run(['witness', '--dir', folder, '--listen', '127.0.0.1:0', '--log', key, '--name', 'other.test/w'])
    expect([renamed.exit, renamed.stderr]).toEqual([2, expect.stringContaining('the witness of this folder is')])
    const [record] = fs.readdirSync(path.join(folder, 'logs')) as [string]
    fs.renameSync(path.join(folder, 'logs', record), path.join(root, 'kept'))
    const damaged = await run(['witness', '--dir', folder, '--listen', '127.0.0.1:0', '--log', key])
    expect([damaged.exit, damaged.stderr]).toEqual([1, expect.stringMatching(/is damaged: logs\/[0-9a-f]{64}\.checkpoint is missing[\s\S]*hint: /)])
    fs.renameSync(path.join(root, 'kept'), path.join(folder, 'logs', record))
    const again = await startWitness(folder)
    expect(again.vkey).toBe((witnesses[0] as RunningWitness).vkey)
    witnesses[0] = again
    expect((await run(['witness', '--listen', '127.0.0.1:0', '--log', key])).exit).toBe(2)
    expect((await run(['witness', '--dir', path.join(root, 'w9'), '--listen', '0.0.0.0:0', '--log', key])).stderr).toContain('loopback only')
    fs.chmodSync(path.join(folder, 'key.pem'), 0o644)
    await end(again.child)
    expect((await run(['witness', '--dir', folder, '--log', key])).stderr).toContain('can be read by others')
  }, 60_000)
  it('a witness policy with a fault is named with its line, by plane and gate', async () => {
    const bad = path.join(root, 'bad.policy')
    fs.writeFileSync(bad, 'quorum none\nquorum none\n')
    const gate = await run(['mcp', '--dir', dir, '--name', 'x', '--witness-policy', bad, '--', process.execPath, '-e', '0'])
    expect([gate.exit, gate.stderr]).toEqual([1, expect.stringContaining('line 2: a second quorum line')])
    const far = path.join(root, 'far')
    fs.mkdirSync(path.join(far, '.sealwrit'), { recursive: true, mode: 0o700 })
    fs.writeFileSync(path.join(far, 'sealwrit.yaml'), `policies: .sealwrit/policies\nwitnesses: ${bad}\n`)
    const up = await run(['up', '--dir', path.join(far, '.sealwrit'), '--listen', '127.0.0.1:0'])
    expect([up.exit, up.stderr]).toEqual([1, expect.stringContaining('line 2: a second quorum line')])
    fs.writeFileSync(bad, `${(witnesses[0] as RunningWitness).policy_line.replace(/ http:.*/, '')}\nquorum ${(witnesses[0] as RunningWitness).name}\n`)
    expect((await run(['up', '--dir', path.join(far, '.sealwrit'), '--listen', '127.0.0.1:0'])).stderr).toContain('the witnesses that have a URL cannot make the quorum')
  }, 60_000)
})
