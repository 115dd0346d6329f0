import { createHmac } from 'node:crypto'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import { MAX_NOTICES, MAX_TRIES, Notices, Plane, SIGNATURE_HEADER } from '@sealwrit/control-plane'
import { afterEach, describe, expect, it } from 'vitest'
import { policySet, Rig, type TestGate, told, toolCall } from './support/rig.ts'

const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** A real endpoint that answers with `statuses`, the last of them for ever. */
async function endpoint(...statuses: number[]): Promise<{ url: URL; bodies: string[]; marks: string[] }> {
  const [bodies, marks]: [string[], string[]] = [[], []]
  const server = http.createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.once('end', () => {
      bodies.push(body)
      marks.push(String(request.headers[SIGNATURE_HEADER]))
      response.writeHead(statuses.length > 1 ? (statuses.shift() as number) : (statuses[0] ?? 200)).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => server.closeAllConnections(), () => new Promise((resolve) => server.close(() => resolve())))
  return { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?key=hidden`), bodies, marks }
}

async function open(url: URL, withArguments = false): Promise<{ rig: Rig; gate: TestGate; notices: Notices; reports: string[] }> {
  const rig = await Rig.open('notices', policySet('@approval("group:secops") permit (principal, action, resource);'))
  closing.push(() => rig.remove())
  const reports: string[] = []
  const notices = new Notices({ url, hmac: (message) => createHmac('sha256', 'secret').update(message).digest(), withArguments, report: (sentence) => reports.push(sentence) }, { clock: rig.clock, store: rig.store, origin: rig.key.name, tenant: 'default' })
  closing.push(() => notices.close())
  return { rig, gate: await rig.gate(), notices, reports }
}
async function holdIn(rig: Rig, gate: TestGate): Promise<Parameters<Notices['tell']>[0]> {
  const reply = await gate.authorize(gate.request(toolCall('read_file', { path: `/secret/${rig.token()}` })))
  if (reply.decision !== 'hold') throw new Error(told(reply))
  return rig.plane.log.state.approvals.holds.get(reply.hold) as never
}
/** Lets time pass until `done`. */
async function until(rig: Rig, done: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !done(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    rig.clock.advance(100)
  }
  expect(done()).toBe(true)
}

describe('notices of holds', () => {
  it('are signed with their time, and name no argument unless that is configured', async () => {
    for (const withArguments of [false, true]) {
      const { url, bodies, marks } = await endpoint(200)
      const { rig, gate, notices, reports } = await open(url, withArguments)
      await notices.tell(await holdIn(rig, gate), 'opened')
      await until(rig, () => bodies.length === 1)
      const [, seconds, mark] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(marks[0] as string) as unknown as [string, string, string]
      expect(mark).toBe(createHmac('sha256', 'secret').update(`${seconds}.${bodies[0]}`).digest('hex'))
      expect(JSON.parse(bodies[0] as string)).toMatchObject({ v: 1, event: 'hold.opened', groups: ['secops'], quorum: 1, scope: { name: 'read_file' } })
      expect(bodies[0]?.includes('/secret/')).toBe(withArguments)
      expect(reports).toEqual([])
    }
  })
  it('are tried again with growing waits, in order, and each hold is opened once', async () => {
    const { url, bodies } = await endpoint(500, 503, 200)
    const { rig, gate, notices, reports } = await open(url)
    const [a, b] = [await holdIn(rig, gate), await holdIn(rig, gate)]
    await Promise.all([notices.tell(a, 'opened'), notices.tell(a, 'opened'), notices.tell(b, 'opened')])
    await until(rig, () => bodies.length === 4)
    expect(bodies.map((body) => (JSON.parse(body) as { hold: string }).hold)).toEqual([a.id, a.id, a.id, b.id])
    expect(reports).toEqual([expect.stringMatching(/was not told of a hold: `answered 500`$/)])
    expect(reports.join()).not.toContain('hidden')
  })
  it('are given up after so many tries, which is reported; the next one is tried all the same', async () => {
    const { url, bodies } = await endpoint(500)
    const { rig, gate, notices, reports } = await open(url)
    await notices.tell(await holdIn(rig, gate), 'opened')
    await notices.tell(await holdIn(rig, gate), 'rejected')
    const givenUp = (): number => reports.filter((sentence) => sentence.includes(`given up after ${MAX_TRIES} tries`)).length
    await until(rig, () => bodies.length === 2 * MAX_TRIES && givenUp() === 2)
    expect([bodies.length, givenUp()]).toEqual([2 * MAX_TRIES, 2])
  })
  it('wait in a bounded queue; what does not fit is dropped and reported once', async () => {
    const { url } = await endpoint(500)
    const { rig, gate, notices, reports } = await open(url)
    const hold = await holdIn(rig, gate)
    for (let i = 0; i < MAX_NOTICES + 50; i++) await notices.tell(hold, 'approved')
    expect(reports.filter((sentence) => sentence.includes('are dropped'))).toHaveLength(1)
  })
  it('never stand in the way: with nobody there a call is held as fast, and a plane closes', async () => {
    const { rig, gate, notices, reports } = await open(new URL('http://127.0.0.1:1/hook'))
    expect(rig.plane).toBeInstanceOf(Plane)
    await notices.tell(await holdIn(rig, gate), 'opened')
    await until(rig, () => reports.length > 0)
    expect(reports[0]).toMatch(/not reachable/)
    await notices.close()
  })
})
