import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as http from 'node:http'
import * as path from 'node:path'
import { asker } from './support/asker.ts'
import { type Figure, quantile, time } from './support/figure.ts'
import { grown } from './support/history.ts'
import { main, stop } from './support/plane.ts'

const ENTRIES = 1_000_000
const ROUNDS = 40
/** What a search may take, in milliseconds. */
const LIMIT_MS = 100

/** Searches over HTTP in a log of a million entries, by everything that can be asked for, and logins; what is rare or missing is looked for in all of it. */
export async function search(): Promise<Figure[]> {
  const { dir } = await grown('search', ENTRIES, 100)
  const { child, url } = await serve(dir)
  const token = fs.readFileSync(path.join(dir, 'token'), 'utf8').trim()
  const ask = (query: string): Promise<{ executions: { seq: number; time: number }[]; next?: string }> => get(`${url}/v1/executions${query}`, token)
  const [newest] = (await ask('?limit=1')).executions
  const middle = ENTRIES / 2
  const queries: readonly (readonly [string, string])[] = [
    ['the newest 100', ''],
    ['an agent that asked for everything, from the middle on', `?agent=bench&cursor=${middle}`],
    ['an agent that nobody knows', '?agent=nobody'],
    ['a code that never was', '?code=killed'],
    ['an outcome that never was', '?agent=bench&outcome=failed'],
    ['what is open, 1,000 a page', '?outcome=open&limit=1000'],
    ['before there was anything', `?to=${(newest?.time ?? 0) - 86_400_000}`],
    ['a tool with an outcome, 1,000 a page', '?tool=mcp://bench/read_file&outcome=completed&limit=1000'],
  ]
  const rows: (readonly [string, string])[] = []
  let worst = 0
  const timed = async (name: string, ask: () => Promise<unknown>): Promise<void> => {
    const times: number[] = []
    for (let i = 0; i < ROUNDS; i++) times.push(await time(ask))
    worst = Math.max(worst, quantile(times, 0.99))
    rows.push([name, `p50 ${quantile(times, 0.5).toFixed(1)} ms, p99 ${quantile(times, 0.99).toFixed(1)} ms`])
  }
  for (const [name, query] of queries) await timed(name, () => ask(query))
  const person = { name: 'ann', password: 'correct horse battery staple' }
  const plane = await asker(path.join(dir, 'plane.sock'))
  await plane.ask('people.add', { ...person, role: 'viewer' })
  plane.close()
  await timed('a login with a password', () => login(url, person))
  await stop(child)
  return [{ id: 'search', what: 'the slowest search or login, p99, in a log of 10⁶ entries', baseline: `${LIMIT_MS} ms`, ratio: worst / LIMIT_MS, must: 1, stretch: 0.5, better: 'lower', rows, durability: 'nothing is written; one connection a request, over HTTP' }]
}

/** The plane again, with the address that it listens on. */
function serve(dir: string): Promise<{ child: ReturnType<typeof spawn>; url: string }> {
  const child = spawn(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', main, 'up', '--json', '--dir', dir, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  return new Promise((resolve, reject) => {
    child.stdout.once('data', (line: Buffer) => resolve({ child, url: (JSON.parse(String(line)) as { url: string }).url }))
    child.once('exit', (code) => reject(new Error(`plane ended (${code})`)))
  })
}

function get<T>(url: string, token: string): Promise<T> {
  return new Promise((resolve, reject) => {
    http.get(url, { headers: { authorization: `Bearer ${token}` }, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk)).on('end', () => (response.statusCode === 200 ? resolve(JSON.parse(text) as T) : reject(new Error(text))))
    }).on('error', reject)
  })
}

function login(url: string, person: object): Promise<void> {
  const body = JSON.stringify(person)
  return new Promise((resolve, reject) => {
    http.request(`${url}/v1/session`, { method: 'POST', agent: false, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } }, (response) => {
      response.resume().on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(`login: ${response.statusCode}`))))
    }).on('error', reject).end(body)
  })
}
