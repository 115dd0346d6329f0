import { Fields, type JsonValue, parsePermissibleRequest, parseToolsRequest, readTools } from '@sealwrit/protocol'
import { type PinRequest, TOOL_STATES, type ToolFilter } from '../govern/tools.ts'
import { type Page, readPage } from '../page.ts'
import type { Plane } from '../plane.ts'
import type { MethodName, Methods } from './api.ts'
import { type Peer, refuseGates, speaker } from './peer.ts'

/** What is served of tools: a gate says what it saw, people say what of it may be called. @see spec/entries.md#tools */
export const TOOL_METHODS: Methods<Extract<MethodName, `tools.${string}`>> = Object.freeze({
  'tools.record': async (plane: Plane, params: JsonValue, peer: Peer) => {
    const request = parseToolsRequest(params)
    await speaker(plane, request.session, peer)
    await plane.openGateOf(request.session)
    return { tools: await plane.tools.record(request) }
  },
  'tools.permissible': async (plane: Plane, params: JsonValue, peer: Peer) => {
    const request = parsePermissibleRequest(params)
    return { permissible: await plane.permissible(request, await speaker(plane, request.session, peer)) }
  },
  'tools.pin': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    return plane.tools.pin(parsePinRequest(params), peer.person.id)
  },
  'tools.unpin': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'tools.unpin')
    const target = fields.text('target')
    const names = readTools(fields, (tool) => tool.text('name'))
    fields.end()
    return plane.tools.unpin(target, names, peer.person.id)
  },
  'tools.list': (plane: Plane, params: JsonValue) => {
    const [page, filter] = parseListing(params)
    return plane.tools.list(page, filter)
  },
  'tools.show': (plane: Plane, params: JsonValue) => {
    const fields = new Fields(params, 'request_malformed', 'tools.show')
    const [target, name] = [fields.text('target'), fields.text('name')]
    fields.end()
    return plane.tools.show(target, name)
  },
})

export function parsePinRequest(value: JsonValue): PinRequest {
  const fields = new Fields(value, 'request_malformed', 'tools.pin')
  const target = fields.text('target')
  const tools = readTools(fields, (tool) => ({ name: tool.text('name'), digest: tool.digest('digest') }))
  fields.end()
  return { target, tools }
}

function parseListing(params: JsonValue): [Page, ToolFilter] {
  const fields = new Fields(params, 'request_malformed', 'tools.list')
  const filter = { target: fields.optional('target', (name) => fields.text(name)), state: fields.optional('state', (name) => fields.oneOf(name, TOOL_STATES)) }
  const page = readPage(fields)
  fields.end()
  return [page, filter]
}
