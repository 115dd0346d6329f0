import type { Plane } from '@sealwrit/control-plane'
import { SocketClient } from '@sealwrit/control-plane/client'

/** Somebody who is always there, and pins every tool as it is seen first: for tests about something else. A changed one stays changed. */
export function pinsAtOnce(plane: Plane): Plane {
  const record = plane.tools.record.bind(plane.tools)
  plane.tools.record = async (request) => {
    await record(request)
    const { target } = request
    const { tools } = plane.tools.list({ cursor: undefined, limit: 1_000 }, { target, state: 'seen' })
    await plane.tools.pin({ target, tools: tools.map(({ name, digest }) => ({ name, digest })) }, plane.sub)
    return record(request)
  }
  return plane
}

/** Somebody pins tools that a gate has seen, over the plane's socket. */
export async function pinOver(socket: string, target: string, tools: readonly { readonly name: string; readonly digest: string }[]): Promise<void> {
  const client = new SocketClient(socket)
  try {
    await client.request('tools.pin', { target, tools })
  } finally {
    client.close()
  }
}
