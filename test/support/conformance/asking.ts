// The tools and prompts of the fixture server that need something from the client before they answer. They are written once: in the
// current revision the question is the result, in the older one the SDK asks the client itself and comes back with the answer.
import { acceptedContent, type CallToolResult, createRequestStateCodec, type ElicitRequestFormParams, type GetPromptResult, inputRequired, type InputRequests, type InputRequiredResult, type ServerContext } from '@modelcontextprotocol/server'
import { says } from './contents.ts'

type Schema = ElicitRequestFormParams['requestedSchema']
type Answered = CallToolResult | InputRequiredResult

/** The key of this process is good enough: it serves every round. */
export const STATES = createRequestStateCodec<{ readonly round: number }>({ key: crypto.getRandomValues(new Uint8Array(32)) })

const form = (message: string, properties: Schema['properties'], required: string[] = []): InputRequests[string] =>
  inputRequired.elicit({ message, requestedSchema: { type: 'object', properties, ...(required.length > 0 ? { required } : {}) } })
const name = form('What is your name?', { name: { type: 'string' } }, ['name'])
const sample = (question: string, maxTokens = 100): InputRequests[string] =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: question } }], maxTokens })

const DEFAULTS: Schema['properties'] = {
  name: { type: 'string', description: 'name', default: 'John Doe' },
  age: { type: 'integer', description: 'age', default: 30 },
  score: { type: 'number', description: 'score', default: 95.5 },
  status: { type: 'string', description: 'status', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', description: 'verified', default: true },
}
const options = ['option1', 'option2', 'option3']
const titled = [1, 2, 3].map((n) => ({ const: `value${n}`, title: `Choice ${n}` }))
const CHOICES: Schema['properties'] = {
  untitledSingle: { type: 'string', enum: options },
  titledSingle: { type: 'string', oneOf: titled },
  legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
  untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
  titledMulti: { type: 'array', items: { anyOf: titled } },
}

/** What each tool asks for, before it says what it was told. */
const QUESTIONS: Readonly<Record<string, (args: Record<string, unknown>) => InputRequests>> = {
  test_sampling: ({ prompt }) => ({ sampled: sample(String(prompt)) }),
  test_elicitation: ({ message }) => ({ response: form(String(message), { username: { type: 'string', description: 'name' }, email: { type: 'string', description: 'address' } }, ['username', 'email']) }),
  test_elicitation_sep1034_defaults: () => ({ form: form('Look at the defaults', DEFAULTS) }),
  test_elicitation_sep1330_enums: () => ({ form: form('Choose', CHOICES) }),
  test_streaming_elicitation: () => ({ confirm: form('Go on?', { ok: { type: 'boolean' } }) }),
  test_input_required_result_elicitation: () => ({ user_name: name }),
  test_input_required_result_sampling: () => ({ capital_question: sample('What is the capital of France?') }),
  test_input_required_result_list_roots: () => ({ client_roots: inputRequired.listRoots() }),
  test_input_required_result_request_state: () => ({ confirm: form('Please confirm', { ok: { type: 'boolean' } }, ['ok']) }),
  test_input_required_result_tampered_state: () => ({ confirm: form('Please confirm', { ok: { type: 'boolean' } }, ['ok']) }),
  test_input_required_result_multiple_inputs: () => ({ user_name: name, greeting: sample('Generate a greeting', 50), client_roots: inputRequired.listRoots() }),
}
/** Tools whose question carries a state that they want back. */
const STATEFUL: ReadonlySet<string> = new Set(['test_input_required_result_request_state', 'test_input_required_result_tampered_state', 'test_input_required_result_multiple_inputs'])

const isTold = (value: unknown): boolean => typeof value === 'object' && value !== null

/** The answer of tool `called`, or what it needs first; undefined where it is no tool that asks. */
export async function askingTool(called: string, args: Record<string, unknown>, ctx: ServerContext, can: Readonly<Record<string, unknown>>): Promise<Answered | undefined> {
  const told = ctx.mcpReq.inputResponses ?? {}
  if (called === 'test_input_required_result_multi_round') return rounds(ctx)
  if (called === 'test_input_required_result_capabilities') {
    const requests = { ...('sampling' in can ? { sampled: sample('What can you do?') } : {}), ...('elicitation' in can ? { named: name } : {}), ...('roots' in can ? { client_roots: inputRequired.listRoots() } : {}) }
    return Object.keys(told).length > 0 || Object.keys(requests).length === 0 ? says('asked what the client can answer') : inputRequired({ inputRequests: requests })
  }
  const question = QUESTIONS[called]?.(args)
  if (question === undefined) return undefined
  if (called === 'test_streaming_elicitation') await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken: ctx.mcpReq._meta?.progressToken ?? 0, progress: 1 } })
  if (Object.keys(question).some((key) => !isTold(told[key]))) return inputRequired({ inputRequests: question, ...(STATEFUL.has(called) ? { requestState: await STATES.mint({ round: 1 }, ctx) } : {}) })
  if (STATEFUL.has(called) && ctx.mcpReq.requestState() === undefined) return { ...says('the state is missing'), isError: true }
  return says(`${STATEFUL.has(called) ? 'state-ok: ' : ''}was told ${JSON.stringify(told)}`)
}

async function rounds(ctx: ServerContext): Promise<Answered> {
  const state = ctx.mcpReq.requestState<{ readonly round: number }>()
  const step = async (round: number): Promise<InputRequiredResult> =>
    inputRequired({ inputRequests: { [`step${round}`]: round === 1 ? form('Step 1: what is your name?', { name: { type: 'string' } }, ['name']) : form('Step 2: what is your favourite colour?', { color: { type: 'string' } }, ['color']) }, requestState: await STATES.mint({ round }, ctx) })
  const told = ctx.mcpReq.inputResponses
  if (state?.round === 2 && acceptedContent(told, 'step2') !== undefined) return says('both steps done')
  return step(state?.round === 1 && acceptedContent(told, 'step1') !== undefined ? 2 : 1)
}

/** The prompt that asks; undefined where it is no prompt that does. */
export function askingPrompt(called: string, ctx: ServerContext): GetPromptResult | InputRequiredResult | undefined {
  if (called !== 'test_input_required_result_prompt') return undefined
  const content = acceptedContent(ctx.mcpReq.inputResponses, 'user_context')
  if (content === undefined) return inputRequired({ inputRequests: { user_context: form('What shall the prompt be about?', { context: { type: 'string' } }, ['context']) } })
  return { messages: [{ role: 'user', content: { type: 'text', text: `about ${JSON.stringify(content)}` } }] }
}
