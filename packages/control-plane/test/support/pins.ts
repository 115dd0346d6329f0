import type { Plane } from '@sealwrit/control-plane'

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
