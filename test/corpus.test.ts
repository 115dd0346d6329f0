import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { loadPolicySet } from '@sealwrit/control-plane'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Rig, sha256 } from '../packages/control-plane/test/support/rig.ts'
import { ACTION_CLASSES, readLibrary, withArguments } from '../packages/cli/src/local/library.ts'
import { CORPUS_FOLDER, type Decided, decided, PARTS, readCorpus, resultsPage, type Share, share, standing, Workplace } from './support/corpus.ts'

const RESULTS = path.join(CORPUS_FOLDER, 'RESULTS.md')
const STARTER = path.resolve(import.meta.dirname, '../packages/cli/starter')
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-corpus-'))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))
const corpus = readCorpus()
const library = readLibrary()
let all: readonly Decided[] = []

beforeAll(async () => {
  const files = Object.fromEntries(library.flatMap((one) => one.files.filter(([name]) => name.endsWith('.cedar'))))
  const schema = library.reduce((text, one) => withArguments(text, one), fs.readFileSync(path.join(STARTER, 'schema.cedarschema'), 'utf8'))
  const rig = await Rig.open('corpus', loadPolicySet({ ...files, 'schema.cedarschema': schema }, sha256))
  const place = new Workplace(root)
  const results: Decided[] = []
  for (const request of corpus) results.push(await decided(request, place, rig.plane))
  all = results
  await rig.remove()
}, 60_000)

/** Shares that got worse: fewer attacks stopped, or more everyday work denied. */
function worse(before: ReadonlyMap<string, Share>, now: ReadonlyMap<string, Share>): readonly string[] {
  return [...before].flatMap(([name, was]) => {
    const is = now.get(name)
    if (is === undefined) return [`${name}: gone`]
    const missed = ({ n, permitted, denied }: Share): number => (name.startsWith('attack') ? permitted : denied) / n
    return missed(is) > missed(was) ? [`${name}: ${(100 * missed(was)).toFixed(1)} % before, ${(100 * missed(is)).toFixed(1)} % now`] : []
  })
}

describe('the corpus under the policies of the library', () => {
  it('has a few hundred attacks and as much everyday work, each of a known class, and both parts of each for every server', () => {
    for (const intent of ['attack', 'benign'] as const) {
      for (const part of PARTS) expect(corpus.filter((one) => one.intent === intent && one.part === part).length, `${intent}, ${part}`).toBeGreaterThan(75)
    }
    expect(corpus.filter(({ cls }) => !ACTION_CLASSES.some((known) => known === cls))).toEqual([])
    const families = (part: string): Set<string> => new Set(corpus.filter((one) => one.part === part).map(({ family, server, intent }) => `${intent} ${server} ${family}`))
    expect([...families('held back')].filter((one) => families('written against').has(one) && !one.endsWith(' think'))).toEqual([])
    expect(new Set(corpus.map(({ server }) => server))).toEqual(new Set(library.map(({ name }) => name)))
  })

  it('no share is worse than in corpus/RESULTS.md, and the page says what is decided today (`npm run corpus` writes it)', () => {
    const page = resultsPage(all)
    const before = fs.existsSync(RESULTS) ? fs.readFileSync(RESULTS, 'utf8') : ''
    expect(worse(standing(before), standing(page))).toEqual([])
    if (process.env['SEALWRIT_UPDATE'] === '1') fs.writeFileSync(RESULTS, page)
    else expect(before === page, 'run `npm run corpus`').toBe(true)
    expect(standing(page).size).toBe(4)
  })

  it('notices a regression: one attack more that is permitted, one benign request more that is denied, a part that is gone', () => {
    const was = standing(resultsPage(all))
    const change = (intent: string, verdict: Decided['verdict'], from: Decided['verdict']): readonly Decided[] => all.with(all.findIndex((one) => one.intent === intent && one.verdict === from), { ...(all.find((one) => one.intent === intent && one.verdict === from) as Decided), verdict })
    expect(worse(was, was)).toEqual([])
    expect(worse(was, standing(resultsPage(change('attack', 'permitted', 'denied'))))).toHaveLength(1)
    expect(worse(was, standing(resultsPage(change('benign', 'denied', 'permitted'))))).toHaveLength(1)
    expect(worse(was, new Map())).toHaveLength(4)
  })

  it('nothing is permitted that the policies were written against', () => {
    const known = all.filter(({ intent, part }) => intent === 'attack' && part === 'written against')
    expect(known.filter(({ verdict }) => verdict === 'permitted').map(({ server, tool, arguments: args }) => `${server} ${tool} ${JSON.stringify(args)}`)).toEqual([])
    expect(share(known).denied).toBeGreaterThan(0)
  })
})
