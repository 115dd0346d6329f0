import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { end, startPlane } from '../../../test/support/processes.ts'
import { readLog } from '../src/assess/read-log.ts'
import { readHead } from '../src/evidence/mirror.ts'
import { FolderSource } from '../src/evidence/source.ts'
import { readVerifierKey } from '../src/local/folder.ts'
import { Progress } from '../src/progress.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-assess-')))
const dir = path.join(root, '.sealwrit')
const main = path.resolve(import.meta.dirname, '../src/main.ts')
let plane: Awaited<ReturnType<typeof startPlane>>
const run = (...words: string[]): ReturnType<typeof runIn> => runIn(dir, ...words)
const runIn = (folder: string, ...words: string[]): { status: number | null; stdout: string; stderr: string } => spawnSync(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', main, ...words, '--dir', folder], { encoding: 'utf8', cwd: root, env: { ...process.env, NO_COLOR: '1' } })
interface Assessed {
  readonly level: number
  readonly invalid: readonly string[]
  readonly dimensions: Readonly<Record<string, number>>
  readonly measures: Readonly<Record<string, { readonly value: number }>>
}
type Raw = Record<string, unknown> & { size: number; measures: Record<string, unknown>; dimensions: Record<string, number> }
const assessed = (): Assessed => JSON.parse(run('assess', '--json').stdout) as Assessed
const valueOf = ({ measures }: Assessed, measure: string): number | undefined => measures[measure]?.value

beforeAll(async () => {
  plane = await startPlane(dir)
})
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('sealwrit assess', () => {
  it('finds nothing in a plane that nobody asked, and says what to do first', () => {
    const { status, stdout } = run('assess')
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^level 0 {2}open[\s\S]*to level 1[\s\S]*sealwrit doctor/)])
  })

  it('finds what doctor left behind: permits, refusals, a stop, decisions that come out again', () => {
    expect(run('doctor').status).toBe(0)
    const found = assessed()
    expect(found.level).toBeGreaterThanOrEqual(1)
    expect(found.invalid).toEqual([])
    expect(valueOf(found, 'stop_ms')).toBeLessThan(2_000)
    expect(valueOf(found, 'replay_agreed_share')).toBe(1)
    expect(valueOf(found, 'receipts_verified_share')).toBe(1)
    expect(valueOf(found, 'policy_tests')).toBeGreaterThan(0)
    expect(valueOf(found, 'witnesses')).toBeUndefined()
    expect(run('assess', '--points').stdout).toMatch(/met {2}4 {2}what was killed or revoked while it ran stopped within 2 s/)
  })

  it('writes a page that needs nothing else, and says what changed since an older report', () => {
    const before = path.join(root, 'before.json')
    fs.writeFileSync(before, run('assess', '--json').stdout)
    expect(run('doctor').status).toBe(0)
    const page = path.join(root, 'report.html')
    const { status, stdout } = run('assess', '--html', page, '--compare', before, '--history', before)
    expect([status, stdout]).toEqual([0, expect.stringMatching(/since then[\s\S]*executions\s+2 → 4/)])
    const html = fs.readFileSync(page, 'utf8')
    expect(html).toContain("default-src 'none'")
    expect(html).not.toMatch(/<script|https?:\/\/|url\(|@import/)
    expect(html).toContain('not covered: contexts and memories of agents')
    expect(html.match(/<svg/g)).toHaveLength(2)
    const wrong = path.join(root, 'wrong.json')
    fs.writeFileSync(wrong, '{"level":5}')
    expect(run('assess', '--compare', wrong)).toMatchObject({ status: 2, stderr: expect.stringContaining('is no report') as string })
    fs.writeFileSync(wrong, JSON.stringify({ ...(JSON.parse(fs.readFileSync(before, 'utf8')) as Raw), at: 8_640_000_000_000_001 }))
    expect(run('assess', '--html', page, '--history', wrong)).toMatchObject({ status: 2, stderr: expect.stringContaining('is no report') as string })
    expect(run('assess', '--compare', '/dev/zero').stderr).toContain('limit_exceeded')
  })

  let before: string | undefined
  it.each<[string, (report: Raw) => void, string]>([
    ['a number', (r) => Object.assign(r.measures, { executions: { value: 1_000, proof: [] } }), 'executions is '],
    ['a number that nothing shows', (r) => Object.assign(r.measures, { least_quorum: { value: 9, proof: [] } }), 'nothing shows least_quorum'],
    ['a number left out', (r) => delete r.measures['denials'], 'denials is '],
    ['a level of a dimension', (r) => Object.assign(r.dimensions, { lineage_traceability: 5 }), 'lineage_traceability is '],
    ['the level', (r) => Object.assign(r, { level: 5 }), 'its level is not the least'],
    ['the root', (r) => Object.assign(r, { root: `sha256:${'0'.repeat(64)}` }), 'it is of other entries'],
    ['the size', (r) => Object.assign(r, { size: r.size - 1 }), 'it is of other entries'],
    ['a size beyond the log', (r) => Object.assign(r, { size: 1_000_000 }), 'it is of more entries'],
    ['the tenant', (r) => Object.assign(r, { tenant: 'acme' }), 'one is of .*, tenant acme'],
    ['the origin', (r) => Object.assign(r, { origin: 'elsewhere/default' }), 'one is of elsewhere/default'],
    ['the model, so that no level can be computed', (r) => Object.assign(r, { model: 'maturity/0', level: 5, dimensions: Object.fromEntries(Object.keys(r.dimensions).map((name) => [name, 5])) }), 'it was graded by maturity/0'],
    ['nothing', () => undefined, ''],
  ])('does not compare with a report of which somebody changed %s', (_name, change, says) => {
    const kept = path.join(root, 'kept.json')
    before ??= run('assess', '--json').stdout
    const report = JSON.parse(before) as Raw
    change(report)
    fs.writeFileSync(kept, JSON.stringify(report))
    const { status, stderr } = run('assess', '--compare', kept)
    expect([status, stderr]).toEqual(says === '' ? [0, ''] : [13, expect.stringMatching(new RegExp(`what is compared with is no report of this log: .*${says}`))])
  })

  it('can be recorded, and comes out again from the log; numbers that nobody computed are contradicted', () => {
    const { recorded } = JSON.parse(run('assess', '--record', '--json').stdout) as { recorded: number }
    expect(valueOf(assessed(), 'assessments')).toBe(1)
    const folder = path.join(root, 'recorded')
    const bundle = path.join(root, 'recorded.json')
    const verified = (): { verdict: string; findings: { claim: string; seq: number }[]; established: { claim: string }[] }[] => {
      fs.rmSync(folder, { recursive: true, force: true })
      fs.rmSync(bundle, { force: true })
      run('log', 'mirror', folder)
      run('export', 'all', '-o', bundle)
      return [folder, bundle].map((file) => JSON.parse(run('verify', file, '--json').stdout) as never)
    }
    for (const report of verified()) {
      expect([report.verdict, report.findings]).toEqual(['established', []])
      expect(report.established.map(({ claim }) => claim)).toContain('an assessment comes out again from the entries that it is of')
    }
    expect(run('show', String(recorded)).stdout).toContain('assessment')
    const lie = JSON.parse(run('assess', '--json').stdout) as Record<string, never> & { measures: Record<string, { value: number }>; dimensions: Record<string, number> }
    const { model, size, root: digest, at, dimensions, measures } = lie as never as { model: string; size: number; root: string; at: number; dimensions: Record<string, number>; measures: Record<string, { value: number }> }
    const numbers = Object.fromEntries(Object.entries(measures).map(([name, { value }]) => [name, Math.round(value * 1e6)]))
    const asked = { model, size, root: digest, at, level: 5, dimensions: Object.fromEntries(Object.keys(dimensions).map((name) => [name, 5])), measures: { ...numbers, executions: 1e9 } }
    const script = `import { SocketClient } from '@sealwrit/control-plane/client'; const c = new SocketClient(${JSON.stringify(path.join(dir, 'plane.sock'))}); console.log(JSON.stringify(await c.request('assessments.record', ${JSON.stringify(asked)}).catch((e) => ({ code: e.code })))); c.close()`
    const said = spawnSync(process.execPath, ['--conditions=@sealwrit/source', '--input-type=module', '-e', script], { encoding: 'utf8', cwd: path.resolve(import.meta.dirname, '..') })
    expect(said.stdout).toContain('"seq"')
    for (const report of verified()) {
      expect(report.verdict).toBe('contradicted')
      expect(report.findings[0]?.claim).toMatch(/comes out again .*executions is/)
    }
  })

  it.each<[string, (bundle: Buffer) => Buffer, string]>([
    ['edited', (tile) => Buffer.from(tile.toString('latin1').replace('policy_no_match', 'policy_no_mat_h'), 'latin1'), 'the log cannot be read whole'],
    ['edited into something that reads well', (tile) => Buffer.from(tile.toString('latin1').replace(/"completed"|agent:sealwrit-doctor/, (found) => (found === '"completed"' ? '"compleded"' : 'agent:sealwrit-tcotor')), 'latin1'), 'the entries are not those that the log key signed'],
    ['cut short', (tile) => tile.subarray(0, tile.length - 40), 'the log cannot be read whole'],
    ['as it is', (tile) => tile, ''],
  ])('of a copy that is %s says so, as level 0 and not as an error', async (_name, change, says) => {
    const folder = path.join(root, 'mirror')
    fs.rmSync(folder, { recursive: true, force: true })
    expect(run('log', 'mirror', folder).status).toBe(0)
    const tiles = (fs.readdirSync(path.join(folder, 'tile', 'entries'), { recursive: true }) as string[]).map((name) => path.join(folder, 'tile', 'entries', name)).filter((file) => fs.statSync(file).isFile())
    expect(tiles).toHaveLength(1)
    fs.writeFileSync(tiles[0] as string, change(fs.readFileSync(tiles[0] as string)))
    const source = new FolderSource(folder)
    const key = readVerifierKey(path.join(dir, 'log.vkey'))
    const { invalid } = await readHead(source, key).then(({ head }) => readLog(source, head, Date.now(), new Progress('', true)))
    if (says === '') expect(invalid).toEqual([])
    else expect(invalid[0]).toContain(says)
  })

  /** A folder of its own, with what another needs to be one: the key that it knows, and the socket of this plane. */
  const folderOf = (name: string, key: string | undefined, mark?: string): string => {
    const made = path.join(root, name, mark ?? '.sealwrit')
    fs.mkdirSync(made, { recursive: true })
    fs.symlinkSync(path.join(dir, 'plane.sock'), path.join(made, 'plane.sock'))
    if (key !== undefined) fs.writeFileSync(path.join(made, 'log.vkey'), key)
    if (mark !== undefined) fs.writeFileSync(path.join(made, 'tenant'), mark)
    return made
  }
  const of = (folder: string): Assessed & { status: number | null; text: string } => {
    const [shown, told] = [runIn(folder, 'assess'), runIn(folder, 'assess', '--json')]
    expect([shown.status, shown.stdout]).toEqual([0, expect.stringMatching(/^level 0 {2}open[\s\S]*invalid {2}[\s\S]*to level 1/)])
    return { ...(JSON.parse(told.stdout) as Assessed), status: told.status, text: shown.stdout }
  }

  it('names evidence of another log and of another tenant', async () => {
    const elsewhere = path.join(root, 'elsewhere', '.sealwrit')
    await end((await startPlane(elsewhere)).child)
    const own = fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8')
    const cases: [string, string][] = [
      [folderOf('key', fs.readFileSync(path.join(elsewhere, 'log.vkey'), 'utf8')), 'a key of another log'],
      [folderOf('garbage', 'no key'), 'is neither a verifier key nor a file that holds one'],
      [folderOf('none', undefined), 'no plane was ever started on'],
      [folderOf('other', own, 'acme'), 'the entries are of tenant default, and not of acme'],
      [path.join(root, 'nowhere'), 'no plane was ever started on'],
      [elsewhere, 'no plane answers'],
    ]
    for (const [folder, says] of cases) expect(of(folder), folder).toMatchObject({ status: 0, level: 0, invalid: [expect.stringContaining(says)] })
  })

  it('ATK-043: of an older store is level 0, though every entry of it is signed: what came after it is missing', { timeout: 60_000 }, async () => {
    await end(plane.child)
    const store = fs.readFileSync(path.join(dir, 'store.db'))
    plane = await startPlane(dir)
    expect(run('doctor').status).toBe(0)
    expect(assessed().invalid).toEqual([])
    await end(plane.child)
    const newer = fs.readFileSync(path.join(dir, 'store.db'))
    fs.writeFileSync(path.join(dir, 'store.db'), store)
    plane = await startPlane(dir)
    expect(assessed()).toMatchObject({ level: 0, invalid: [expect.stringMatching(/^the log key signed \d+ entries, and \d+ are there: an older copy is in its place$/)] })
    await end(plane.child)
    fs.writeFileSync(path.join(dir, 'store.db'), newer)
    plane = await startPlane(dir)
    expect(assessed().invalid).toEqual([])
  })

  it('of a store that was damaged is level 0 with the reason, as of one whose plane is gone', async () => {
    await end(plane.child)
    expect(of(dir).invalid).toEqual([expect.stringContaining('no plane answers')])
    const store = fs.readFileSync(path.join(dir, 'store.db'))
    fs.writeFileSync(path.join(dir, 'store.db'), Buffer.concat([store.subarray(0, 4_096), Buffer.alloc(store.length - 4_096)]))
    await expect(startPlane(dir)).rejects.toThrow('plane ended')
    expect(of(dir).invalid).toEqual([expect.stringContaining('no plane answers')])
    expect(run('assess', '--record').status).toBe(14)
  })
})
