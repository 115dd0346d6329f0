import * as fs from 'node:fs'
import * as path from 'node:path'
import { CHECKS, DENIALS, type DenialCode, factsOf, type JsonObject, parseEntry, parseEnvironmentDocument, parseStrict, canonicalText, utf8 } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'

const ROOT = path.resolve(import.meta.dirname, '..')
const read = (name: string): string => fs.readFileSync(path.join(ROOT, name), 'utf8')
const PAGES = ['README.md', 'ARCHITECTURE.md', 'SECURITY.md', 'LIMITATIONS.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'DEPENDENCIES.md', 'CONFORMANCE.md', 'OPERATIONS.md', 'SCOREBOARD.md', ...fs.readdirSync(path.join(ROOT, 'spec')).filter((name) => name.endsWith('.md')).map((name) => `spec/${name}`)]

function denialTable(): string {
  const rows = CHECKS.flatMap((check) =>
    (Object.keys(DENIALS) as DenialCode[])
      .filter((code) => DENIALS[code].check === check)
      .map((code) => `| ${check} | \`${code}\` | ${DENIALS[code].http} | ${DENIALS[code].jsonRpc} | ${DENIALS[code].meaning} |`),
  )
  return ['| check | code | HTTP | JSON-RPC | meaning |', '|---|---|---|---|---|', ...rows].join('\n')
}

describe('documents', () => {
  it('spec/denial.md shows the table of the code (SEALWRIT_UPDATE=1 writes it)', () => {
    const [begin, end] = ['<!-- denials:begin -->\n', '\n<!-- denials:end -->']
    const text = read('spec/denial.md')
    const [head, rest] = text.split(begin) as [string, string]
    if (process.env['SEALWRIT_UPDATE'] === '1') fs.writeFileSync(path.join(ROOT, 'spec/denial.md'), `${head}${begin}${denialTable()}${end}\n`)
    expect(rest.split(end)[0]).toBe(denialTable())
  })

  it.each(PAGES)('%s: every link leads somewhere', (page) => {
    const text = read(page).replaceAll(/```[\s\S]*?```/g, '')
    for (const [, target] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(target as string)) continue
      expect(fs.existsSync(path.join(ROOT, path.dirname(page), target as string)), `${page} → ${target as string}`).toBe(true)
    }
  })
  it.each(PAGES)('%s: every file that it names exists', (page) => {
    for (const [, name] of read(page).matchAll(/`((?:packages|test|spec|bench|tools|examples)\/[\w./-]+\.\w+)(?:#\w+)?`/g)) {
      expect(fs.existsSync(path.join(ROOT, name as string)), `${page} → ${name as string}`).toBe(true)
    }
  })

  it.each(['spec/artifact.md', 'spec/entries.md', 'spec/approval.md', 'spec/lineage.md', 'spec/federation.md', 'spec/policy.md', 'spec/keys.md'])('the literal example of %s is a valid entry', (page) => {
    const example = /```json\n([\s\S]*?)```/.exec(read(page))?.[1] as string
    const text = canonicalText(parseStrict(utf8(example)))
    expect(canonicalText(parseEntry(text) as never)).toBe(text)
  })
  it('the literal example of spec/environment.md is a document', () => {
    const example = /```json\n([\s\S]*?)```/.exec(read('spec/environment.md'))?.[1] as string
    expect(factsOf(parseEnvironmentDocument(parseStrict(utf8(example)) as JsonObject))).toMatchObject({ os: 'linux', uid: 1_000 })
  })
  it('the README’s commands exist', () => {
    const scripts = (JSON.parse(read('package.json')) as { scripts: Record<string, string> }).scripts
    for (const name of ['start', 'test', 'typecheck', 'build', 'bench', 'soak', 'conformance', 'lint']) expect(scripts).toHaveProperty(name)
  })
})
