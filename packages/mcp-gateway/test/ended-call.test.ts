import { type Asked, CANCEL_GRACE_MS, type ClientPort, type LinkEvents, McpGateway } from '@sealwrit/mcp-gateway'
import { Denied, type JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Governed, stateless, TOOL } from './support/bench.ts'

/** A seat before a server of the stateless revision, over a link on which each request has its own response, or all have one channel. */
async function seated(isShared: boolean): Promise<{ call: (name: string) => Promise<JsonObject>; dropped: number[]; killed: string[]; answer: (name: string) => void; governed: Governed }> {
  const governed = new Governed()
  await governed.gate.connect()
  const [dropped, killed]: [number[], string[]] = [[], []]
  const open = new Map<string, () => void>()
  const script = stateless(undefined, [TOOL, { ...TOOL, name: 'slow' }])
  const link = (events: LinkEvents): ReturnType<ConstructorParameters<typeof McpGateway>[0]['open']> => ({
    isShared,
    send: (text, route) => {
      const { params } = JSON.parse(text) as { params?: { name?: string } }
      const reply = (): void => script(JSON.parse(text) as never, (out) => setImmediate(() => events.message(Buffer.from(out), isShared ? undefined : route.id)))
      if (route.method === 'tools/call') open.set(params?.name as string, reply)
      else reply()
    },
    drop: (id) => void dropped.push(id),
    close: () => undefined,
    kill: (reason) => void killed.push(reason),
  })
  const port: ClientPort = { notify: () => undefined, ask: () => Promise.reject(new Denied('unavailable')), ended: () => undefined }
  const seat = new McpGateway({ gate: governed.gate, target: 'mcp://fs', agent: 'tester', facts: () => ({ paths: 'inside' }), receiptOrder: 'before_reply', open: link }, port)
  let id = 0
  const call = async (name: string): Promise<JsonObject> => {
    const asked: Asked = { id: id++, method: 'tools/call', params: { name, arguments: {} }, client: { revision: '2026-07-28', name: 'c', version: '1', capabilities: {} }, signal: new AbortController().signal, notify: () => undefined }
    return JSON.parse((await seat.request(asked)).text) as JsonObject
  }
  return { call, dropped, killed, answer: (name) => open.get(name)?.(), governed }
}
const until = async (isSo: () => boolean): Promise<void> => {
  for (let i = 0; i < 1_000 && !isSo(); i++) await new Promise((resolve) => setTimeout(resolve, 2))
}

describe('a call that may not go on', () => {
  it.each([false, true])('ends by its own response where it has one, and else with the server (one channel for all: %s)', async (isShared) => {
    const { call, dropped, killed, answer, governed } = await seated(isShared)
    const [slow, other] = [call('slow'), call('read_file')]
    await until(() => governed.plane.entries.filter(({ kind }) => kind === 'permit').length === 2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(governed.gate.leases.prohibit({ kind: 'kill', event: 'killed', selector: 'tool:mcp://fs/slow', by: 'user:1', seq: 1_000 })).toBe(1)
    expect(await slow).toMatchObject({ isError: true, structuredContent: { code: 'killed' } })
    expect(dropped).toHaveLength(1)
    await new Promise((resolve) => setTimeout(resolve, CANCEL_GRACE_MS + 300))
    expect(killed).toHaveLength(isShared ? 1 : 0)
    if (isShared) return expect(await other).toMatchObject({ isError: true })
    answer('read_file')
    expect(await other).toMatchObject({ content: [{ text: 'called "read_file"' }] })
  })
})
