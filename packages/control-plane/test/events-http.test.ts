import * as http from 'node:http'
import { type JsonObject, parseEntry, verifyCheckpoint } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/control-plane'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TestApprover } from './support/approver.ts'
import { Served, TOKEN } from './support/http.ts'
import { PERMIT_ALL, policySet, Rig, SCHEMA, type TestGate, toolCall } from './support/rig.ts'

let rig: Rig
let served: Served
let gate: TestGate
beforeAll(async () => {
  rig = await Rig.open('stream', policySet(`${PERMIT_ALL}\n@approval("group:secops")\npermit (principal, action == Action::"mcp.tool_call", resource) when { resource.name == "write_file" };`))
  gate = await rig.gate()
  served = await Served.open(rig.plane)
})
afterAll(async () => {
  await served.close()
  await rig.remove()
})

interface Told {
  readonly event: string
  readonly id: number | undefined
  readonly data: string
}

/** Listens until `wanted` says that it has heard enough. */
function listen(path: string, wanted: (told: readonly Told[]) => boolean, headers: Record<string, string> = {}): Promise<readonly Told[]> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port: served.port, path, headers: { authorization: `Bearer ${TOKEN}`, ...headers }, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        const told = text.split('\n\n').slice(0, -1).map((block): Told => {
          const member = (name: string): string | undefined => block.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
          return { event: member('event') ?? '', id: member('id') === undefined ? undefined : Number(member('id')), data: member('data') ?? '' }
        })
        if (!wanted(told)) return
        request.destroy()
        resolve(told)
      })
      response.on('error', () => undefined)
    })
    request.on('error', reject)
  })
}
const logged = (told: readonly Told[]): readonly Told[] => told.filter(({ id }) => id !== undefined)

it('the stream tells revocations, kills, epochs, holds, approvals, registrations and checkpoints, as the log holds them', async () => {
  const from = rig.plane.log.size
  const heard = listen(`/v1/events?from=${from}`, (told) => told.some(({ event }) => event === 'policy') && told.at(-1)?.event === 'checkpoint')
  const ada = await TestApprover.registered(rig.plane, 'ada')
  const held = await gate.authorize(gate.request(toolCall('write_file')))
  await ada.approve(rig.plane, (held as unknown as { hold: string }).hold)
  await rig.plane.stops.revoke('agent:evil', rig.plane.sub)
  await rig.plane.stops.kill('agent:worse', rig.plane.sub)
  await gate.authorize() // a permit is nothing that it tells
  await rig.plane.activate({ files: { 'a.cedar': 'forbid (principal, action, resource);', 'schema.cedarschema': SCHEMA }, tests: [], how: { mode: 'enforce', urgent: false, confirm: false, rebase: false } })
  const told = await heard
  expect(logged(told).map(({ event }) => event)).toEqual(['key', 'hold', 'approval', 'revocation', 'kill', 'policy'])
  for (const { event, id, data } of logged(told)) {
    expect(parseEntry(data)).toMatchObject({ kind: event, seq: id })
    expect(data).toBe((await rig.plane.log.read(id as number)).text)
  }
  const { checkpoint, size } = JSON.parse(told.at(-1)?.data ?? '') as { checkpoint: string; size: number }
  expect(verifyCheckpoint(checkpoint, rig.key, nodeCryptography).size).toBe(size)
})

it('the stream is resumed after the last event that was heard, with nothing twice and nothing left out', async () => {
  const all = logged(await listen('/v1/events?from=0', (told) => told.at(-1)?.event === 'checkpoint'))
  const third = all[2] as Told
  const rest = logged(await listen('/v1/events?from=0', (told) => told.at(-1)?.event === 'checkpoint', { 'last-event-id': String(third.id) }))
  expect(rest).toEqual(all.slice(3))
})

it.each(['/v1/events?from=x', '/v1/events?from=-1', '/v1/events?other=1'])('%s is refused', async (path) => {
  const answer = await served.ask('GET', path)
  expect([answer.status, (JSON.parse(answer.text) as JsonObject)['code']]).toEqual([400, 'request_malformed'])
})
