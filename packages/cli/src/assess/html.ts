import { type Covered, DIMENSIONS, type DimensionGrade, gap, type Grade, MAX_LEVEL, type Model, type Report } from '@sealwrit/assessor'
import { type Against, shownFact } from './against.ts'
import { shownNumber } from './numbers.ts'

const [SIZE, RADIUS] = [320, 118]
/** Reports that one trend shows. */
const MAX_TREND = 60

/** One page that needs nothing else: no script, no font, no address outside. */
export function htmlReport(report: Report, graded: Grade, model: Model, covered: readonly Covered[], history: readonly Report[], held?: Against): string {
  const when = new Date(report.at).toISOString().slice(0, 16).replace('T', ' ')
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Maturity of ${text(report.origin)}</title><style>${STYLE}</style></head><body><main>
<header><p class="level">${report.level}</p><div><h1>${text(model.levels[report.level] ?? '')}</h1>
<p>${text(report.origin)}, ${report.size} entries, ${when} UTC, model ${text(report.model)}</p></div></header>
${report.invalid.length === 0 ? '' : `<section class="invalid"><h2>What does not verify</h2><ul>${report.invalid.map((reason) => `<li>${text(reason)}</li>`).join('')}</ul></section>`}
<section class="charts"><figure>${radar(graded.dimensions)}<figcaption>Levels by dimension; the overall level is the least.</figcaption></figure>
${history.length === 0 ? '' : `<figure>${trend([...history, report].slice(-MAX_TREND))}<figcaption>Overall level over ${history.length + 1} reports.</figcaption></figure>`}</section>
<section><h2>To level ${Math.min(MAX_LEVEL, report.level + 1)}</h2>${steps(graded)}</section>
${held === undefined ? '' : `<section><h2>${text(held.title)}</h2>${profile(held)}</section>`}
<section><h2>Every point, and what shows it</h2>${graded.dimensions.map(points).join('')}</section>
<section><h2>What frameworks ask for</h2><p>Counted is measured evidence, and nobody's claim. The last column says what none of it shows.</p>${frameworks(covered)}</section>
</main></body></html>
`
}

/** Text that came from anywhere, as text (I7). */
function text(value: string): string {
  return value.replace(/[&<>"'\p{Cc}\p{Cf}]/gu, (c) => `&#${c.codePointAt(0) ?? 0};`)
}

/** Commands as they are typed; of text that was made safe. */
const code = (safe: string): string => safe.replace(/`([^`]+)`/g, '<code>$1</code>')
const label = (name: string): string => text(name.replaceAll('_', ' '))

function radar(dimensions: readonly DimensionGrade[]): string {
  const at = (i: number, level: number): string => {
    const angle = (2 * Math.PI * i) / dimensions.length - Math.PI / 2
    const r = (RADIUS * level) / MAX_LEVEL
    return `${(SIZE / 2 + r * Math.cos(angle)).toFixed(1)},${(SIZE / 2 + r * Math.sin(angle)).toFixed(1)}`
  }
  const ring = (level: number): string => `<polygon class="ring" points="${dimensions.map((_, i) => at(i, level)).join(' ')}"/>`
  const names = dimensions.map(({ dimension }, i) => {
    const [x, y] = at(i, MAX_LEVEL + 0.85).split(',') as [string, string]
    const words = dimension.split('_')
    return `<text x="${x}" y="${y}">${words.map((word, n) => `<tspan x="${x}" dy="${n === 0 ? 0 : '1.1em'}">${text(word)}</tspan>`).join('')}</text>`
  })
  const said = dimensions.map(({ dimension, level }) => `${dimension.replaceAll('_', ' ')} ${level}`).join(', ')
  return `<svg viewBox="-60 -14 ${SIZE + 120} ${SIZE + 36}" role="img" aria-label="${text(said)}">${[1, 2, 3, 4, 5].map(ring).join('')}<polygon class="area" points="${dimensions.map(({ level }, i) => at(i, level)).join(' ')}"/>${names.join('')}</svg>`
}

function trend(reports: readonly Report[]): string {
  const x = (i: number): number => 30 + (i * (SIZE - 50)) / Math.max(1, reports.length - 1)
  const y = (level: number): number => SIZE - 60 - (level * (SIZE - 110)) / MAX_LEVEL
  const grid = [0, 1, 2, 3, 4, 5].map((level) => `<line class="ring" x1="30" x2="${SIZE - 20}" y1="${y(level)}" y2="${y(level)}"/><text class="tick" x="18" y="${y(level) + 4}">${level}</text>`)
  const dates = [0, reports.length - 1].map((i) => `<text class="tick" x="${x(i)}" y="${SIZE - 30}">${new Date(reports[i]?.at ?? 0).toISOString().slice(0, 10)}</text>`)
  return `<svg viewBox="0 0 ${SIZE} ${SIZE}" role="img" aria-label="${reports.map(({ level }) => level).join(', ')}">${grid.join('')}<polyline class="line" points="${reports.map(({ level }, i) => `${x(i).toFixed(1)},${y(level).toFixed(1)}`).join(' ')}"/>${reports.map(({ level }, i) => `<circle cx="${x(i).toFixed(1)}" cy="${y(level).toFixed(1)}" r="3"/>`).join('')}${dates.join('')}</svg>`
}

function steps(graded: Grade): string {
  const missing = gap(graded)
  if (missing.length === 0) return '<p>Nothing is missing.</p>'
  return `<table><thead><tr><th>what is missing</th><th>asked for</th><th>shown</th><th>step</th></tr></thead><tbody>${missing
    .map(({ criterion, measured }) => `<tr><td>${label(criterion.dimension)} ${criterion.level}: ${label(criterion.measure)}</td><td>${criterion.at_least === undefined ? '≤' : '≥'} ${shownNumber(criterion.measure, criterion.at_least ?? (criterion.at_most as number))}</td><td>${measured === undefined ? 'nothing' : shownNumber(criterion.measure, measured.value)}</td><td>${code(text(criterion.step))}</td></tr>`)
    .join('')}</tbody></table>`
}

function points({ dimension, level, points: all }: DimensionGrade): string {
  return `<details${DIMENSIONS[0] === dimension ? ' open' : ''}><summary>${label(dimension)} <b>${level}</b></summary><table><tbody>${all
    .map(({ criterion, isMet, measured }) => `<tr class="${isMet ? 'met' : 'no'}"><td>${isMet ? 'met' : 'not met'}</td><td>${criterion.level}</td><td>${text(criterion.says)}</td><td>${label(criterion.measure)}: ${measured === undefined ? 'not shown' : shownNumber(criterion.measure, measured.value)}</td><td>${measured === undefined || measured.proof.length === 0 ? '' : `entries ${measured.proof.join(', ')}`}</td></tr>`)
    .join('')}</tbody></table></details>`
}

function profile({ results }: Against): string {
  return `<table><tbody>${results.map(({ requirement: { id, of, says, step, fact }, value, isMet }) => `<tr class="${isMet ? 'met' : 'no'}"><td>${isMet ? 'met' : 'not met'}</td><td>${text(of)}</td><td>${text(says)}</td><td>${text(id)}: ${label(fact)} ${shownFact(value)}</td><td>${isMet ? '' : code(text(step))}</td></tr>`).join('')}</tbody></table>`
}

function frameworks(covered: readonly Covered[]): string {
  const names = [...new Set(covered.map(({ framework }) => framework))]
  return names.map((name) => `<h3>${text(name)}</h3><table class="fw"><tbody>${covered.filter(({ framework }) => framework === name).map((item) => `<tr><td>${text(item.reference)}</td><td>${text(item.about)}</td><td>${item.points.length === 0 ? '—' : `${item.met} of ${item.points.length}`}</td><td>${text(item.not_covered)}</td></tr>`).join('')}</tbody></table>`).join('')
}

const STYLE = `:root{color-scheme:light dark;--ink:#1c2430;--paper:#fff;--soft:#5b6675;--line:#d8dee6;--good:#1f7a4d;--bad:#b3402e;--area:#2f6fb2}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--paper:#12161c;--soft:#9aa7b8;--line:#2b3440;--good:#58c48d;--bad:#ee8a78;--area:#6ea8e6}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}main{max-width:62rem;margin:0 auto;padding:2rem 1.25rem 4rem}
header{display:flex;gap:1.25rem;align-items:center;border-bottom:1px solid var(--line);padding-bottom:1.25rem}header p{margin:0;color:var(--soft)}h1{margin:0;font-size:1.6rem}h1::first-letter{text-transform:uppercase}
.level{font-size:3.6rem;line-height:1;font-weight:700;color:var(--area)!important;font-variant-numeric:tabular-nums}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}h2::first-letter{text-transform:uppercase}h3{font-size:.95rem;margin:1.4rem 0 .3rem;color:var(--soft)}
.charts{display:flex;flex-wrap:wrap;gap:2rem;margin-top:1.5rem}figure{margin:0;flex:1 1 20rem;min-width:0}figcaption{color:var(--soft);font-size:.85rem;text-align:center}svg{width:100%;max-height:26rem}
svg text{fill:var(--soft);font-size:11px;text-anchor:middle}.ring{fill:none;stroke:var(--line)}.area{fill:var(--area);fill-opacity:.25;stroke:var(--area);stroke-width:2}.line{fill:none;stroke:var(--area);stroke-width:2}circle{fill:var(--area)}
table{border-collapse:collapse;width:100%;font-size:.88rem}td,th{text-align:left;vertical-align:top;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line)}th{color:var(--soft);font-weight:600}.met td:first-child{color:var(--good)}.no td:first-child{color:var(--bad)}
code{font-size:.92em}.fw td:nth-child(1),.fw td:nth-child(3){white-space:nowrap}summary{cursor:pointer;padding:.45rem 0}summary::first-letter{text-transform:uppercase}.invalid{border-left:4px solid var(--bad);padding-left:1rem}@media print{details{display:block}}`
