import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import * as v8 from 'node:v8'
import * as vm from 'node:vm'
import { LogMeasures, type Measured } from '@sealwrit/assessor'
import { nodeCryptography } from '@sealwrit/gate'
import { type Checkpoint, decodeEntries, encodeEntries, equalBytes, Frontier, fromBase64Url, leafHash, parseEntry, peekKid, type SigningKey, signingKey, TILE_WIDTH, type TileName, tilePath, tilesOf, toBase64Url, utf8, verifyReceipt } from '@sealwrit/protocol'
import { afterAll, describe, expect, it } from 'vitest'
import { GATE, GATE_KEY, keyPair, NOW, permitBody, receiptClaims, sha256, TestLog } from '../../protocol/test/support/fixture.ts'
import { account } from '../../../test/support/evidence.ts'
import { MAX_NEWEST, type ReadLog, readLog } from '../src/assess/read-log.ts'
import { ahead } from '../src/evidence/ahead.ts'
import type { LogSource } from '../src/evidence/source.ts'
import { Threads } from '../src/evidence/threads.ts'
import { Progress } from '../src/progress.ts'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-read-log-'))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const token = (name: string): string => toBase64Url(sha256(utf8(name)).subarray(0, 16))
const LATE = keyPair('late gate')
const LATE_KEY = signingKey(LATE.publicKey, sha256)
const SESSIONS = [token('one'), token('two')] as const
/** A few tiles, the last of them not full. */
const EXECUTIONS = 600

/** A log of executions at two gates; receipts of the second one begin before the log knows its key. */
function logOf(executions: number, receiptOf: (n: number) => { keys: typeof GATE; key: SigningKey } | undefined): { texts: readonly string[]; head: Checkpoint } {
  const log = new TestLog()
  const gates = [GATE_KEY, LATE_KEY]
  const numbers = [0, 0]
  log.add({ kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey) })
  for (let n = 0; n < executions; n++) {
    if (n === Math.floor(executions / 2)) log.add({ kind: 'gate', gate: LATE_KEY.kid, event: 'enrolled', key: toBase64Url(LATE.publicKey) })
    if (n % 50 === 0) log.add({ kind: 'deny', code: 'policy_no_match', aud: GATE_KEY.kid })
    const jti = token(`jti ${n}`)
    const at = n % 10 === 9 ? 1 : 0
    log.add({ ...permitBody({ jti, txn: jti, aud: (gates[at] as SigningKey).kid }), challenge: token(`challenge ${n}`) })
    const by = receiptOf(n)
    if (by === undefined) continue
    const claims = receiptClaims({ jti, gate: (gates[at] as SigningKey).kid, session: SESSIONS[at] as string, sequence: (numbers[at] as number)++ })
    log.add({ kind: 'receipt', jti, receipt: account(claims, 'execution-receipt+jwt', by.keys, by.key.kid) })
  }
  return { texts: log.leaves, head: log.head() }
}
const honest = (n: number): { keys: typeof GATE; key: SigningKey } => (n % 10 === 9 ? { keys: LATE, key: LATE_KEY } : { keys: GATE, key: GATE_KEY })
const whole = logOf(EXECUTIONS, honest)

/** Serves tiles of texts, some of them changed. */
const sourceOf = (texts: readonly string[], change: (bytes: Uint8Array, tile: TileName) => Uint8Array = (bytes) => bytes): LogSource => ({
  checkpoint: () => Promise.reject(new Error('not asked for')),
  tile: async (tile) => change(encodeEntries(texts.slice(tile.index * TILE_WIDTH, tile.index * TILE_WIDTH + tile.width)), tile),
})
const MIDDLE = 2
const inMiddle = (change: (text: string) => string) => (bytes: Uint8Array, tile: TileName): Uint8Array => (tile.index === MIDDLE ? Buffer.from(change(Buffer.from(bytes).toString('latin1')), 'latin1') : bytes)

interface Found {
  readonly measured: readonly (readonly [string, Measured])[]
  readonly receiptsVerified: Measured | undefined
  readonly newest: readonly string[]
  readonly invalid: readonly string[]
}
const plain = ({ measures, ...rest }: ReadLog): Found => ({ ...rest, measured: [...measures.measured()] })

/** What a log shows, one entry after the other and nothing ahead. */
async function slowly(source: LogSource, head: Checkpoint, nowMs: number): Promise<Found> {
  const [measures, tree] = [new LogMeasures(nowMs), new Frontier(sha256)]
  const [keys, newest, invalid, bad]: [Map<string, SigningKey>, string[], string[], number[]] = [new Map(), [], [], []]
  let [checked, good] = [0, 0]
  try {
    for (const tile of tilesOf('entries', head.size)) {
      for (const text of decodeEntries(await source.tile(tile), tile.width)) {
        const entry = parseEntry(text)
        tree.append(leafHash(utf8(text), sha256))
        measures.add(entry)
        if (entry.kind === 'permit') newest.push(entry.jti)
        if (entry.kind === 'gate' && entry.key !== undefined) keys.set(entry.gate, signingKey(fromBase64Url(entry.key), sha256))
        if (entry.kind !== 'receipt') continue
        checked++
        try {
          verifyReceipt(entry.receipt, keys.get(peekKid(entry.receipt)) as SigningKey, nodeCryptography)
          good++
        } catch {
          if (bad.length < 5) bad.push(entry.seq)
        }
      }
    }
    if (!equalBytes(tree.root(), head.root)) invalid.push('the entries are not those that the log key signed')
  } catch (error) {
    invalid.push(`the log cannot be read whole: ${(error as Error).message}`)
  }
  invalid.push(...(measures.broken === undefined ? [] : [measures.broken]), ...measures.contradictions)
  if (invalid.length === 0 && measures.entries !== head.size) invalid.push('entries are missing')
  return { measured: [...measures.measured()], receiptsVerified: checked === 0 ? undefined : { value: good / checked, proof: bad }, newest: newest.slice(-MAX_NEWEST), invalid }
}

const NOW_MS = NOW * 1_000 + 60_000
const quiet = (): Progress => new Progress('', true)

describe('a log that is read ahead of itself', () => {
  const forged = logOf(EXECUTIONS, (n) => (n % 100 === 7 ? { keys: LATE, key: GATE_KEY } : honest(n)))
  const cases: readonly (readonly [string, { texts: readonly string[]; head: Checkpoint }, Parameters<typeof sourceOf>[1], RegExp | undefined])[] = [
    ['as it is', whole, undefined, undefined],
    ['with receipts that another key signed', forged, undefined, undefined],
    ['with one entry edited that reads well', whole, inMiddle((text) => text.replace('agent:tester', 'agent:tosser')), /^the entries are not those that the log key signed$/],
    ['with one entry edited that does not', whole, inMiddle((text) => text.replace('"kind":"permit"', '"kind":"permot"')), /^the log cannot be read whole: /],
    ['with a tile cut short in the middle', whole, inMiddle((text) => text.slice(0, -40)), /^the log cannot be read whole: .*: not the entries that the tile has$/],
    ['with a tile of nothing in the middle', whole, inMiddle(() => ''), /^the log cannot be read whole: /],
    ['with a tile that is not there', whole, inMiddle(() => { throw new Error('no such tile') }), /^the log cannot be read whole: no such tile$/],
    ['with two tiles in each other’s place', whole, (bytes, { index }) => (index === MIDDLE ? encodeEntries(whole.texts.slice(0, TILE_WIDTH)) : bytes), /^the entries are not those/],
  ]
  it.each(cases)('%s shows what it shows one entry after the other', async (_name, { texts, head }, change, says) => {
    const source = sourceOf(texts, change)
    const expected = await slowly(source, head, NOW_MS)
    if (says === undefined) expect(expected.invalid).toEqual([])
    else expect(expected.invalid[0]).toMatch(says)
    for (const jobs of [0, 2]) expect(plain(await readLog(source, head, NOW_MS, quiet(), jobs)), `${jobs} threads`).toEqual(expected)
  })

  it('counts receipts from before their gate’s key, and forged ones, as not signed', async () => {
    const { receiptsVerified } = plain(await readLog(sourceOf(forged.texts), forged.head, NOW_MS, quiet(), 2))
    const early = EXECUTIONS / 2 / 10
    expect(receiptsVerified?.value).toBeCloseTo(1 - (early + Math.ceil((EXECUTIONS - 7) / 100)) / EXECUTIONS, 10)
    expect(receiptsVerified?.proof).toHaveLength(5)
  })

  it('of no entries shows nothing, and is no error', async () => {
    const { measured, invalid, newest } = plain(await readLog(sourceOf([]), new TestLog().head(), NOW_MS, quiet()))
    expect([new Map(measured).get('entries')?.value, invalid, newest]).toEqual([0, [], []])
  })

  it('is read by threads in the command’s own process, with the same result', () => {
    for (const tile of tilesOf('entries', whole.head.size)) {
      const file = path.join(folder, tilePath(tile))
      fs.mkdirSync(path.dirname(file), { recursive: true })
      fs.writeFileSync(file, encodeEntries(whole.texts.slice(tile.index * TILE_WIDTH, tile.index * TILE_WIDTH + tile.width)))
    }
    const src = path.resolve(import.meta.dirname, '../src')
    const script = `
      import { readLog } from '${src}/assess/read-log.ts'; import { FolderSource } from '${src}/evidence/source.ts'; import { Progress } from '${src}/progress.ts'; import { Threads } from '${src}/evidence/threads.ts'
      const head = { origin: 'o', size: ${whole.head.size}, root: Buffer.from('${Buffer.from(whole.head.root).toString('hex')}', 'hex') }
      const source = new FolderSource('${folder}')
      const found = await readLog(source, head, ${NOW_MS}, new Progress('', true), 2)
      const threads = new Threads(new URL('file://${src}/assess/tile-worker.ts'), 1)
      const answer = await threads.ask({ bytes: await source.tile({ level: 'entries', index: 0, width: 256 }), width: 256, below: 0, keys: new Map() })
      await threads.close()
      console.log(JSON.stringify({ found: { ...found, measures: [...found.measures.measured()] }, answered: answer?.entries.length }))`
    const file = path.join(folder, 'read.mjs') // threads start with the options of their process: with -e there would be none
    fs.writeFileSync(file, script)
    const { stdout, stderr } = spawnSync(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', file], { encoding: 'utf8' })
    expect(stderr).toBe('')
    const { found, answered } = JSON.parse(stdout) as { found: { measures: [string, Measured][]; invalid: string[] }; answered: number }
    expect([found.invalid, answered]).toEqual([[], TILE_WIDTH])
    expect(new Map(found.measures).get('executions')?.value).toBe(EXECUTIONS)
  })
})

describe('threads', () => {
  const module = (text: string): URL => new URL(`data:text/javascript,${encodeURIComponent(text)}`)
  it.each([
    ['cannot start', 'throw new Error("broken")'],
    ['fail on a question', 'import { parentPort } from "node:worker_threads"; parentPort.on("message", () => { throw new Error("broken") })'],
    ['end on a question', 'import { parentPort } from "node:worker_threads"; parentPort.on("message", () => process.exit(0))'],
  ])('that %s leave every question to who asked', async (_name, text) => {
    const threads = new Threads<number, number>(module(text), 2)
    expect(await Promise.all([1, 2, 3].map((question) => threads.ask(question)))).toEqual([undefined, undefined, undefined])
    expect(await threads.ask(4)).toBeUndefined()
    await threads.close()
  })
  it('that there are none of answer nothing', async () => {
    expect(await new Threads<number, number>(module(''), 0).ask(1)).toBeUndefined()
  })
})

describe('questions that are asked ahead', () => {
  it('come in order, never more than the window at once, and a failure after the answers before it', async () => {
    let [underWay, most] = [0, 0]
    const ask = async (n: number): Promise<number> => {
      most = Math.max(most, ++underWay)
      await new Promise((resolve) => setTimeout(resolve, (n % 3) * 2))
      underWay--
      if (n === 17) throw new Error('seventeen')
      return n
    }
    const got: number[] = []
    await expect((async () => {
      for await (const n of ahead(Array.from({ length: 40 }, (_, n) => n), 4, ask)) got.push(n)
    })()).rejects.toThrow('seventeen')
    expect([got, most]).toEqual([Array.from({ length: 17 }, (_, n) => n), 4])
  })
})

describe('memory of what was read', () => {
  v8.setFlagsFromString('--expose-gc')
  const collect = vm.runInNewContext('gc') as () => void
  const held = async (executions: number, isEnded: boolean): Promise<number> => {
    const { texts, head } = logOf(executions, (n) => (isEnded ? honest(n) : undefined))
    collect()
    const before = process.memoryUsage().heapUsed
    const found = await readLog(sourceOf(texts), head, NOW_MS, quiet(), 0)
    collect()
    const after = process.memoryUsage().heapUsed
    expect(found.measures.entries).toBe(head.size)
    return after - before
  }
  it('does not grow with executions that came to an end, and with those that are open by no more than their permits', async () => {
    await held(400, true) // what is loaded and compiled once
    const [few, many] = [await held(400, true), await held(4_400, true)]
    expect((many - few) / 8_000).toBeLessThan(100) // bytes an entry
    const [fewOpen, manyOpen] = [await held(400, false), await held(4_400, false)]
    expect((manyOpen - fewOpen) / 4_000).toBeLessThan(600)
  })
})
