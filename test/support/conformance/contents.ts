// What the fixture server shows and answers, under the names that the scenarios of the official suite ask for.
import type { CallToolResult, GetPromptResult, ReadResourceResult, Tool } from '@modelcontextprotocol/server'

/** One red pixel, and a tenth of a second of silence. */
export const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC'
export const SILENCE = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA='

type Properties = Record<string, Record<string, string>>
const tool = (name: string, description: string, properties: Properties = {}, required: string[] = []): Tool => ({
  name, description, inputSchema: { type: 'object', properties, ...(required.length > 0 ? { required } : {}) },
})

/** Every keyword that the suite looks for again in what a client or server passes on. */
const SCHEMA_2020_12 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: { address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } } },
  properties: { name: { type: 'string' }, address: { $ref: '#/$defs/address' }, contactMethod: { type: 'string', enum: ['phone', 'email'] }, phone: { type: 'string' }, email: { type: 'string' } },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
} as const

/** The suite calls the first one without arguments. */
export const TOOLS: readonly Tool[] = [
  tool('test_simple_text', 'answers one text'),
  tool('test_image_content', 'answers an image'),
  tool('test_audio_content', 'answers a sound'),
  tool('test_embedded_resource', 'answers a resource'),
  tool('test_multiple_content_types', 'answers a text, an image and a resource'),
  tool('test_tool_with_logging', 'says what it does while it does it'),
  tool('test_tool_with_progress', 'says how far it is'),
  tool('test_error_handling', 'fails'),
  tool('test_reconnection', 'ends the stream of its answer before it answers'),
  tool('test_sampling', 'asks the client’s model', { prompt: { type: 'string' } }, ['prompt']),
  tool('test_elicitation', 'asks the client’s user', { message: { type: 'string' } }, ['message']),
  tool('test_elicitation_sep1034_defaults', 'asks with defaults'),
  tool('test_elicitation_sep1330_enums', 'asks for choices'),
  { name: 'json_schema_2020_12_tool', description: 'has a schema with every keyword', inputSchema: SCHEMA_2020_12 as unknown as Tool['inputSchema'] },
  tool('test_custom_header', 'has an argument that is mirrored into a header', { region: { type: 'string', 'x-mcp-header': 'Region' }, query: { type: 'string' } }, ['region']),
  tool('test_missing_capability', 'needs a client that has a model'),
  tool('test_streaming_elicitation', 'says how far it is, then asks'),
  tool('test_logging_tool', 'says something that only who asked for it may hear'),
  tool('test_trigger_tool_change', 'changes the list of tools'),
  tool('test_trigger_prompt_change', 'changes the list of prompts'),
  tool('test_input_required_result_elicitation', 'needs a name'),
  tool('test_input_required_result_sampling', 'needs an answer of a model'),
  tool('test_input_required_result_list_roots', 'needs roots'),
  tool('test_input_required_result_request_state', 'needs its own state back'),
  tool('test_input_required_result_multiple_inputs', 'needs three things at once'),
  tool('test_input_required_result_multi_round', 'needs two things, one after the other'),
  tool('test_input_required_result_tampered_state', 'takes no state but its own'),
  tool('test_input_required_result_capabilities', 'asks only for what the client can'),
]

const text = (value: string): { type: 'text'; text: string } => ({ type: 'text', text: value })
export const says = (value: string): CallToolResult => ({ content: [text(value)] })
const image = { type: 'image', data: PIXEL, mimeType: 'image/png' } as const

/** The answers that need nothing but the name. */
export const ANSWERS: Readonly<Record<string, CallToolResult>> = {
  test_simple_text: says('a simple text'),
  test_image_content: { content: [image] },
  test_audio_content: { content: [{ type: 'audio', data: SILENCE, mimeType: 'audio/wav' }] },
  test_embedded_resource: { content: [{ type: 'resource', resource: { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'an embedded resource' } }] },
  test_multiple_content_types: { content: [text('several kinds:'), image, { type: 'resource', resource: { uri: 'test://mixed-content-resource', mimeType: 'application/json', text: '{"test":"data","value":123}' } }] },
  test_error_handling: { ...says('it fails, as it shall'), isError: true },
  json_schema_2020_12_tool: says('ok'),
  test_custom_header: says('ok'),
}

export const RESOURCES = [
  { uri: 'test://static-text', name: 'static-text', description: 'a text', mimeType: 'text/plain' },
  { uri: 'test://static-binary', name: 'static-binary', description: 'an image', mimeType: 'image/png' },
  { uri: 'test://watched-resource', name: 'watched-resource', description: 'a text that may change', mimeType: 'text/plain' },
]
export const TEMPLATES = [{ uriTemplate: 'test://template/{id}/data', name: 'template', description: 'a document for an id', mimeType: 'application/json' }]

/** What stands at `uri`; undefined where there is nothing. */
export function resourceAt(uri: string): ReadResourceResult | undefined {
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1]
  if (id !== undefined) return { contents: [{ uri, mimeType: 'application/json', text: JSON.stringify({ id, data: `data of ${id}` }) }] }
  const known = RESOURCES.find((resource) => resource.uri === uri)
  if (known === undefined) return undefined
  return { contents: [{ uri, mimeType: known.mimeType, ...(known.mimeType === 'image/png' ? { blob: PIXEL } : { text: `the content of ${known.name}` }) }] }
}

export const PROMPTS = [
  { name: 'test_simple_prompt', description: 'a prompt' },
  { name: 'test_prompt_with_arguments', description: 'a prompt with two arguments', arguments: [{ name: 'arg1', description: 'first', required: true }, { name: 'arg2', description: 'second', required: true }] },
  { name: 'test_prompt_with_embedded_resource', description: 'a prompt with a resource in it', arguments: [{ name: 'resourceUri', description: 'which', required: true }] },
  { name: 'test_prompt_with_image', description: 'a prompt with an image in it' },
  { name: 'test_input_required_result_prompt', description: 'a prompt that needs to know more' },
]

/** The prompts that need nothing but their arguments; undefined where there is none of that name. */
export function promptOf(name: string, args: Readonly<Record<string, string>>): GetPromptResult | undefined {
  const user = (content: GetPromptResult['messages'][number]['content']): GetPromptResult['messages'][number] => ({ role: 'user', content })
  switch (name) {
    case 'test_simple_prompt':
      return { messages: [user(text('a simple prompt'))] }
    case 'test_prompt_with_arguments':
      return { messages: [user(text(`first ${args['arg1'] ?? ''}, second ${args['arg2'] ?? ''}`))] }
    case 'test_prompt_with_embedded_resource':
      return { messages: [user({ type: 'resource', resource: { uri: args['resourceUri'] ?? '', mimeType: 'text/plain', text: 'embedded' } }), user(text('Read the resource above.'))] }
    case 'test_prompt_with_image':
      return { messages: [user(image), user(text('Look at the image above.'))] }
    default:
      return undefined
  }
}
