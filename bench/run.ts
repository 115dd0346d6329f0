import { execFileSync, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { assess } from './assess.ts'
import { p1p2 } from './p1-p2.ts'
import { p3 } from './p3.ts'
import { p4 } from './p4.ts'
import { p4http } from './p4-http.ts'
import { gateway } from './gateway.ts'
import { p5 } from './p5.ts'
import { p6 } from './p6.ts'
import { p7 } from './p7.ts'
import { p8 } from './p8.ts'
import { p10 } from './p10.ts'
import { p11 } from './p11.ts'
import { p12 } from './p12.ts'
import { search } from './search.ts'
import { lineage } from './lineage.ts'
import { type Figure, isMet } from './support/figure.ts'

const GROUPS: Readonly<Record<string, () => Promise<Figure[]>>> = { p1: p1p2, p2: p1p2, p3, p4, 'p4-http': p4http, gateway, p5, p6, p7, p8, p10, p11, p12, search, lineage, assess }
const args = process.argv.slice(2)
const wanted = args.filter((arg) => !arg.startsWith('-')).map((arg) => arg.toLowerCase())
const unknown = wanted.filter((name) => GROUPS[name] === undefined)
if (unknown.length > 0 || args.includes('--help')) {
  console.log(`usage: npm run bench -- [${Object.keys(GROUPS).join('|')}]… [--write]\n--write puts the table into bench/RESULTS.md`)
  process.exit(unknown.length > 0 ? 2 : 0)
}
const peers = path.join(import.meta.dirname, 'peers')
if (!fs.existsSync(path.join(peers, 'node_modules'))) spawnSync('npm', ['ci', '--prefix', peers], { stdio: 'inherit' })

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', cwd: import.meta.dirname }).trim()
const machine = `${os.cpus().length} cores, ${os.cpus()[0]?.model ?? 'unknown CPU'}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${os.platform()}-${os.arch()}`
console.log(`${machine}, commit ${commit}`)

const figures: Figure[] = []
for (const group of new Set((wanted.length > 0 ? wanted : Object.keys(GROUPS)).map((name) => GROUPS[name]))) {
  for (const figure of (await group?.()) ?? []) {
    figures.push(figure)
    print(figure)
  }
}
if (args.includes('--write')) fs.writeFileSync(path.join(import.meta.dirname, 'RESULTS.md'), results())
process.exit(0)

function print(figure: Figure): void {
  const { id, what, baseline, ratio, must, stretch, rows, durability } = figure
  console.log(`\n${id}  ${what}\n  against ${baseline}\n  ${durability}`)
  for (const [name, value] of rows) console.log(`  ${name.padEnd(68)} ${value}`)
  console.log(`  ratio ${ratio.toFixed(2)}×, must ${must}×, stretch ${stretch}×: ${isMet(figure) ? 'met' : 'MISSED'}`)
  console.log(JSON.stringify({ id, ratio: Number(ratio.toFixed(3)), must, stretch, met: isMet(figure), commit, rows }))
}

function results(): string {
  const table = figures.map((f) => `| ${f.id} | ${f.what} | ${f.baseline} | ${f.better === 'lower' ? '≤' : '≥'} ${f.must}× | ${f.better === 'lower' ? '≤' : '≥'} ${f.stretch}× | **${f.ratio.toFixed(2)}×** | ${isMet(f) ? 'met' : 'missed'} |`)
  const details = figures.map((f) => `**${f.id}.** ${f.rows.map(([name, value]) => `${name}: ${value}`).join('; ')}. ${f.durability}.${isMet(f) || f.note === undefined ? '' : ` *Missed*: ${f.note}.`}`)
  return `# Results

Written by \`npm run bench -- --write\`. Machines are shared and noisy: the ratios to the baseline of the same run count, absolute times do not.

${new Date().toISOString().slice(0, 10)}, commit ${commit}: ${machine}.

| figure | what | baseline | must | stretch | measured | |
|---|---|---|---|---|---|---|
${table.join('\n')}

${details.join('\n\n')}
`
}
