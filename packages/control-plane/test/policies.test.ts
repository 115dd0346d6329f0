import * as fs from 'node:fs'
import * as net from 'node:net'
import { createInterface } from 'node:readline'
import { type Activated, type ActivationAnswer, type Activating, DecisionReplay, loadPolicySet, nodeCryptography, openSqliteStore, parseActivation, PolicyError, type PolicySet, SCHEMA_FILE, serveHttp, serveSocket, storedPolicySet } from '@sealwrit/control-plane'
import { formatBundle, type JsonObject, type JsonValue, parseBundle, type PolicyEntry, type Report, utf8, verifyBundle } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { outcome, PERMIT_ALL, policySet, Rig, SCHEMA, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const HOW: Activating = { mode: 'enforce', urgent: false, confirm: false, rebase: false }
const FORBID_ALL = `${PERMIT_ALL} forbid (principal, action, resource);`
const rigs: Rig[] = []
const open = async (seed: string, set: PolicySet = policySet(PERMIT_ALL), rules?: Rig['policyRules']): Promise<Rig> => {
  const rig = new Rig(seed)
  rig.policies = set
  rig.policyRules = rules
  rigs.push(rig)
  await rig.start()
  return rig
}
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})
const bring = (rig: Rig, text: string, how: Partial<Activating> = {}): Promise<Activated> => rig.plane.policies.activate(policySet(text), { ...HOW, ...how })
const asked = (rig: Rig, files: Record<string, string>, more: Record<string, JsonValue> = {}): Promise<ActivationAnswer> => rig.plane.activate(parseActivation({ files, ...more }))
const decided = async (gate: TestGate): Promise<string> => told(await gate.authorize())
const policyEntries = async (rig: Rig): Promise<(PolicyEntry & { seq: number })[]> => (await rig.plane.reader.list(Number.MAX_SAFE_INTEGER, 1_000, new Set(['policy']))).entries.reverse() as never
const verified = async (rig: Rig): Promise<Report> =>
  verifyBundle(parseBundle(utf8(formatBundle(await rig.plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [], replay: new DecisionReplay(sha256) })

/** Sends requests on one connection of its own, and answers with the last answer. */
function rpc(socketPath: string, method: string, params: JsonValue, first?: [method: string, params: JsonValue]): Promise<JsonObject> {
  const requests = [...(first === undefined ? [] : [first]), [method, params] as const]
  return new Promise((resolve, reject) => {
    const socket = net.connect(socketPath)
    socket.once('error', reject)
    createInterface({ input: socket }).on('line', (line) => {
      const answer = JSON.parse(line) as JsonObject & { id: number }
      if (answer.id < requests.length) return send(answer.id)
      socket.destroy()
      resolve(answer)
    })
    const send = (at: number): void => void socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: at + 1, method: requests[at]?.[0], params: requests[at]?.[1] })}\n`)
    send(0)
  })
}

describe('over the wire', () => {
  it('policies are the operator’s: a connection that speaks for a gate changes none, any other of the same user may', async () => {
    const rig = await open('wire')
    const gate = await rig.gate()
    const socketPath = `${rig.folder}/plane.sock`
    const socket = await serveSocket(rig.plane, socketPath)
    const params = { files: { 'test.cedar': FORBID_ALL, [SCHEMA_FILE]: SCHEMA } }
    const enrolment = (): [string, JsonValue] => ['gates.enrol', gate.enrolment() as unknown as JsonValue]
    for (const [method, body] of [['policies.activate', params], ['policies.rollback', {}], ['policies.withdraw', { what: 'shadow' }]] as const) {
      expect(await rpc(socketPath, method, body, enrolment())).toMatchObject({ error: { data: { code: 'identity_invalid' } } })
    }
    expect(rig.plane.log.state.epoch).toBe(1)
    expect(await rpc(socketPath, 'policies.activate', params)).toMatchObject({ result: { outcome: 'activated', epoch: 2 } })
    for (const bad of [{}, { files: { a: 1 } }, { ...params, more: 1 }, { ...params, mode: 'audit' }, { ...params, from: 'now' }, { ...params, tests: [{}] }]) {
      expect(await rpc(socketPath, 'policies.activate', bad as JsonValue), JSON.stringify(bad)).toMatchObject({ error: { data: { code: 'request_malformed' } } })
    }
    await socket.close()
  })
  it('HTTP takes a set for the token alone', async () => {
    const rig = await open('http')
    const http = await serveHttp([{ plane: rig.plane, token: 'the-token', isLogPublic: false }], { host: '127.0.0.1', port: 0 })
    const body = JSON.stringify({ files: { 'test.cedar': FORBID_ALL, [SCHEMA_FILE]: SCHEMA } })
    const post = (token: string): Promise<Response> => fetch(`${http.url}/v1/policies`, { method: 'POST', body, headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` } })
    expect((await post('another')).status).toBe(401)
    expect(rig.plane.log.state.epoch).toBe(1)
    expect(await (await post('the-token')).json()).toMatchObject({ outcome: 'activated', epoch: 2, tests: 0 })
    await http.close()
  })
})

describe('which policy set is active', () => {
  it('is what the log says: a start with another set at hand changes nothing, the first start activates', async () => {
    const rig = await open('log-says', policySet(PERMIT_ALL), { activateAtStart: false })
    expect(rig.plane.epoch).toBe(1)
    await rig.stop()
    rig.policies = policySet(FORBID_ALL)
    await rig.start()
    expect(rig.plane.epoch).toBe(1)
    expect(await decided(await rig.gate())).toBe('permit')
    await rig.stop()
    rig.policyRules = undefined // as `up --activate`
    await rig.start()
    expect(rig.plane.epoch).toBe(2)
    expect(await decided(await rig.gate())).toBe('policy_denied')
  })
  it('ATK-055: with its texts gone from the store or altered there, the plane does not start', async () => {
    const rig = await open('altered', policySet(PERMIT_ALL), { activateAtStart: false })
    const key = `policy ${policySet(PERMIT_ALL).digest}`
    const good = await rig.store.getMeta(key) as string
    rig.policies = policySet(FORBID_ALL) // what is at hand is no way around it
    for (const bad of [good.replace('permit', 'forbid'), '{}', 'garbage', good.replace('resource', 'Resource')]) {
      await rig.store.putMeta(key, bad)
      await rig.stop()
      await expect(rig.start(), bad).rejects.toThrow(PolicyError)
      const store = openSqliteStore(rig.file)
      await store.putMeta(key, good)
      await store.close()
      await rig.start()
    }
    expect(await decided(await rig.gate())).toBe('permit')
  })
  it('ATK-055: any flipped byte of any stored file gives no set at all', async () => {
    const set = policySet(PERMIT_ALL)
    const text = JSON.stringify(set.files)
    let flipped = 0
    for (let at = 0; at < text.length; at++) {
      const bad = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1)
      const store = { getMeta: async () => bad } as never
      await expect(storedPolicySet(set.digest, store, sha256), `byte ${at}`).rejects.toThrow(PolicyError)
      flipped++
    }
    expect(flipped).toBe(text.length)
    expect((await storedPolicySet(set.digest, { getMeta: async () => text } as never, sha256)).digest).toBe(set.digest)
  })
})

describe('activation', () => {
  it('validates, runs the tests of the set, and logs a new epoch; what fails is refused and the old set stays', async () => {
    const rig = await open('activation')
    const gate = await rig.gate()
    const files = { 'test.cedar': FORBID_ALL, [SCHEMA_FILE]: SCHEMA }
    const one = (expected: string): JsonValue => [{ name: 'a read', action: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: {} }, expect: expected }]
    const refused = await asked(rig, files, { tests: one('permit') })
    expect(refused).toMatchObject({ outcome: 'refused', reason: '1 of its 1 tests fail; the first is `a read`', failed: [{ failures: ['decision: expected permit, got policy_denied (decided by test/1)'] }] })
    expect([rig.plane.epoch, await decided(gate)]).toEqual([1, 'permit'])
    expect(await asked(rig, files, { tests: one('policy_denied') })).toMatchObject({ outcome: 'activated', epoch: 2, tests: 1 })
    expect(await decided(gate)).toBe('policy_denied')
    expect(await asked(rig, files)).toMatchObject({ outcome: 'unchanged', epoch: 2 })
    expect(await asked(rig, files, { confirm: true })).toMatchObject({ outcome: 'activated', epoch: 3, tests: 0 })
    expect((await policyEntries(rig)).map(({ epoch, event, previous }) => [epoch, event, previous])).toEqual([[1, undefined, undefined], [2, 'activated', policySet(PERMIT_ALL).digest], [3, 'activated', policySet(FORBID_ALL).digest]])
  })

  it.each<[string, Record<string, string>]>([
    ['a syntax error', { 'test.cedar': 'permit (', [SCHEMA_FILE]: SCHEMA }],
    ['a missing schema', { 'test.cedar': PERMIT_ALL }],
    ['a missing policy file', { [SCHEMA_FILE]: SCHEMA }],
    ['a file that is none of a policy set', { 'test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA, 'notes.txt': 'x' }],
    ['a name that leads out of the folder', { '../test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }],
    ['a name that leads out by an encoded way', { '..\\test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }],
    ['an absolute name', { '/etc/test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }],
    ['a name below the protected rules', { 'base/../test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }],
    ['a hidden name', { '.test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }],
    ['a NUL in a name', { 'a\u0000.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }],
    ['an obligation that nobody knows', { 'test.cedar': `@sandbocks("x") ${PERMIT_ALL}`, [SCHEMA_FILE]: SCHEMA }],
    ['an obligation that no gate enforces yet', { 'test.cedar': `@sandbox("net:none") ${PERMIT_ALL}`, [SCHEMA_FILE]: SCHEMA }],
  ])('ATK-055: a set with %s is not activated, and the old one stays', async (_name, files) => {
    const rig = await open('refusals')
    expect(await asked(rig, files)).toMatchObject({ outcome: 'refused' })
    expect([rig.plane.epoch, rig.plane.log.state.policyDigest]).toEqual([1, policySet(PERMIT_ALL).digest])
  })
  it('ATK-055: with any byte of any file flipped, it is refused or another set, never the one that was meant', async () => {
    const files: Record<string, string> = { 'test.cedar': '@id("a") permit (principal, action == Action::"mcp.tool_call", resource is Tool) when { context.facts.paths == "inside" };', [SCHEMA_FILE]: SCHEMA }
    const { digest } = loadPolicySet(files, sha256)
    const seen = { refused: 0, other: 0 }
    for (const [name, text] of Object.entries(files)) {
      for (let at = 0; at < text.length; at += name === SCHEMA_FILE ? 5 : 1) {
        const bad = { ...files, [name]: text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1) }
        try {
          expect(loadPolicySet(bad, sha256).digest, `${name} byte ${at}`).not.toBe(digest)
          seen.other++
        } catch (error) {
          if (!(error instanceof PolicyError)) throw error
          seen.refused++
        }
      }
    }
    expect(seen.refused).toBeGreaterThan(100)
    expect(seen.other).toBeGreaterThan(5)
  })

  it('ATK-054: going back is a new epoch, and epochs never go back, over restarts too', async () => {
    const rig = await open('rollback', policySet(PERMIT_ALL), { activateAtStart: false })
    await bring(rig, FORBID_ALL)
    expect(await rig.plane.policies.rollback(undefined, false, false)).toMatchObject({ outcome: 'activated', epoch: 3, digest: policySet(PERMIT_ALL).digest })
    expect(await decided(await rig.gate())).toBe('permit')
    expect(await rig.plane.policies.rollback(2, false, false)).toMatchObject({ epoch: 4, digest: policySet(FORBID_ALL).digest })
    expect(await outcome(rig.plane.policies.rollback(9, false, false))).toBe('request_malformed')
    expect(await rig.plane.policies.rollback(4, false, false)).toMatchObject({ outcome: 'unchanged', epoch: 4 })
    await rig.restart()
    expect(await decided(await rig.gate())).toBe('policy_denied')
    const entries = await policyEntries(rig)
    expect(entries.map(({ epoch, event }) => [epoch, event])).toEqual([[1, undefined], [2, 'activated'], [3, 'rolled_back'], [4, 'rolled_back']])
    expect((await verified(rig)).verdict).toBe('established')
  })

  it('ATK-056: a set past its age permits nothing (`policy_stale`) until it is confirmed', async () => {
    const rig = await open('age', policySet(PERMIT_ALL), { maxAgeMs: 60_000 })
    const gate = await rig.gate()
    expect(await decided(gate)).toBe('permit')
    rig.clock.advance(61_000)
    const reply = await gate.authorize()
    expect(reply).toMatchObject({ decision: 'deny', code: 'policy_stale' })
    await bring(rig, PERMIT_ALL, { confirm: true })
    expect([rig.plane.log.state.epoch, await decided(gate)]).toEqual([2, 'permit'])
    expect((await verified(rig)).verdict).toBe('established')
  })

  it('ATK-057: what was decided under the epoch before is void at its place in the log, and so is what is carried', async () => {
    const rig = await open('superseded')
    const gate = await rig.gate()
    const active = rig.plane.policies.active.bind(rig.plane.policies)
    rig.plane.policies.active = async () => {
      const before = await active()
      rig.plane.policies.active = active
      await bring(rig, FORBID_ALL, { urgent: true }) // between the decision and its place
      return before
    }
    expect(await decided(gate)).toBe('policy_superseded')
    expect(rig.plane.log.state.standing.floor).toBe(2)
    await bring(rig, PERMIT_ALL)
    expect(rig.plane.log.state.standing.floor).toBe(2) // not urgent: the floor stays
    const issued = await rig.plane.issue({ action: toolCall(), agent: { name: 'tester', verified: true }, audience: gate.id, form: 'redeem', seconds: 60 }, { size: 0 })
    expect(issued.decision).toBe('permit')
    await bring(rig, FORBID_ALL, { urgent: true })
    const carried = (issued as unknown as { sealed: JsonValue }).sealed
    expect(await outcome(rig.plane.redeem({ session: gate.session, challenge: rig.token(), artifact: carried } as never, gate.id, { size: 0 }))).toBe('policy_superseded')
  })

  it('ATK-060: 1,000 activations under load: every decision is that of one set, and replays to the same answer', { timeout: 240_000 }, async () => {
    const rig = await open('load')
    const gate = await rig.gate()
    const sets = ['', ' // a', ' // b'].flatMap((end) => [policySet(`@id("p") ${PERMIT_ALL}${end}`), policySet(`@id("f") ${FORBID_ALL}${end}`)])
    let activations = 0
    const seen = new Map<string, number>()
    const activating = (async () => {
      for (; activations < 1_000; activations++) {
        await rig.plane.policies.activate(sets[activations % sets.length] as PolicySet, HOW)
        if (activations % 3 === 0) await rig.plane.log.cover().then(() => new Promise((resolve) => setTimeout(resolve, 1))) // some decisions get their place before the next one
      }
    })()
    const asking = Array.from({ length: 2 }, async () => {
      while (activations < 1_000) {
        const answer = told(await gate.authorize(gate.request(toolCall('read_file', { path: `/srv/${activations % 7}` }))))
        seen.set(answer, (seen.get(answer) ?? 0) + 1)
      }
    })
    await Promise.all([activating, ...asking])
    expect(rig.plane.log.state.epoch).toBe(1_001)
    expect([...seen.keys()].every((answer) => ['permit', 'policy_denied', 'policy_superseded'].includes(answer))).toBe(true)
    const decisions = [...seen.values()].reduce((sum, n) => sum + n, 0)
    expect(decisions).toBeGreaterThan(500)
    expect([...seen.keys()].sort()).toEqual(['permit', 'policy_denied', 'policy_superseded'])
    expect((await verified(rig)).verdict).toBe('established')
    console.log(`1,000 activations under load: ${decisions} decisions replay to the same answer (${[...seen].map(([answer, n]) => `${answer} ${n}`).join(', ')})`)
  })
})

describe('staging', () => {
  it('becomes active with an entry of its own when its time has come, over a restart too', async () => {
    const rig = await open('staged', policySet(PERMIT_ALL), { activateAtStart: false })
    const fromMs = rig.clock.wallMs() + 60_000
    expect(await bring(rig, FORBID_ALL, { fromMs })).toMatchObject({ outcome: 'staged', epoch: 1 })
    expect(await rig.plane.policies.activateDue()).toBe(false)
    expect(await decided(await rig.gate())).toBe('permit')
    await rig.restart()
    rig.clock.advance(60_000)
    await rig.plane.policies.activateDue()
    await rig.plane.log.refresh()
    expect(rig.plane.log.state).toMatchObject({ epoch: 2, policyDigest: policySet(FORBID_ALL).digest, standing: { staged: undefined } })
    expect(await rig.plane.policies.activateDue()).toBe(false)
    expect(await decided(await rig.gate())).toBe('policy_denied')
    const entries = await policyEntries(rig)
    expect(entries.map(({ event, epoch, from }) => [event, epoch, from])).toEqual([[undefined, 1, undefined], ['staged', 1, fromMs], ['activated', 2, undefined]])
  })
  it('is ended by a withdrawal, and by any activation in between: it never undoes a newer decision', async () => {
    const rig = await open('withdrawn')
    await bring(rig, FORBID_ALL, { fromMs: rig.clock.wallMs() + 1_000 })
    expect(await rig.plane.policies.withdraw('staged')).toMatchObject({ outcome: 'withdrawn', epoch: 1 })
    expect(await rig.plane.policies.withdraw('staged')).toBeUndefined()
    await bring(rig, FORBID_ALL, { fromMs: rig.clock.wallMs() + 1_000 })
    await bring(rig, `${PERMIT_ALL} // urgent repair`)
    rig.clock.advance(2_000)
    expect(await rig.plane.policies.activateDue()).toBe(false)
    expect(rig.plane.log.state.epoch).toBe(2)
  })
})

describe('shadow mode', () => {
  it('records what would have been decided beside the decision, governs nothing, and is evidence that verifies and can be erased', async () => {
    const rig = await open('shadow')
    const gate = await rig.gate()
    expect(await bring(rig, FORBID_ALL, { mode: 'shadow' })).toMatchObject({ outcome: 'shadow', epoch: 1 })
    const { permit } = await gate.permit()
    expect(permit.policy).toMatchObject({ digest: policySet(PERMIT_ALL).digest, epoch: 1, shadow_commit: expect.stringMatching(/^sha256:/) })
    const verdict = { mode: 'shadow', digest: policySet(FORBID_ALL).digest, decision: 'deny', code: 'policy_denied', determining: ['test/1'] }
    expect((await rig.plane.reader.show(permit.jti)).bodies.find(({ purpose }) => purpose === 'shadow')?.body).toEqual(verdict)
    expect((await rig.plane.requests('0')).requests[0]).toMatchObject({ shadow: verdict })
    const report = await verified(rig)
    expect(report.verdict).toBe('established')
    const bundle = formatBundle(await rig.plane.reader.evidence('all'))
    const tampered = parseBundle(utf8(bundle.replace('"code":"policy_denied","decision":"deny","determining":["test/1"],"digest"', '"code":"policy_denied","decision":"deny","determining":["test/0"],"digest"')))
    expect(formatBundle(tampered)).not.toBe(bundle)
    expect(verifyBundle(tampered, { crypto: nodeCryptography, logKey: rig.key, gateKeys: [] }).verdict).toBe('contradicted')
    rig.clock.advance(121_000)
    await rig.plane.erase(permit.jti, false, rig.plane.sub)
    expect((await rig.plane.reader.show(permit.jti)).bodies).toEqual([])
    expect((await verified(rig)).verdict).not.toBe('contradicted')
  })
  it('ends when it is withdrawn or enforced; a shadow set that is lost changes no decision', async () => {
    const rig = await open('shadow-ends')
    const gate = await rig.gate()
    await bring(rig, FORBID_ALL, { mode: 'shadow' })
    await rig.store.putMeta(`policy ${policySet(FORBID_ALL).digest}`, '{}')
    const lost = await gate.permit()
    expect(lost.permit.policy.shadow_commit).toBeUndefined()
    await bring(rig, FORBID_ALL)
    expect(rig.plane.log.state.standing.shadow).toBeUndefined()
    await bring(rig, PERMIT_ALL, { mode: 'shadow' })
    expect(await decided(gate)).toBe('policy_denied') // the shadow permits, and nothing is permitted
    await rig.plane.policies.withdraw('shadow')
    expect((await gate.authorize()).decision).toBe('deny')
    expect((await rig.plane.requests('0')).requests.at(-1)?.shadow).toBeUndefined()
  })
  it('can be neither staged nor urgent', async () => {
    const rig = await open('shadow-form')
    expect(await asked(rig, { 'test.cedar': FORBID_ALL, [SCHEMA_FILE]: SCHEMA }, { mode: 'shadow', urgent: true })).toMatchObject({ outcome: 'refused' })
  })
})

describe('protected rules', () => {
  const BASE_FILES = { 'base/never.cedar': '@id("no-writes") forbid (principal, action, resource is Tool) when { resource.name == "write_file" };', [SCHEMA_FILE]: SCHEMA }
  const withBase = (text: string, base: Record<string, string> = BASE_FILES): Record<string, string> => ({ ...base, 'test.cedar': text })
  const set = loadPolicySet(withBase(PERMIT_ALL), sha256)

  it('forbid whatever the other policies permit, and the decision names them', async () => {
    const rig = await open('protected', set)
    const gate = await rig.gate()
    expect(told(await gate.authorize(gate.request(toolCall('write_file'))))).toBe('policy_denied')
    expect(await decided(gate)).toBe('permit')
    const socketPath = `${rig.folder}/plane.sock`
    const socket = await serveSocket(rig.plane, socketPath)
    expect(await rpc(socketPath, 'decide', { action: toolCall('write_file') as unknown as JsonValue })).toMatchObject({ result: { protected: ['base/never/no-writes'] } })
    await socket.close()
  })
  it('cannot be dropped or changed by an activation or a rollback, unless the operator says so', async () => {
    const rig = await open('rebase', policySet(PERMIT_ALL))
    await rig.plane.policies.activate(set, HOW)
    expect(await asked(rig, { 'test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA })).toMatchObject({ outcome: 'refused', reason: 'it drops or changes the protected rules of the active set' })
    expect(await asked(rig, withBase(PERMIT_ALL, { ...BASE_FILES, 'base/never.cedar': `${BASE_FILES['base/never.cedar']} ` }))).toMatchObject({ outcome: 'refused' })
    expect(await outcome(rig.plane.policies.rollback(1, false, false))).toBe('policy_error')
    expect(await asked(rig, withBase(`${PERMIT_ALL} // tenants change what is theirs`))).toMatchObject({ outcome: 'activated', epoch: 3 })
    expect(await asked(rig, { 'test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }, { rebase: true })).toMatchObject({ outcome: 'activated', epoch: 4 })
  })
  it('that the configuration demands are demanded of every set, also of the one that is active already', async () => {
    const rig = await open('demanded', policySet(PERMIT_ALL), { activateAtStart: false })
    await rig.stop()
    rig.policyRules = { activateAtStart: false, base: set.base }
    await rig.start()
    const gate = await rig.gate()
    expect(await decided(gate)).toBe('policy_missing')
    expect(await asked(rig, { 'test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }, { rebase: true })).toMatchObject({ outcome: 'refused' })
    expect(await asked(rig, withBase(PERMIT_ALL))).toMatchObject({ outcome: 'activated' })
    expect(await decided(gate)).toBe('permit')
    expect((await verified(rig)).verdict).toBe('established')
  })
  it.each<[string, Record<string, string>, RegExp]>([
    ['permit', { 'base/open.cedar': PERMIT_ALL }, /protected rules only forbid/],
    ['are given by a file outside', { 'base.cedar': '@id("never/x") forbid (principal, action, resource);' }, /is one of the protected rules; choose another/],
  ])('do not load when they %s', (_name, files, message) => {
    expect(() => loadPolicySet({ ...files, 'test.cedar': PERMIT_ALL, [SCHEMA_FILE]: SCHEMA }, sha256)).toThrow(message)
  })
})

describe('@redact', () => {
  const SECRET = 'hunter2-of-ward-9'
  const REDACTING = `@id("r") @redact("args.password args.login.token") ${PERMIT_ALL}`
  const secretCall = (name = 'read_file'): ReturnType<typeof toolCall> => toolCall(name, { path: '/srv/a', password: SECRET, login: [{ user: 'x', token: SECRET }] })
  const onDisk = (rig: Rig): boolean => [rig.file, `${rig.file}-wal`].some((file) => fs.existsSync(file) && fs.readFileSync(file).includes(SECRET))

  it('I8: what it names is nowhere in the store or in evidence; the rest of the arguments is, and everything verifies', async () => {
    const rig = await open('redact', policySet(REDACTING))
    const gate = await rig.gate()
    const request = gate.request(secretCall())
    const { permit } = await gate.permit(request)
    expect(onDisk(rig)).toBe(false)
    const { bodies } = await rig.plane.reader.show(permit.jti)
    expect(bodies.map(({ purpose, body }) => [purpose, body !== undefined])).toEqual([['action', false], ['inputs', false], ['redacted', true]])
    expect(bodies[2]?.body).toMatchObject({ arguments: { path: '/srv/a', password: '[redacted]', login: [{ user: 'x', token: '[redacted]' }] } })
    expect(formatBundle(await rig.plane.reader.evidence('all'))).not.toContain(SECRET)
    const report = await verified(rig)
    expect(report.findings.map(({ verdict }) => verdict)).not.toContain('contradicted')
    expect(JSON.stringify(report)).toContain('1 decisions cannot be replayed')
    expect((await gate.authorize(request)).decision).toBe('permit') // a lost reply is given again
    expect(await outcome(gate.authorize({ ...request, action: toolCall() }))).toBe('challenge_mismatch')
  })
  it('holds for what is denied too, and where the policies never saw the request', async () => {
    const rig = await open('redact-deny', policySet(`@redact("args.password args.login.token") permit (principal, action, resource) when { context.facts.paths == "none" };`))
    const gate = await rig.gate()
    expect(told(await gate.authorize(gate.request(secretCall())))).toBe('policy_no_match')
    const wrongType = gate.request(toolCall('read_file', { path: ['x'], password: SECRET }))
    expect(told(await gate.authorize(wrongType))).toBe('policy_error')
    expect(onDisk(rig)).toBe(false)
  })
  it('leaves requests without these members as they are, and refuses to issue what only a redacted record could redeem', async () => {
    const rig = await open('redact-none', policySet(REDACTING))
    const gate = await rig.gate()
    const { permit } = await gate.permit()
    expect((await rig.plane.reader.show(permit.jti)).bodies.map(({ purpose }) => purpose)).toEqual(['action', 'inputs'])
    const issued = await rig.plane.issue({ action: secretCall(), agent: { name: 'tester', verified: true }, audience: gate.id, form: 'redeem', seconds: 60 }, { size: 0 })
    expect(told(issued)).toBe('obligation_unknown')
    expect(onDisk(rig)).toBe(false)
  })
  it.each(['password', 'args', 'args.', 'context.x', 'args.a b', 'args.a..b', 'args.a/b', ''])('does not load with %j', (value) => {
    expect(() => policySet(`@redact("${value}") ${PERMIT_ALL}`)).toThrow(/@redact takes arguments/)
  })
})
