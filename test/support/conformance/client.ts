// The client that the suite runs for its client scenarios: the official one, with the suite's address as its last argument. With
// SEALWRIT_CONFORMANCE_GATEWAY it stands behind a gateway that stands before that address: `stdio` or `http`.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { AgreeingUser } from './oauth.ts'
import { openTransport } from './through.ts'

const scenario = process.env['MCP_CONFORMANCE_SCENARIO'] ?? ''
const revision = process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] ?? '2025-11-25'
const context = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}') as Record<string, unknown>
const url = process.argv.at(-1) as string

/** Asks for authorization as often as an honest user would go along. */
const MAX_AUTHORIZATIONS = 1

const { fresh, user, end } = await openTransport(url, scenario.startsWith('auth/') ? agreeing() : undefined, scenario)
const client = new Client(
  { name: 'conformance-client', version: '1.0.0' },
  { capabilities: { sampling: {}, elicitation: { form: { applyDefaults: true } }, roots: { listChanged: true } }, versionNegotiation: { mode: revision === '2026-07-28' ? { pin: revision } : 'legacy' } },
)
client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: scenario === 'sep-2322-client-request-state' ? { confirmed: true } : {} }))
client.setRequestHandler('sampling/createMessage', () => ({ role: 'assistant', content: { type: 'text', text: 'Paris' }, model: 'none', stopReason: 'endTurn' }))
client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///test/root', name: 'root' }] }))

let transport = fresh()
let failure: unknown
try {
  await authorized(() => client.connect(transport))
  await play()
} catch (error) {
  failure = error
}
await client.close().catch(() => undefined)
await end()
if (failure !== undefined) process.stderr.write(`${scenario}: ${failure instanceof Error ? (failure.stack ?? failure.message) : String(failure)}\n`)
process.exit(failure === undefined ? 0 : 1)

/** What this client was registered as beforehand, where the scenario says so. */
function agreeing(): AgreeingUser {
  const { client_id, client_secret, issuer } = context
  return typeof client_id === 'string' && typeof issuer === 'string' ? new AgreeingUser({ issuer, information: { client_id, ...(typeof client_secret === 'string' ? { client_secret } : {}) } as never }) : new AgreeingUser()
}

async function authorized<T>(step: () => Promise<T>): Promise<T> {
  for (let i = 0; ; i++) {
    try {
      return await step()
    } catch (error) {
      if (user === undefined || i >= MAX_AUTHORIZATIONS || !(transport instanceof StreamableHTTPClientTransport) || !(await user.finish(transport))) throw error
      if (client.transport === undefined) transport = fresh() // one that was started once is not started again
    }
  }
}

async function play(): Promise<void> {
  const { tools } = await authorized(() => client.listTools())
  const call = (name: string, args: Record<string, unknown> = {}): Promise<unknown> => authorized(() => client.callTool({ name, arguments: args }))
  switch (scenario) {
    case 'initialize':
    case 'request-metadata':
    case 'json-schema-ref-no-deref':
      return
    case 'tools_call':
      await call('add_numbers', { a: 5, b: 3 })
      return
    case 'elicitation-sep1034-client-defaults':
    case 'sse-retry':
      for (const { name } of tools) await call(name)
      return
    case 'sep-2322-client-request-state':
      for (const name of ['test_mrtr_echo_state', 'test_mrtr_unrelated', 'test_mrtr_no_state', 'test_mrtr_no_result_type']) await call(name)
      return
    case 'http-standard-headers': {
      for (const { name } of tools) await call(name)
      for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri })
      for (const { name } of (await client.listPrompts()).prompts) await client.getPrompt({ name })
      return
    }
    case 'http-custom-headers':
      for (const { name, arguments: args } of context['toolCalls'] as { name: string; arguments: Record<string, unknown> }[]) await call(name, args)
      return
    case 'http-invalid-tool-headers':
      for (const { name, inputSchema } of tools) await call(name, Object.fromEntries(Object.keys(inputSchema.properties ?? {}).map((key) => [key, 'x'])))
      return
    case 'json-schema-2020-12-preservation':
      await call('json_schema_echo', { schema: tools.find(({ name }) => name === 'json_schema_2020_12_tool')?.inputSchema })
      return
    default:
      for (const { name } of tools) await call(name)
  }
}
