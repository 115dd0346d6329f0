/** One sample of an exposition. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}
export interface Family {
  readonly type: string
  readonly help: string
  readonly samples: Sample[]
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (-?(?:\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?|\\+?Inf|NaN))$`)
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=.)|$)/

/**
 * Reads the text exposition format 0.0.4 and refuses what it does not know: HELP and TYPE once and before their samples,
 * samples of a family together, no sample twice, histograms cumulative and closed by `+Inf`.
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function parseExposition(text: string): ReadonlyMap<string, Family> {
  if (!text.endsWith('\n')) throw new Error('no newline at the end')
  const families = new Map<string, Family>()
  const seen = new Set<string>()
  let current: { name: string; help: string; family?: Family } | undefined
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue
    const help = new RegExp(`^# HELP (${NAME}) (.*)$`).exec(line)
    const type = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`).exec(line)
    if (help !== null) {
      if (families.has(help[1] as string)) throw new Error(`twice: ${line}`)
      current = { name: help[1] as string, help: help[2] as string }
    } else if (type !== null) {
      if (current === undefined || current.name !== type[1] || current.family !== undefined) throw new Error(`TYPE without HELP: ${line}`)
      current.family = { type: type[2] as string, help: current.help, samples: [] }
      families.set(current.name, current.family)
    } else if (line.startsWith('#')) throw new Error(`unknown: ${line}`)
    else {
      const sample = parseSample(line)
      const base = current?.family?.type === 'histogram' ? sample.name.replace(/_(bucket|sum|count)$/, '') : sample.name
      if (current?.family === undefined || base !== current.name) throw new Error(`a sample outside its family: ${line}`)
      const key = `${sample.name}${Object.keys(sample.labels).sort().map((label) => `,${label}=${JSON.stringify(sample.labels[label])}`).join('')}`
      if (seen.has(key)) throw new Error(`a sample twice: ${line}`)
      seen.add(key)
      current.family.samples.push(sample)
    }
  }
  for (const [name, family] of families) if (family.type === 'histogram') checkHistogram(name, family)
  return families
}

function parseSample(line: string): Sample {
  const [, name, labelText = '', value] = SAMPLE.exec(line) ?? []
  if (name === undefined || value === undefined) throw new Error(`not a sample: ${line}`)
  const labels: Record<string, string> = {}
  for (let rest = labelText; rest !== ''; ) {
    const [whole, label, content] = LABEL.exec(rest) ?? []
    if (whole === undefined || label === undefined || content === undefined || label in labels) throw new Error(`not labels: ${line}`)
    labels[label] = content.replace(/\\(.)/g, (_all, c: string) => (c === 'n' ? '\n' : c))
    rest = rest.slice(whole.length)
  }
  return { name, labels, value: Number(value.replace('Inf', 'Infinity')) }
}

function checkHistogram(name: string, { samples }: Family): void {
  const buckets = samples.filter((sample) => sample.name === `${name}_bucket`)
  const count = samples.find((sample) => sample.name === `${name}_count`)
  let before = -1
  for (const { value } of buckets) {
    if (value < before) throw new Error(`${name} is not cumulative`)
    before = value
  }
  if (buckets.at(-1)?.labels['le'] !== '+Inf' || count === undefined || buckets.at(-1)?.value !== count.value) throw new Error(`${name} is not closed`)
}
