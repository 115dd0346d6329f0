// The job `soak`: runs the campaigns at their target sizes and writes SCOREBOARD.md and SCOREBOARD.json from what they measured.
// SEALWRIT_SOAK_SCALE is the share of each target that is run (default 1, which takes many hours). Arguments go to the test runner.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
/** The files that report a figure; whatever else is a test is no campaign. */
const CAMPAIGNS = [
  'test/conformance.test.ts', 'test/kill-sweep.test.ts', 'test/redeem-kill.test.ts', 'test/disk-full.test.ts',
  'packages/control-plane/test/contested.test.ts', 'packages/control-plane/test/crash-points.test.ts', 'packages/control-plane/test/decide.test.ts',
  'packages/control-plane/test/fsck.test.ts', 'packages/control-plane/test/io-errors.test.ts', 'packages/control-plane/test/log.test.ts',
  'packages/control-plane/test/replicas.test.ts', 'packages/control-plane/test/rollback.test.ts', 'packages/gate/test/split-view.test.ts',
  'packages/mcp-gateway/test/smuggling.test.ts', 'packages/protocol/test/json.test.ts', 'packages/protocol/test/mutants.test.ts',
  'packages/protocol/test/tiles.test.ts', 'packages/witness/test/split-view.test.ts',
]
/** What `npm test` asserts with every change; a figure of the run above says more of the same. */
const EVERY_CHANGE = [
  ['S1', '`kill -9` of plane or gate with calls in flight: nothing lost, doubled or unexplained in 100 kills', '`test/kill-sweep.test.ts`'],
  ['S3', 'contested single use: 1,000 artifacts × 2, 4 and 8 racers, both stores, each redeemed once', '`packages/control-plane/test/contested.test.ts`'],
  ['S6', 'JSON boundary: every valid form accepted, every invalid refused, every open one decided', '`spec/vectors/json.json`'],
  ['S7', 'canonical JSON like that of two other implementations, on 10,000 values', '`packages/protocol/test/json.test.ts`'],
  ['S12', 'errors of the disk over 5,000 operations: nothing acknowledged is absent', '`packages/control-plane/test/io-errors.test.ts`'],
  ['S21', '100 bits of the file, 3 of each column, and 300 positions edited, deleted, reordered, truncated: each named', '`packages/control-plane/test/fsck.test.ts`'],
  ['S23', 'all trees and all pairs of sizes to 128: every proof holds, every changed one is refused', '`packages/protocol/test/tiles.test.ts`'],
  ['S27', 'the official MCP suite, both revisions: no check is worse through the gateway', '`test/conformance.test.ts`'],
  ['S28', '100,000 mutated MCP messages in both directions: no unjudged byte reaches either side', '`packages/mcp-gateway/test/smuggling.test.ts`'],
  ['fault matrix', 'effects while a dependency is broken: 0 in every row', '`test/fault-matrix.test.ts`, table in SECURITY.md'],
]
const IDS = 34

const number = (n) => n.toLocaleString('en-US')
/** An upper bound in percent, rounded up to two digits, never down. */
function bound(n) {
  const percent = 300 / n
  const unit = 10 ** (Math.floor(Math.log10(percent)) - 1)
  return `${Number((Math.ceil(percent / unit - 1e-9) * unit).toPrecision(2))} %`
}

function result({ n, violations, seed, faultsLanded, voided }) {
  if (voided !== undefined || n === 0 || faultsLanded === 0) return `**void**: ${voided ?? 'no fault landed'}`
  const told = violations === 0 ? `0 in ${number(n)} (< ${bound(n)})` : `**${number(violations)} in ${number(n)}**`
  return seed === undefined ? told : `${told}, seed ${seed}`
}

const cell = (text) => String(text ?? '').replaceAll('|', '\\|').replaceAll('\n', ' ')

export function render({ scores, failed, commit, dirty, date, node, machine, scale, seconds }) {
  const order = (id) => Number(id.slice(1))
  const sorted = scores.toSorted((a, b) => order(a.id) - order(b.id))
  const rows = sorted.map((s) => `| ${s.id} | ${cell(s.figure)} | ${cell(result(s))} | ${cell(s.faultsLanded === undefined ? '' : number(s.faultsLanded))} | ${cell(s.notes)} | \`${s.test}\` |`)
  const silent = CAMPAIGNS.filter((file) => !scores.some(({ test }) => test === file))
  const measured = new Set([...sorted.map(({ id }) => id), ...EVERY_CHANGE.map(([id]) => id)])
  const missing = Array.from({ length: IDS }, (_, i) => `S${i + 1}`).filter((id) => !measured.has(id))
  return `# Scoreboard

Figures of strength, not of speed (those are in bench/RESULTS.md). \`npm run soak\` writes this page, and SCOREBOARD.json beside it, from
what its campaigns measured. "0 in N" is what was seen in N trials with that seed at that commit, and not that it cannot happen; the bound
in brackets is the 95 % bound, 3/N for N independent trials. Trials of one log or one seed are not wholly independent. A run whose
fault did not land is void, not passed.

Commit \`${commit}\`${dirty ? ' with changes that were not committed' : ''}, ${date}, Node ${node}, ${machine}; ${scale === 1 ? 'the whole of each target' : `${scale} of each target, and never fewer trials than \`npm test\` runs (SEALWRIT_SOAK_SCALE=${scale})`}, ${Math.round(seconds / 60)} minutes.
The column *result* has the sizes that were really run.
${failed.length === 0 ? '' : `\n**Failed in this run:** ${failed.map(cell).join('; ')}. A campaign that failed before it could count has no row.\n`}${silent.length === 0 ? '' : `\n**Without a figure in this run**, not run to the end or cut off: ${silent.map((file) => `\`${file}\``).join(', ')}.\n`}
| id | figure | result | faults landed | beside it | how |
|---|---|---|---|---|---|
${rows.join('\n')}

Asserted with every change, by \`npm test\`:

| id | figure | how |
|---|---|---|
${EVERY_CHANGE.map(([id, figure, how]) => `| ${id} | ${figure} | ${how} |`).join('\n')}

Not shown by any of it: real power loss, disks that lie about flushing, kernel faults, clock drift between hosts, WAN loss, hardware key
stores, contention beyond the cores at hand. S2 and S12 inject at the interface of the store and into copies of its files: the
database's own calls into the system are not intercepted. Not measured on this page yet: ${missing.join(', ')}.
`
}

function git(...words) {
  return spawnSync('git', words, { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? ''
}

function main(args) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sealwrit-soak-'))
  const [lines, report] = [path.join(folder, 'scores'), path.join(folder, 'report.json')]
  const [commit, dirty] = [git('rev-parse', '--short=12', 'HEAD'), git('status', '--porcelain', '--untracked-files=no') !== '']
  const from = Date.now()
  const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const only = args.filter((word) => word.endsWith('.test.ts'))
  const rest = args.filter((word) => !word.endsWith('.test.ts'))
  const run = spawnSync(process.execPath, [vitest, 'run', '--root', root, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...rest, ...(only.length > 0 ? only : CAMPAIGNS)], {
    cwd: root, stdio: 'inherit', env: { ...process.env, SEALWRIT_SOAK: '1', SEALWRIT_SCOREBOARD: lines },
  })
  const scores = existsSync(lines) ? readFileSync(lines, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line)) : []
  const tests = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')).testResults : []
  const failed = tests.flatMap(({ name, status, assertionResults }) => {
    const titles = assertionResults.filter((one) => one.status === 'failed').map(({ title }) => title)
    return titles.length === 0 && status === 'failed' ? [path.relative(root, name)] : titles
  })
  if (run.signal !== null) failed.push(`the run was cut off (${run.signal})`)
  rmSync(folder, { recursive: true, force: true })
  const about = {
    commit, dirty, date: new Date(from).toISOString().slice(0, 10), node: process.version, machine: `${os.type()} ${os.arch()}, ${os.cpus().length} cores`,
    scale: Number(process.env.SEALWRIT_SOAK_SCALE ?? '1'), seconds: (Date.now() - from) / 1_000,
  }
  writeFileSync(path.join(root, 'SCOREBOARD.json'), `${JSON.stringify({ ...about, failed, scores }, undefined, 1)}\n`)
  writeFileSync(path.join(root, 'SCOREBOARD.md'), render({ ...about, scores, failed }))
  process.exitCode = run.status ?? 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2))
