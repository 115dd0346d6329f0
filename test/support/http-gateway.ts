import { type Gate, nodeClock, nodeRng } from '@sealwrit/gate'
import { McpGateway, type OpenLink, StateSeal } from '@sealwrit/mcp-gateway'
import { HttpFront, Places } from '@sealwrit/mcp-gateway/client-http'

/** A gateway in this process that clients reach over HTTP. Whoever asks is believed to be one and the same: who may is not what is tried here. */
export async function httpGateway(gate: Gate, open: OpenLink, target = 'mcp://fixture'): Promise<{ readonly url: string; close(): Promise<void> }> {
  const stateSeal = new StateSeal(nodeRng)
  const front = new HttpFront({
    openSeat: (_guest, port) => new McpGateway({ gate, target, open, agent: 'tester', facts: () => ({ paths: 'none' }), receiptOrder: 'before_reply', stateSeal }, port),
    authorize: async () => ({ principal: 'tester' }),
    places: new Places(),
    refused: (denied) => void gate.reporter.denial(denied, {}).catch(() => undefined),
    clock: nodeClock,
    rng: nodeRng,
  })
  const { port } = await front.listen('127.0.0.1', 0)
  return { url: `http://127.0.0.1:${port}/mcp`, close: () => front.close('the test ends') }
}
