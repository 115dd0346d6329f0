// A day under governance, told by what really happens: `node tools/bootstrap.mjs example day`. Every step is the command that a person
// would type, or a call that an agent would make; everything runs on this machine, in a folder of its own.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { Issuer } from './issuer.ts'

const here = import.meta.dirname
const PROGRAM = ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', path.resolve(here, '../../packages/cli/src/main.ts')]
const root = process.argv[2] ?? fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-day-'))
const dir = path.join(root, '.sealwrit')
const reports = path.join(root, 'reports')
const bundle = path.join(root, 'day.json')

const say = (text: string): void => console.log(text)
const chapter = (text: string): void => say(`\n== ${text}`)
/** What does not come out as the day tells it is a fault of the example: it ends there. */
function must(what: string, got: unknown, wanted: unknown): void {
  if (got !== wanted) throw new Error(`${what}: ${String(got)}, where the day says ${String(wanted)}`)
}

/** Types one command, and shows what it answers. */
async function sealwrit(...args: string[]): Promise<{ exit: number; out: string }> {
  say(`$ sealwrit ${args.map((arg) => (arg.startsWith(root) ? path.relative(root, arg) : arg)).join(' ')}`)
  const child = spawn(process.execPath, [...PROGRAM, ...args, '--dir', dir], { cwd: root, env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk.toString()))
  const exit = await new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)))
  for (const text of out.trimEnd().split('\n').slice(0, 24)) say(`    ${text}`)
  return { exit, out }
}

/** An agent: an MCP client whose server stands behind a gate. */
class Agent {
  readonly #name: string
  readonly #client: Client
  private constructor(name: string, client: Client) {
    this.#name = name
    this.#client = client
  }

  static async start(name: string): Promise<Agent> {
    const client = new Client({ name, version: '1' })
    const command = ['mcp', '--pin', '--dir', dir, '--name', 'reports', '--agent', name, '--token-file', path.join(root, `${name}.token`), '--', process.execPath, path.join(here, 'server.mjs'), reports]
    await client.connect(new StdioClientTransport({ command: process.execPath, args: [...PROGRAM, ...command], cwd: path.resolve(here, '../..'), stderr: 'ignore' }))
    return new Agent(name, client)
  }

  /** Calls a tool. @returns its text, or the denial code; what else the answer says of a denial */
  async call(tool: string, file: string, meta: Record<string, unknown> = {}): Promise<{ said: string; denial?: Record<string, unknown> }> {
    const result = (await this.#client.callTool({ name: tool, arguments: { path: path.join(reports, file) }, _meta: meta })) as { content?: { text?: string }[]; _meta?: { 'sealwrit/denial'?: { code: string } } }
    const denial = result._meta?.['sealwrit/denial']
    const said = denial?.code ?? result.content?.[0]?.text ?? ''
    say(`  ${this.#name} calls ${tool} ${file}: ${said}`)
    return { said, ...(denial === undefined ? {} : { denial }) }
  }
  close(): Promise<void> {
    return this.#client.close()
  }
}

async function startPlane(): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [...PROGRAM, 'up', '--json', '--dir', dir, '--listen', '127.0.0.1:0'], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  const told = await new Promise<Buffer>((resolve, reject) => {
    child.stdout.once('data', resolve)
    child.once('exit', (code) => reject(new Error(`the plane ended (${code})`)))
  })
  return { child, url: (JSON.parse(told.toString()) as { url: string }).url }
}

/** Somebody logs in with a password and does one thing, as a page in a browser would. @returns what the plane answers */
async function asPerson(url: string, name: string, at: string, body: object): Promise<Record<string, unknown>> {
  const headers = { 'content-type': 'application/json', origin: url }
  const password = fs.readFileSync(path.join(root, `${name}.password`), 'utf8').trim()
  const login = await fetch(`${url}/v1/session`, { method: 'POST', headers, body: JSON.stringify({ name, password }) })
  const { token, role } = (await login.json()) as { token: string; role: string }
  const cookie = login.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  const response = await fetch(`${url}${at}`, { method: 'POST', headers: { ...headers, cookie, 'sealwrit-token': token }, body: JSON.stringify(body) })
  const answer = (await response.json()) as Record<string, unknown>
  say(`  ${name}, ${role}, asks ${at} ${JSON.stringify(body)}: ${JSON.stringify(answer)}`)
  return answer
}

const did = (): string => (fs.existsSync(path.join(root, 'did.txt')) ? fs.readFileSync(path.join(root, 'did.txt'), 'utf8') : '')
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (holds()) return
    await pause(20)
  }
  throw new Error(`${what} did not happen`)
}

const issuer = await Issuer.start()
let plane: Awaited<ReturnType<typeof startPlane>> | undefined
try {
  fs.mkdirSync(reports, { recursive: true })
  for (const name of ['q1.txt', 'q2.txt', 'q3.txt']) fs.writeFileSync(path.join(reports, name), `${name}: revenue grew`)
  fs.cpSync(path.join(here, 'policies'), path.join(root, 'policies'), { recursive: true })
  fs.cpSync(path.join(here, 'next'), path.join(root, 'next'), { recursive: true })
  for (const folder of ['policies', 'next']) fs.copyFileSync(path.join(here, 'schema.cedarschema'), path.join(root, folder, 'schema.cedarschema'))
  const provider = { issuer: issuer.url, audience: 'sealwrit', algorithms: ['ES256'], jwks_uri: `${issuer.url}/jwks`, agent: 'agent' }
  fs.writeFileSync(path.join(root, 'sealwrit.yaml'), JSON.stringify({ owner: 'team:reports', policies: 'policies', identity: { agents: 'named', issuers: [provider] }, people: { lift_quorum: 2 } }))
  fs.writeFileSync(path.join(root, 'dora.password'), `${randomBytes(18).toString('base64url')}\n`, { mode: 0o600 })
  for (const agent of ['planner', 'reader']) fs.writeFileSync(path.join(root, `${agent}.token`), issuer.token('alice', agent), { mode: 0o600 })

  chapter('Morning. A plane, an issuer of identities, three people who may approve, and an operator')
  plane = await startPlane()
  for (const name of ['ann', 'bob', 'cyd']) await sealwrit('approver', 'add', name, '--group', 'ops')
  await sealwrit('person', 'add', 'dora', '--role', 'operator', '--password-file', path.join(root, 'dora.password'))

  chapter('Two agents act for alice; the issuer vouches for both. Who vouches for nobody does nothing')
  const planner = await Agent.start('planner')
  const reader = await Agent.start('reader')
  must('an agent reads', (await reader.call('read_report', 'q1.txt')).said, 'q1.txt: revenue grew')
  must('the other may not follow', (await reader.call('follow_report', 'q1.txt')).said, 'policy_no_match')
  fs.writeFileSync(path.join(root, 'reader.token'), issuer.token('alice', 'reader', -600), { mode: 0o600 })
  must('a token that ended', (await reader.call('read_report', 'q1.txt')).said, 'identity_invalid')
  fs.writeFileSync(path.join(root, 'reader.token'), issuer.token('alice', 'reader'), { mode: 0o600 })

  chapter('A deletion is held: two of three people have to say yes to exactly this')
  const held = await planner.call('delete_report', 'q2.txt')
  must('it is held', held.said, 'approval_required')
  const { hold } = held.denial as { hold: string }
  await sealwrit('approvals', '--show', hold)
  await sealwrit('approve', hold, '--as', 'ann')
  must('one is not enough', (await planner.call('delete_report', 'q2.txt', { 'sealwrit/hold': hold })).said, 'approval_required')
  await sealwrit('approve', hold, '--as', 'bob')
  must('another file is another request', (await planner.call('delete_report', 'q3.txt', { 'sealwrit/hold': hold })).said, 'approval_required')
  must('what was approved runs', (await planner.call('delete_report', 'q2.txt', { 'sealwrit/hold': hold })).said, 'deleted')
  must('and nothing else', fs.readdirSync(reports).join(' '), 'q1.txt q3.txt')

  chapter('Noon. The planner follows a report, and lets the reader read reports below that, five times at the most')
  const following = planner.call('follow_report', 'q1.txt', {
    'sealwrit/delegates': { until: Math.floor(Date.now() / 1_000) + 90, uses: 5, depth: 1, agents: ['reader'], scopes: [{ type: 'mcp.tool_call', target: 'mcp://reports', name: 'read_report', arguments: { path: { prefix: `${reports}/` } } }] },
  })
  await until('following', () => did().includes('following q1.txt'))
  // The server is told which permit it runs under: it may hand that on, and nothing more.
  const parent = JSON.parse(fs.readFileSync(path.join(root, 'parent.json'), 'utf8')) as { jti: string }
  must('the reader reads below it', (await reader.call('read_report', 'q3.txt', { 'sealwrit/parent': parent })).said, 'q3.txt: revenue grew')
  must('nothing that was not delegated', (await reader.call('delete_report', 'q3.txt', { 'sealwrit/parent': parent })).said === 'deleted', false)

  chapter('The planner is revoked: what runs is stopped, and what descends from it ends with it')
  await sealwrit('revoke', `artifact:${parent.jti}`)
  must('the running call', (await following).said, 'revoked')
  const stopped = did()
  await pause(500)
  must('it really stopped', did(), stopped)
  must('what descends from it', (await reader.call('read_report', 'q3.txt', { 'sealwrit/parent': parent })).said, 'ancestor_revoked')
  await sealwrit('lineage', parent.jti)

  chapter('Afternoon. The next policies keep every report: first replayed over what was asked today, then activated')
  await sealwrit('policy', 'replay', path.join(root, 'next'))
  must('activation', (await sealwrit('policy', 'activate', path.join(root, 'next'))).exit, 0)
  await planner.close()
  const again = await Agent.start('planner') // the server of the revoked call was ended
  must('no deletion any more', (await again.call('delete_report', 'q3.txt')).said, 'policy_denied')

  chapter('Something is wrong with reading: it is killed everywhere, looked at, and lifted by two people')
  await sealwrit('kill', 'tool:mcp://reports/read_report')
  must('killed', (await reader.call('read_report', 'q1.txt')).said, 'killed')
  await sealwrit('unkill', 'tool:mcp://reports/read_report')
  must('one person does not lift it', (await reader.call('read_report', 'q1.txt')).said, 'killed')
  must('two do', (await asPerson(plane.url, 'dora', '/v1/kills/lift', { selector: 'tool:mcp://reports/read_report' }))['lifted'], true)
  must('lifted', (await reader.call('read_report', 'q1.txt')).said, 'q1.txt: revenue grew')
  await reader.close()
  await again.close()

  chapter('Evening. Everything of the day in one file, checked offline by somebody who was not there')
  await sealwrit('export', 'all', '-o', bundle)
  must('the verdict', (await sealwrit('verify', bundle, '--key', path.join(dir, 'log.vkey'), '--replay')).exit, 0)
  say(`\nThe evidence is in ${bundle}; the verifier key in ${path.join(dir, 'log.vkey')}.`)
} finally {
  issuer.close()
  if (plane !== undefined) {
    const { child } = plane
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
  }
}
