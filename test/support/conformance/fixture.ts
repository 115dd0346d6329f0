import { setTimeout as sleep } from 'node:timers/promises'
import { type CallToolResult, CLIENT_CAPABILITIES_META_KEY, type InputRequiredResult, MissingRequiredClientCapabilityError, ProtocolError, ProtocolErrorCode, ResourceNotFoundError, Server, type ServerContext } from '@modelcontextprotocol/server'
import { askingPrompt, askingTool, STATES } from './asking.ts'
import { ANSWERS, promptOf, PROMPTS, resourceAt, RESOURCES, says, TEMPLATES, TOOLS } from './contents.ts'

/** Tells who listens that a list is another one; without it the connection's own notifications do. */
export interface Changes {
  tools(): void
  prompts(): void
}

/** One instance of the server that the suite's scenarios are run against; it speaks both revisions. */
export function fixtureServer(changes?: Changes): Server {
  const listed = { listChanged: true }
  const server = new Server(
    { name: 'conformance-fixture', version: '1.0.0' },
    { capabilities: { tools: listed, resources: { ...listed, subscribe: true }, prompts: listed, completions: {}, logging: {} }, requestState: { verify: STATES.verify } },
  )
  server.setRequestHandler('tools/list', () => ({ tools: [...TOOLS] }))
  server.setRequestHandler('resources/list', () => ({ resources: RESOURCES }))
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: TEMPLATES }))
  server.setRequestHandler('prompts/list', () => ({ prompts: PROMPTS }))
  server.setRequestHandler('resources/read', ({ params: { uri } }) => resourceAt(uri) ?? fail(new ResourceNotFoundError(uri)))
  server.setRequestHandler('resources/subscribe', () => ({}))
  server.setRequestHandler('resources/unsubscribe', () => ({}))
  server.setRequestHandler('completion/complete', ({ params: { argument } }) => ({ completion: { values: ['paris', 'park', 'party'].filter((value) => value.startsWith(argument.value)), hasMore: false } }))
  server.setRequestHandler('prompts/get', ({ params }, ctx) => askingPrompt(params.name, ctx) ?? promptOf(params.name, params.arguments ?? {}) ?? fail(new ProtocolError(ProtocolErrorCode.InvalidParams, 'no such prompt')))
  server.setRequestHandler('tools/call', async ({ params }, ctx) => {
    const answer = ANSWERS[params.name] ?? (await doing(params.name, ctx)) ?? (await askingTool(params.name, params.arguments ?? {}, ctx, capabilities(ctx)))
    return answer ?? fail(new ProtocolError(ProtocolErrorCode.InvalidParams, 'no such tool'))
  })
  const capabilities = (ctx: ServerContext): Readonly<Record<string, unknown>> => (ctx.mcpReq.envelope as Readonly<Record<string, Record<string, unknown>>> | undefined)?.[CLIENT_CAPABILITIES_META_KEY] ?? server.getClientCapabilities() ?? {}

  /** The tools that do something beside answering. */
  async function doing(called: string, ctx: ServerContext): Promise<CallToolResult | InputRequiredResult | undefined> {
    switch (called) {
      case 'test_tool_with_logging':
        for (const step of ['started', 'at work', 'done']) {
          await ctx.mcpReq.log('info', step)
          await sleep(20)
        }
        return says('logged')
      case 'test_logging_tool':
        await ctx.mcpReq.log('info', 'only for who asked')
        return says('logged')
      case 'test_tool_with_progress': {
        const progressToken = ctx.mcpReq._meta?.progressToken
        for (const progress of [0, 50, 100]) {
          if (progressToken !== undefined) await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } })
          await sleep(20)
        }
        return says('done')
      }
      case 'test_reconnection':
        ctx.http?.closeSSE?.()
        await sleep(100)
        return says('here after all')
      case 'test_missing_capability':
        if (!('sampling' in capabilities(ctx))) throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { sampling: {} } })
        return says('ok')
      case 'test_trigger_tool_change':
        if (changes === undefined) await server.sendToolListChanged()
        else changes.tools()
        return says('changed')
      case 'test_trigger_prompt_change':
        if (changes === undefined) await server.sendPromptListChanged()
        else changes.prompts()
        return says('changed')
      default:
        return undefined
    }
  }
  return server
}

function fail(error: Error): never {
  throw error
}
