import type { ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as http from 'node:http'
import * as net from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ANSWER_MS } from '../src/conformance/http.ts'
import { runPlaneSuite, LAST_STEPS } from '../src/conformance/plane/suite.ts'
import { PLANE_STEPS } from '../src/conformance/plane/steps.ts'
import { HttpWire, type PlaneWire, SocketWire } from '../src/conformance/plane/wire.ts'
import { type PlaneRule, readRules, RUNS } from '../src/conformance/rules.ts'
import { readVerifierKey } from '../src/local/folder.ts'
import { end, run, startPlane } from '../../../test/support/processes.ts'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-conformance-test-'))
const dir = path.join(root, '.sealwrit')
const socket = path.join(dir, 'plane.sock')
const rules = readRules().filter((rule): rule is PlaneRule => rule.suite === 'plane')
const over = (way: 'http' | 'socket'): readonly PlaneRule[] => rules.filter((rule) => rule.over === undefined || rule.over === way)
const ids = (of: readonly PlaneRule[]): readonly string[] => of.map(({ id }) => id)
const relays: net.Server[] = []
let plane: { child: ChildProcess; url: string }

beforeAll(async () => {
  plane = await startPlane(dir)
})
afterAll(async () => {
  for (const relay of relays) relay.close()
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

/** Ids by what came of them. */
async function verdicts(wire: PlaneWire, of: readonly PlaneRule[] = rules): Promise<Record<string, readonly string[]>> {
  const found = await runPlaneSuite(of, { wire, control: undefined, logKey: () => readVerifierKey(path.join(dir, 'log.vkey')), told: () => undefined, signal: new AbortController().signal })
  return Object.fromEntries(Object.entries(Object.groupBy(found, ({ status }) => status)).map(([status, all]) => [status, all.map(({ rule }) => rule.id).sort()]))
}
const sorted = (of: readonly string[]): readonly string[] => [...of].sort()

type Line = { id: number | null; method?: string; params?: Record<string, unknown>; result?: Record<string, unknown> & { sealed?: { entry: string; proof: string } }; error?: { data: { code: string } } }

/** Somebody between runner and plane. @param pass what becomes of an answer @param take answers a question in the plane's place */
async function relay(pass: (answer: Line, asked: Line) => Line, take: (asked: Line) => Line | undefined = () => undefined): Promise<SocketWire> {
  const file = path.join(root, `relay-${relays.length}.sock`)
  const server = net.createServer((from) => {
    const to = net.connect({ path: socket })
    const asked = new Map<number, Line>()
    let last: Line = { id: 0 }
    const parsed = (line: string): Line | undefined => {
      try {
        return JSON.parse(line) as Line
      } catch {
        return undefined // what is no JSON is for the plane to refuse
      }
    }
    createInterface({ input: from }).on('line', (line) => {
      const question = parsed(line)
      last = question ?? last
      if (typeof question?.id === 'number') asked.set(question.id, question)
      const answer = question === undefined ? undefined : take(question)
      if (answer === undefined) to.write(`${line}\n`)
      else from.write(`${JSON.stringify(answer)}\n`)
    })
    createInterface({ input: to }).on('line', (line) => {
      const answer = JSON.parse(line) as Line
      from.write(`${JSON.stringify(answer.method === undefined ? pass(answer, asked.get(answer.id ?? -1) ?? last) : answer)}\n`)
    })
    for (const [one, other] of [[from, to], [to, from]] as const) {
      one.on('error', () => undefined)
      one.on('close', () => other.destroy())
    }
  })
  relays.push(server)
  await new Promise<void>((resolve) => server.listen(file, resolve))
  return new SocketWire(file)
}

it('an answer that comes too late is not taken for that of the next question', async () => {
  const file = path.join(root, 'late.sock')
  let asked = 0
  const server = net.createServer((from) => {
    from.on('error', () => undefined)
    createInterface({ input: from }).on('line', () => {
      const n = ++asked
      setTimeout(() => from.write(`${JSON.stringify({ result: { n } })}\n`), n === 1 ? ANSWER_MS + 300 : 1_000)
    })
  })
  relays.push(server)
  await new Promise<void>((resolve) => server.listen(file, resolve))
  const wire = new SocketWire(file)
  expect(await wire.ask('gate', 'status', {}, 0)).toEqual({ refused: '' })
  expect(await wire.ask('gate', 'status', {}, 0)).toEqual({ result: { n: 2 } })
  wire.close()
}, ANSWER_MS + 5_000)

const isRefusal = ({ error, result }: Line): boolean => error !== undefined || result?.['decision'] === 'deny'

describe('rules about planes', () => {
  it('name steps that there are', () => {
    for (const { id, do: { step } } of rules) if (step !== undefined) expect([...Object.keys(PLANE_STEPS), ...LAST_STEPS], id).toContain(step)
  })
})

describe('our plane', () => {
  it('holds every rule over its socket', async () => {
    expect(await verdicts(new SocketWire(socket), over('socket'))).toEqual({ held: sorted(ids(over('socket'))) })
  }, 60_000)
  it('holds every rule over HTTP', async () => {
    const wire = new HttpWire(new URL(plane.url), fs.readFileSync(path.join(dir, 'token'), 'utf8').trim())
    expect(await verdicts(wire, over('http'))).toEqual({ held: sorted(ids(over('http'))) })
  }, 60_000)
  it('is left with every receipt that the runner’s gates numbered: being tried lowers no grade', async () => {
    const { exit, stdout } = await run(['log', 'gaps', '--dir', dir])
    expect([exit, stdout]).toEqual([0, expect.stringContaining('every receipt that a gate numbered is there')])
  })
  it('answers nothing that a rule of another way is held by', async () => {
    const http = rules.filter((rule) => rule.over === 'http')
    expect(await verdicts(new SocketWire(socket), http)).toEqual({ 'not checked': sorted(ids(http)) })
  })
})

describe('a plane that', () => {
  it('refuses nothing breaks every rule that expects a refusal', async () => {
    const found = await verdicts(await relay((answer) => (isRefusal(answer) ? { id: answer.id, result: {} } : answer)), over('socket'))
    const refusals = over('socket').filter(({ expect: codes }) => !codes.includes(RUNS))
    expect(found['broken']).toEqual(sorted([...ids(refusals), 'plane.accounts', 'plane.denials']))
    expect(found['not checked']).toBeUndefined()
  }, 60_000)
  it('refuses what it must let through breaks every rule that expects that', async () => {
    const seen = new Set<unknown>()
    const wire = await relay((answer) => answer, ({ id, method, params }) => {
      const isAgain = method === 'authorize' && seen.has(params?.['challenge'])
      seen.add(params?.['challenge'])
      const isMore = ['identity', 'parent', 'audience'].some((member) => params?.[member] !== undefined)
      return isAgain || isMore || ['issue', 'redeem', 'receipts', 'denials'].includes(method ?? '') ? { id, error: { data: { code: 'overloaded' } } } : undefined
    })
    const found = await verdicts(wire, over('socket').filter(({ expect: codes }) => codes.includes(RUNS)))
    expect(found).toEqual({ broken: sorted(['plane.accounts', 'plane.agent.known', 'plane.challenge.same', 'plane.denial', 'plane.denials', 'plane.issue.60', 'plane.lease.over', 'plane.parent.below', 'plane.receipt', 'plane.redeem', 'plane.redeem.same']), held: ['plane.control', 'plane.lease', 'plane.lease.killed', 'plane.lease.other', 'plane.seals'] })
  }, 60_000)
  it('turns one refusal into a permit is found by the rule about that, and by no other', async () => {
    const found = await verdicts(await relay((answer) => (answer.error?.data.code === 'lifetime_exceeded' ? { id: answer.id, result: { decision: 'permit' } } : answer)), over('socket'))
    expect(found['broken']).toEqual(['plane.issue.61'])
  }, 60_000)
  it('refuses with another code is found', async () => {
    const found = await verdicts(await relay((answer) => (answer.error?.data.code === 'artifact_spent' ? { ...answer, error: { data: { code: 'policy_denied' } } } : answer)), over('socket').filter(({ id }) => id.startsWith('plane.redeem')))
    expect(found['broken']).toEqual(['plane.redeem.pull', 'plane.redeem.twice'])
  }, 60_000)
  it('shows seals that do not verify is believed in nothing', async () => {
    const wire = await relay((answer) => (answer.result?.sealed === undefined ? answer : { ...answer, result: { ...answer.result, sealed: { ...answer.result.sealed, proof: answer.result.sealed.proof.replace(/.{8}\n$/, 'AAAAAAA=\n') } } }))
    const found = await verdicts(wire, over('socket'))
    expect(found).toEqual({ broken: ['plane.seals'], 'not checked': sorted(ids(over('socket')).filter((id) => id !== 'plane.seals')) })
  }, 60_000)
  it('answers a renewal without its sealed entry is found', async () => {
    const leases = rules.filter(({ id }) => id.startsWith('plane.lease'))
    const found = await verdicts(await relay((answer, { method }) => (method === 'leases.renew' && answer.result !== undefined ? { id: answer.id, result: {} } : answer)), leases)
    expect(found['broken']).toEqual(['plane.lease', 'plane.lease.killed', 'plane.lease.other', 'plane.lease.over'])
  }, 60_000)
  it('does not log a denial where it says is found', async () => {
    const found = await verdicts(await relay((answer) => (answer.result?.['decision'] === 'deny' ? { ...answer, result: { ...answer.result, seq: 0 } } : answer)), over('socket').filter(({ id }) => id.startsWith('plane.policy') || id === 'plane.denials'))
    expect(found['broken']).toEqual(['plane.denials'])
  }, 60_000)
  it('acknowledges a receipt that it does not log is found', async () => {
    let swallowed = false
    const wire = await relay((answer) => answer, ({ id, method }) => {
      if (method !== 'receipts' || swallowed) return undefined
      swallowed = true
      return { id, result: { seq: 1 } }
    })
    const found = await verdicts(wire, over('socket').filter(({ id }) => id.startsWith('plane.policy') || id === 'plane.accounts'))
    expect(found['broken']).toEqual(['plane.accounts'])
  }, 60_000)
  it('permits behind the back of who asks is found', async () => {
    let isDone = false
    const server = http.createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => void pass())
      const pass = async (): Promise<void> => {
        const body = Buffer.concat(chunks).toString()
        const send = (text: string): Promise<Response> => fetch(new URL(request.url ?? '', plane.url), { method: request.method ?? '', headers: { authorization: request.headers.authorization ?? '', 'content-type': 'application/json' }, ...(request.method === 'POST' ? { body: text } : {}) })
        const answer = await send(body)
        if (request.url?.startsWith('/v1/authorize') === true && !isDone) {
          isDone = true
          await send(body.replace(/"challenge":"[^"]*"/, '"challenge":"AAAAAAAAAAAAAAAAAAAAAA"'))
        }
        response.writeHead(answer.status).end(Buffer.from(await answer.arrayBuffer()))
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const wire = new HttpWire(new URL(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`), fs.readFileSync(path.join(dir, 'token'), 'utf8').trim())
      expect((await verdicts(wire, rules.filter(({ id }) => id.startsWith('plane.policy') || id === 'plane.accounts' || id === 'plane.seals')))['broken']).toEqual(['plane.accounts'])
    } finally {
      server.close()
      server.closeAllConnections()
    }
  }, 60_000)
  it('permits nothing is not checked, and never held', async () => {
    const found = await verdicts(await relay((answer, { method }) => (method === 'authorize' ? { id: answer.id, error: { data: { code: 'policy_no_match' } } } : answer)), over('socket'))
    expect(found).toEqual({ 'not checked': sorted(ids(over('socket'))) })
  }, 60_000)
})

describe.concurrent('sealwrit conformance --target', () => {
  it('tries a plane over HTTP with the token and key of its folder', async () => {
    const { exit, stdout } = await run(['conformance', '--dir', dir, '--target', plane.url, '--rule', 'plane.http', 'plane.seals', '--json'])
    expect([exit, (JSON.parse(stdout) as { summary: object }).summary]).toEqual([0, { held: 14, broken: 0, not_checked: 0 }])
  }, 60_000)
  it('says what is wrong with its words, and exits with 14 where nobody answers', async () => {
    const elsewhere = path.join(root, 'elsewhere', '.sealwrit')
    for (const [args, exit, said] of [
      [['--target', 'ftp://127.0.0.1'], 2, 'names no plane'],
      [['--target', 'http://user:secret@127.0.0.1:1'], 2, 'names no plane'],
      [['--target', plane.url, '--agent', 'x'], 2, '--action and --agent go together'],
      [['--target', plane.url, '--rule', 'gate.twice'], 2, 'none of the chosen rules is about a plane'],
      [['--target', plane.url, '--dir', elsewhere], 10, 'does not let this runner in: identity_invalid'],
      [['--target', 'http://127.0.0.1:1'], 14, 'no plane answers there'],
      [['--target', `unix:${elsewhere}/plane.sock`], 14, 'there is no socket'],
    ] as const) {
      const found = await run(['conformance', ...args])
      expect([found.exit, found.stderr], args.join(' ')).toEqual([exit, expect.stringContaining(said)])
    }
  }, 60_000)
  it('takes another control than the tool of `doctor`, and checks nothing where that is not permitted', async () => {
    const file = path.join(root, 'action.json')
    fs.writeFileSync(file, JSON.stringify({ type: 'mcp.resource_read', target: 'mcp://doctor', name: 'resources/read', arguments: { uri: 'file:///x' } }))
    const { exit, stdout, stderr } = await run(['conformance', '--dir', dir, '--target', `unix:${socket}`, '--action', file, '--agent', 'nobody', '--rule', 'plane.issue'])
    expect([exit, stderr]).toEqual([1, expect.stringContaining('nothing could be checked')])
    expect(stdout).toContain('held 0, broken 0, not checked 6')
  }, 60_000)
})
