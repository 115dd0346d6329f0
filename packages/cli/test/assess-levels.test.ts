import type { ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { pathToFileURL } from 'node:url'
import { DIMENSIONS, gap, grade, LogMeasures, type Measure, measurementsOf, parseReport, type Report } from '@sealwrit/assessor'
import { encodeEntries, type Entry, parseEntry, parseStrict } from '@sealwrit/protocol'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { signedStatement } from '../../../test/support/attestation.ts'
import { end, run, sealwrit, startPlane, startWitness } from '../../../test/support/processes.ts'
import { type Assessed, assessedOf } from '../src/assess/deployment.ts'
import { maturityModel } from '../src/assess/model.ts'
import type { Found } from '../src/assess/probes.ts'
import { mirrorTexts, PROBES } from '../src/assess/recompute.ts'
import { FolderSource } from '../src/evidence/source.ts'
import { readVerifierKey } from '../src/local/folder.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-levels-')))
const at = (...names: string[]): string => path.join(root, ...names)
const server = at('server.mjs')
const keys = generateKeyPairSync('ed25519')
const model = maturityModel()
const BUILDER = 'https://ci.example/release'
const children: ChildProcess[] = []

interface Snapshot {
  readonly folder: string
  readonly report: Report
  readonly key: string
}

/** A tile of entries that somebody had in their hands. */
function damaged(bytes: Buffer, how: 'flip' | 'cut' | 'drop' | 'double' | 'swap', place: number): Uint8Array {
  const at = place % bytes.length
  if (how === 'flip') return Buffer.concat([bytes.subarray(0, at), Buffer.of((bytes[at] as number) ^ (1 << (place % 8))), bytes.subarray(at + 1)])
  if (how === 'cut') return bytes.subarray(0, at)
  const texts: string[] = []
  for (let from = 0; from < bytes.length; from += 2 + bytes.readUInt16BE(from)) texts.push(bytes.toString('utf8', from + 2, from + 2 + bytes.readUInt16BE(from)))
  const one = place % texts.length
  const next = (one + 1) % texts.length
  if (how === 'swap' && next === one) return bytes.subarray(1)
  if (how === 'swap') [texts[one], texts[next]] = [texts[next] as string, texts[one] as string]
  else texts.splice(one, how === 'drop' ? 1 : 0, ...(how === 'double' ? [texts[one] as string] : []))
  return encodeEntries(texts)
}

/** Processes whose clock stands so many days earlier: what a deployment did in weeks. */
const daysAgo = (days: number): NodeJS.ProcessEnv => (days === 0 ? {} : { DAYS_AGO: String(days), NODE_OPTIONS: `--import ${pathToFileURL(at('earlier.mjs')).href}` })

/** A folder with a plane, and the commands on it. */
class Deployment {
  readonly dir: string
  readonly #config: string
  plane: Awaited<ReturnType<typeof startPlane>> | undefined
  #env: NodeJS.ProcessEnv = {}

  constructor(name: string) {
    fs.mkdirSync(at(name))
    this.dir = at(name, '.sealwrit')
    this.#config = at(name, 'sealwrit.yaml')
  }

  async start(config: string, days = 0): Promise<void> {
    await this.stop()
    fs.writeFileSync(this.#config, `policies: .sealwrit/policies\n${config}`)
    this.#env = daysAgo(days)
    this.plane = await startPlane(this.dir, '127.0.0.1:0', this.#env)
    children.push(this.plane.child)
  }
  async stop(): Promise<void> {
    if (this.plane !== undefined) await end(this.plane.child)
  }
  cli(...args: string[]): ReturnType<typeof run> {
    return run([...args, '--dir', this.dir], { env: this.#env })
  }
  /** Runs what has to succeed. */
  async done(...args: string[]): Promise<string> {
    const { exit, stdout, stderr } = await this.cli(...args)
    expect({ args, exit, stderr: exit === 0 ? '' : stderr + stdout }).toEqual({ args, exit: 0, stderr: '' })
    return stdout
  }
  /** Its level by the real command, and what that misses up to the next one. */
  async level(...args: string[]): Promise<{ readonly level: number; readonly missing: readonly string[]; readonly report: Report }> {
    const { recorded: _, ...given } = parseStrict(Buffer.from(await this.done('assess', '--json', ...args))) as Record<string, never>
    const report = parseReport(given)
    const graded = grade(model, measurementsOf(report), report.invalid)
    expect(graded.level).toBe(report.level)
    return { level: report.level, missing: gap(graded).map(({ criterion }) => criterion.id), report }
  }
  /** Calls of one gateway, from its start to its end. */
  async calls(args: readonly string[], use: (agent: Agent) => Promise<void>): Promise<void> {
    const child = sealwrit(['mcp', '--pin', '--dir', this.dir, '--name', 'canary', ...args, '--', process.execPath, server, at('canary')], { env: this.#env })
    children.push(child)
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const agent = new Agent(child)
    expect([await agent.initialize(), said]).toEqual([true, expect.anything()])
    await use(agent)
    child.stdin?.end()
    await Promise.race([new Promise((resolve) => child.once('exit', resolve)), new Promise((resolve) => setTimeout(resolve, 5_000))]) // what it refused by itself is told first
    await end(child)
  }
}

beforeAll(() => {
  fs.copyFileSync(path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs'), server)
  fs.writeFileSync(at('canary'), '')
  fs.writeFileSync(at('earlier.mjs'), 'const now = Date.now\nDate.now = () => now() - Number(process.env.DAYS_AGO) * 86_400_000\n')
  fs.writeFileSync(at('ci.pem'), keys.publicKey.export({ type: 'spki', format: 'pem' }))
  fs.writeFileSync(at('signed.json'), signedStatement(server, keys.privateKey, BUILDER))
})
afterAll(async () => {
  for (const child of children.toReversed()) await end(child)
  fs.rmSync(root, { recursive: true, force: true })
})

const FORBID = '@id("touch") forbid (principal, action, resource == Tool::"mcp://canary/touch");\n'

describe('a deployment that only observes', () => {
  it('is level 1 where no policy says anything, and 2 where policies do, whatever else is done', { timeout: 120_000 }, async () => {
    const one = new Deployment('shadow')
    const config = 'mode: shadow\nanchors: [{ type: file, path: ../copies-of-shadow.jsonl }]\n'
    await one.start(config, 35)
    await one.calls(['--shadow', '--agent', 'coder'], async (agent) => expect(await agent.touch('observed')).toBe('ran'))
    await one.calls(['--agent', 'coder'], async (agent) => expect(await agent.touch('refused')).toBe('policy_no_match'))
    expect(await one.level()).toMatchObject({ level: 1, missing: ['deterministic_policy.2.determined_share', 'fail_closed_execution.2.denied_checks'] })

    fs.writeFileSync(path.join(one.dir, 'policies', 'touch.cedar'), FORBID)
    await one.start(config)
    await one.calls(['--shadow', '--agent', 'coder'], async (agent) => {
      expect(await agent.touch('observed')).toBe('ran')
      expect(JSON.stringify(await agent.request('tools/call', { name: 'touch', arguments: { id: 7 } }))).toContain('request_malformed')
    })
    await one.done('doctor')
    await one.done('anchor', 'now')
    const { level, missing, report } = await one.level()
    expect([level, missing]).toEqual([2, ['runtime_governance.3.observed_share']])
    expect(report.measures.observed_share?.proof).toHaveLength(1)
  })
})

describe('a deployment, from nothing to level 5', () => {
  const away = new Deployment('away')
  const one = new Deployment('one')
  const log = path.join(one.dir, 'log.vkey')
  const policy = (name: string, text: string): void => fs.writeFileSync(path.join(one.dir, 'policies', name), text)
  const base = 'keys: { checkpoints: hybrid }\n'
  const anchors = `${base}anchors: [{ type: file, path: ../copies.jsonl }]\n`
  const trust = `environment:\n  trust:\n    - name: release\n      predicate_types: ["https://slsa.dev/provenance/v1"]\n      builder: ${BUILDER}\n      keys: { ci: ../ci.pem }\n`
  let agentKey = ''
  /** As it stood at each level: a mirror, and the report of then. */
  const snapshots: Snapshot[] = []
  const stands = async (level: number, missing: readonly string[]): Promise<void> => {
    const found = await one.level()
    expect([found.level, found.missing]).toEqual([level, missing])
    const folder = at(`mirror-${level}`)
    await one.done('log', 'mirror', folder)
    snapshots.push({ folder, report: found.report, key: log })
  }
  const coder = (): string[] => ['--agent', 'coder', '--agent-key', agentKey, '--attestation', at('signed.json')]

  it('0: nobody asked it for anything', { timeout: 60_000 }, async () => {
    await away.start('')
    await one.start(base, 35)
    await stands(0, ['deterministic_policy.1.decisions', 'fail_closed_execution.1.denials', 'authorization_control.1.executions', 'lineage_traceability.1.executions'])
  })

  it('1: a canary ran, and another was refused', { timeout: 60_000 }, async () => {
    await one.done('doctor')
    await stands(1, ['fail_closed_execution.2.denied_checks'])
    for (const days of [21, 14, 7]) {
      await one.start(base, days)
      await one.level('--record')
    }
  })

  it('2: it is enforced, on two grounds, and its log is kept nowhere else', { timeout: 60_000 }, async () => {
    await one.start(base)
    policy('touch.cedar', '@id("touch") @assurance("A4") permit (principal == Agent::"coder", action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch") unless { context.args has uri };\n')
    const schema = path.join(one.dir, 'policies', 'schema.cedarschema')
    fs.writeFileSync(schema, fs.readFileSync(schema, 'utf8').replace('entity Team;', 'entity Purpose enum ["levels"];\nentity Team;').replace('type Situation = {', 'type Situation = {\n  intent?: Purpose,'))
    await one.done('policy', 'activate')
    await one.calls(['--agent', 'coder'], async (agent) => expect(await agent.touch('no key')).toBe('identity_missing'))
    await one.done('doctor')
    await stands(2, ['tamper_evident_audit.3.anchor_age_days'])
  })

  it('3: it is kept elsewhere, and nobody vouches for it or approves anything', { timeout: 60_000 }, async () => {
    await one.start(anchors)
    await one.done('anchor', 'now')
    await stands(3, [
      'fail_closed_execution.4.denied_checks-4', 'cryptographic_verification.4.witnesses', 'cryptographic_verification.4.witness_age_days', 'authorization_control.4.high_risk_approved_share',
      'authorization_control.4.least_quorum', 'authorization_control.4.rubber_stamp_share', 'tamper_evident_audit.4.witness_age_days', 'lineage_traceability.4.declared_share',
    ])
  })

  it('4: a witness cosigns it, two people approve what is risky, and refusals stand on four grounds', { timeout: 120_000 }, async () => {
    const witness = await startWitness(at('w1'), log, path.join(away.dir, 'log.vkey'))
    children.push(witness.child)
    fs.writeFileSync(at('one.policy'), `${witness.policy_line}\nquorum ${witness.name}\n`)
    agentKey = (JSON.parse(await one.done('agent', 'add', 'coder', '--json')) as { file: string }).file
    policy('ask.cedar', '@id("ask") @assurance("A4") @risk("high") @approval("group:secops quorum:2 timeout:10m") permit (principal == Agent::"coder", action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch") when { context.args has uri };\n')
    await one.start(`${anchors}${trust}witnesses: ../one.policy\napprovals:\n  wait_seconds: 0\n`)
    await one.done('policy', 'activate')
    for (const name of ['ann', 'bob']) await one.done('approver', 'add', name, '--group', 'secops')
    await one.calls(['--agent', 'coder', '--agent-key', agentKey], async (agent) => expect(await agent.touch('unsigned')).toBe('environment_unattested'))
    await one.calls([...coder(), '--intent', 'levels'], async (agent) => {
      for (let i = 0; i < 40; i++) expect(await agent.touch(`${i}`)).toBe('ran')
      const risky = (hold?: string): Promise<string> => agent.request('tools/call', { name: 'touch', arguments: { id: 'risky', uri: 'x' }, ...(hold === undefined ? {} : { _meta: { 'sealwrit/hold': hold } }) }).then((answer) => JSON.stringify(answer))
      const hold = /"hold":"([\w-]{22})"/.exec(await risky())?.[1] as string
      await new Promise((resolve) => setTimeout(resolve, 3_100)) // it is read first
      for (const name of ['ann', 'bob']) await one.done('approve', hold, '--as', name)
      expect(await risky(hold)).not.toContain('sealwrit/denial')
      await one.done('kill', 'tool:mcp://canary/touch')
      expect(await agent.touch('killed')).toBe('killed')
      await one.done('unkill', 'tool:mcp://canary/touch')
    })
    await one.done('anchor', 'now')
    await stands(4, [
      'runtime_governance.5.assessments', 'deterministic_policy.5.replayed-5', 'deterministic_policy.5.tested_share', 'deterministic_policy.5.rollback_days', 'fail_closed_execution.5.denied_checks-5',
      'cryptographic_verification.5.witnesses-5', 'lineage_traceability.5.foreign', 'lineage_traceability.5.declared_share-5',
    ])
  })

  it('5: two witnesses, another plane, a rollback that was practised, tests, and a fourth assessment in as many weeks', { timeout: 240_000 }, async () => {
    fs.copyFileSync(at('one.policy'), at('away.policy'))
    const witness = await startWitness(at('w2'), log)
    children.push(witness.child)
    const [first = '', name = ''] = /^witness (\S+) /.exec(fs.readFileSync(at('away.policy'), 'utf8')) ?? []
    expect(first).not.toBe('')
    fs.writeFileSync(at('one.policy'), `${fs.readFileSync(at('away.policy'), 'utf8').split('\n')[0]}\n${witness.policy_line}\ngroup both all ${name} ${witness.name}\nquorum both\n`)
    const [home, foreign] = [one.plane?.origin, away.plane?.origin]
    fs.writeFileSync(path.join(away.dir, 'policies', 'lend.cedar'), '@id("lend") permit (principal == Agent::"coder", action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch") when { context has federation && context.federation.direction == "to" };\n')
    await away.start(`witnesses: ../away.policy\nfederation_audiences: [${home}]\n`)
    await away.done('agent', 'add', 'coder', '--key', (JSON.parse(await one.done('agent', 'list', '--json')) as { agents: { keys: { key: string }[] }[] }).agents[0]?.keys[0]?.key ?? '')
    policy('levels.test.yaml', `- { name: roots, action: { type: mcp.tool_call, target: "mcp://fs", name: list_allowed_directories, arguments: {} }, expect: permit }
- { name: canary, agent: sealwrit-doctor, action: { type: mcp.tool_call, target: "mcp://doctor", name: touch, arguments: {} }, expect: permit }
- { name: touch, agent: coder, verified: true, action: { type: mcp.tool_call, target: "mcp://canary", name: touch, arguments: {} }, expect: permit }
- { name: ask, agent: coder, verified: true, action: { type: mcp.tool_call, target: "mcp://canary", name: touch, arguments: { uri: x } }, expect: hold }
`)
    await one.start(`${anchors}${trust}witnesses: ../one.policy\napprovals:\n  wait_seconds: 0\nfederation:\n  - origin: ${foreign}\n    key: ${path.join(away.dir, 'log.vkey')}\n    witnesses: ../away.policy\n    accepts: [artifacts]\n    scopes: [{ type: mcp.tool_call, target: "mcp://canary", name: touch }]\n`)

    const kept = path.join(one.dir, 'policies', 'touch.cedar')
    const text = fs.readFileSync(kept, 'utf8')
    fs.writeFileSync(kept, `${text}@id("mistake") permit (principal == Agent::"anybody", action, resource == Tool::"mcp://canary/touch");\n`)
    await one.done('policy', 'activate')
    await one.done('policy', 'rollback')
    fs.writeFileSync(kept, text)

    const [session] = (JSON.parse(await one.done('log', '--kind', 'tool', '--json')) as { entries: { target: string; name: string; digest: string }[] }).entries.filter(({ target }) => target === 'mcp://canary')
    const action = { type: 'mcp.tool_call', target: 'mcp://canary', name: 'touch', arguments: { id: 'lent' }, tool_digest: session?.digest }
    fs.writeFileSync(at('action.json'), JSON.stringify(action))
    const issued = await away.cli('issue', at('action.json'), '--audience', home ?? '', '--known', '0', '--agent', 'coder', '--agent-key', agentKey, '-o', at('borrowed.json'))
    expect(issued).toMatchObject({ exit: 0 })
    await one.calls([...coder(), '--intent', 'levels', '--foreign-artifact', at('borrowed.json')], async (agent) => expect(await agent.touch('lent')).toBe('ran'))
    await one.calls([...coder(), '--intent', 'levels'], async (agent) => {
      for (let i = 0; i < 300; i++) expect(await agent.touch(`${i}`)).toBe('ran')
      expect(JSON.stringify(await agent.request('tools/call', { name: 'touch', arguments: { id: 7 } }))).toContain('request_malformed')
      const orphan = { id: 'x' }
      expect(JSON.stringify(await agent.request('tools/call', { name: 'touch', arguments: orphan, _meta: { 'sealwrit/parent': { jti: 'A'.repeat(22), leaf_hash: `sha256:${'0'.repeat(64)}` } } }))).toContain('parent_unknown')
    })
    await one.done('anchor', 'now')
    await one.level('--record')
    await stands(5, [])
  })
  describe('what is taken away from it, or changed in it, never raises anything', () => {
    /** What the machine of the plane found out beside the log. */
    const probesOf = ({ measures }: Report): Found => Object.entries(measures).flatMap(([name, value]) => (PROBES.has(name) && name !== 'log_verified' && name !== 'receipts_verified_share' ? [[name as Measure, value] as const] : []))
    const regraded = ({ folder, report, key }: Snapshot, without: readonly string[] = []): Promise<Assessed> =>
      assessedOf({ source: new FolderSource(folder), tenant: 'default', key: () => readVerifierKey(key), overtaken: () => Promise.resolve(undefined), probe: () => Promise.resolve(probesOf(report).filter(([name]) => !without.includes(name))) }, model, report.at, true)
    const levelsOf = ({ dimensions }: Pick<Assessed['graded'], 'dimensions'>): number[] => dimensions.map(({ level }) => level)
    const notAbove = (found: readonly number[], whole: readonly number[], what: string): void => found.forEach((level, i) => expect(level, `${what}: ${DIMENSIONS[i]}`).toBeLessThanOrEqual(whole[i] as number))
    const entriesOf = async ({ folder }: Snapshot): Promise<Entry[]> => {
      const entries: Entry[] = []
      for await (const text of mirrorTexts(folder)) entries.push(parseEntry(text))
      return entries
    }
    const files = ({ folder }: Snapshot): string[] => (fs.readdirSync(folder, { recursive: true }) as string[]).map((name) => path.join(folder, name)).filter((file) => fs.statSync(file).isFile())
    const MAX_ENTRIES = 400

    it('as it is, it comes out as it did', async () => {
      expect(snapshots.map(({ report }) => report.level)).toEqual([0, 1, 2, 3, 4, 5])
      for (const one of snapshots) expect(levelsOf((await regraded(one)).graded)).toEqual(Object.values(one.report.dimensions))
    })

    it('its four assessments come out again for whoever holds the copy', async () => {
      const { folder, key } = snapshots.at(-1) as Snapshot
      const verified = await run(['verify', folder, '--key', key, '--witness-policy', at('one.policy'), '--foreign-key', path.join(away.dir, 'log.vkey'), '--json'])
      expect(JSON.parse(verified.stdout)).toMatchObject({ verdict: 'established', findings: [], established: expect.arrayContaining([{ claim: 'an assessment comes out again from the entries that it is of', count: 4 }]) as unknown })
    })

    it('any entry, and any end of it: it is not whole, and level 0 in everything', { timeout: 120_000 }, async () => {
      for (const one of snapshots) {
        const entries = await entriesOf(one)
        const nothing = (given: readonly Entry[], what: string): void => {
          const measures = new LogMeasures(one.report.at)
          for (const entry of given) measures.add(entry)
          const invalid = measures.broken ?? (measures.entries === entries.length ? undefined : 'entries are missing')
          expect(invalid, what).toBeDefined()
          expect(new Set(levelsOf(grade(model, new Map([...measures.measured(), ...probesOf(one.report)]), [invalid ?? ''])))).toEqual(new Set([0]))
        }
        const step = Math.ceil(entries.length / MAX_ENTRIES)
        for (let i = 0; i < entries.length; i += step) {
          nothing(entries.filter((_, at) => at !== i), `without ${i}`)
          nothing(entries.slice(0, i), `up to ${i}`)
        }
      }
    })

    it('any file of a copy of it', { timeout: 120_000 }, async () => {
      for (const one of snapshots) {
        for (const file of files(one)) {
          fs.renameSync(file, `${file}.gone`)
          const { graded, report } = await regraded(one)
          fs.renameSync(`${file}.gone`, file)
          notAbove(levelsOf(graded), Object.values(one.report.dimensions), file)
          if (/entries|checkpoint/.test(file)) expect([graded.level, report.invalid]).toEqual([0, [expect.stringMatching(/cannot be read/)]])
        }
      }
    })

    it('any number, and any probe', () => {
      for (const { report } of snapshots) {
        const whole = measurementsOf(report)
        for (const name of whole.keys()) notAbove(levelsOf(grade(model, new Map([...whole].filter(([other]) => other !== name)))), Object.values(report.dimensions), name)
      }
    })

    it('whatever is done to the bytes of it', { timeout: 240_000 }, async () => {
      const change = fc.record({ which: fc.nat(snapshots.length - 1), file: fc.nat(), at: fc.nat(), how: fc.constantFrom('flip', 'cut', 'drop', 'double', 'swap'), without: fc.subarray([...PROBES]) })
      await fc.assert(fc.asyncProperty(change, async ({ which, file, at: place, how, without }) => {
        const one = snapshots[which] as Snapshot
        const tiles = files(one).filter((name) => name.includes('entries'))
        const tile = tiles[file % tiles.length] as string
        const bytes = fs.readFileSync(tile)
        fs.writeFileSync(tile, damaged(bytes, how, place))
        const { graded } = await regraded(one, without).finally(() => fs.writeFileSync(tile, bytes))
        notAbove(levelsOf(graded), Object.values(one.report.dimensions), how)
        expect(graded.level).toBe(0)
      }), { numRuns: 120 })
    })

    it('its bodies: what cannot be decided again is not shown', { timeout: 60_000 }, async () => {
      await one.start(anchors, -0.01) // a quarter of an hour later
      const [newest] = (JSON.parse(await one.done('log', 'search', '--limit', '1', '--decision', 'permit', '--json')) as { executions: { id: string }[] }).executions
      await one.done('erase', newest?.id ?? '', '--yes')
      const less = (await one.level()).report // one of a hundred, as if that one had come out another way
      expect([less.measures.replay_agreed_share?.value, less.dimensions.deterministic_policy]).toEqual([0.99, 3])
      await one.done('erase', 'agent:coder', '--yes')
      await one.done('erase', 'agent:sealwrit-doctor', '--yes')
      const { report } = await one.level()
      notAbove(Object.values(report.dimensions), Object.values(snapshots.at(-1)?.report.dimensions ?? {}), 'erased')
      expect([report.measures.replayed, report.dimensions.deterministic_policy]).toEqual([undefined, 3])
    })
  })
})
