import { canonicalize, canonicalText, commitment, digestOf, formatVerifierKey, type JsonObject, type JsonValue, leafDigest, leafHash, MAX_SEEN_DEFINITIONS, toBase64Url, utf8 } from '@sealwrit/protocol'
import { GATE, GATE_KEY, LOG_KEY, NOW, permitBody, sha256 } from '../../packages/protocol/test/support/fixture.ts'
import { type Draft, sealBundle } from './evidence.ts'
import type { KeyCase } from './key-cases.ts'

const token = (label: string): string => toBase64Url(sha256(utf8(`tools ${label}`)).subarray(0, 16))
const digest = (fill: string): string => `sha256:${fill.repeat(64)}`
const [OLD, NEW] = [digest('a'), digest('b')]
const BY = 'user:1'
const TOOL = { kind: 'tool', target: 'mcp://fs', name: 'read_file' }
const created = { kind: 'key', purpose: 'log', event: 'created', key: formatVerifierKey(LOG_KEY) }
const enrolled = { kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey) }
const [seen, changed] = [{ ...TOOL, digest: OLD }, { ...TOOL, digest: NEW }]
const pinned = { ...seen, event: 'pinned', by: BY }
const replaced = { ...changed, event: 'pinned', previous: OLD, by: BY }
const unpinned = { ...seen, event: 'unpinned', by: BY }

interface Bodied {
  readonly entry: object
  readonly bodies: Draft['bodies']
}
const isBodied = (one: object): one is Bodied => 'bodies' in one
const body = (purpose: Draft['bodies'][number]['purpose'], value: JsonValue, its = digestOf(canonicalize(value), sha256)): Draft['bodies'][number] => ({ purpose, salt: token(purpose), digest: its, commit: commitment(purpose, token(purpose), its, sha256), body: value })
/** A call of a tool, permitted; `bound` is the definition that its action names, where the bundle shows the action. */
function called(change: object = {}, bound?: string): Bodied {
  const scope = { type: 'mcp.tool_call' as const, target: 'mcp://fs', name: 'read_file' }
  const action = bound === undefined ? undefined : body('action', { ...scope, arguments: {}, tool_digest: bound })
  return { entry: permitBody({ jti: token('jti'), txn: token('jti'), challenge: token('c'), scope, ...(action === undefined ? {} : { action_commit: action.commit }), ...change }), bodies: action === undefined ? [] : [action] }
}
const carriedBody = (): object => {
  const { challenge: _, ...rest } = permitBody({ jti: token('carried'), txn: token('carried'), use: 'redeem' })
  return rest
}
function drafts(entries: readonly (object | Bodied)[]): Draft[] {
  return [created, enrolled, ...entries].map((one, seq) => {
    const { entry, bodies }: Bodied = isBodied(one) ? one : { entry: one, bodies: [] }
    return { text: canonicalText({ v: 1, seq, time: NOW * 1_000 + seq, tenant: 'default', ...entry } as JsonObject), bodies }
  })
}
/** A carried permit after `before`, spent after `between`. */
function spent(before: readonly object[], between: readonly object[]): readonly object[] {
  const permit = drafts([...before, carriedBody()]).at(-1) as Draft
  return [...before, carriedBody(), ...between, { kind: 'redemption', jti: token('carried'), leaf_hash: leafDigest(leafHash(utf8(permit.text), sha256)), aud: GATE_KEY.kid, challenge: token('spent'), exp: NOW + 60 }]
}
const definition = { name: 'read_file', description: 'reads \u202e a file' }
const kept = body('definition', definition)
const withDefinition = (change: object = {}, bodies: Draft['bodies'] = [kept]): Bodied => ({ entry: { ...TOOL, digest: kept.digest, definition_commit: kept.commit, ...change }, bodies })
const many = (count: number): readonly object[] => Array.from({ length: count }, (_, i) => ({ ...TOOL, digest: digestOf(utf8(String(i)), sha256) }))
const role = (name: string): object => ({ kind: 'key', purpose: 'person', event: 'added', person: 'person:p', role: name, login: 'local', by: BY })

const CASES: Readonly<Record<KeyCase['verdict'], Readonly<Record<string, readonly (object | Bodied)[]>>>> = {
  established: {
    'an older log, where a tool counted from its first use': [seen, called({}, OLD)],
    'an older log, whose tools somebody then pinned': [seen, called({}, OLD), pinned, called({ jti: token('2'), txn: token('2') }, OLD)],
    'a tool that is seen, pinned and called': [seen, pinned, called({}, OLD)],
    'a changed tool that is pinned anew, and called': [seen, pinned, changed, replaced, called({}, NEW)],
    'the old definition, seen again and pinned back': [seen, pinned, changed, replaced, seen, { ...pinned, previous: NEW }, called({}, OLD)],
    'a pin that is taken away and given again': [seen, pinned, unpinned, pinned, called({}, OLD)],
    'a definition that is kept': [withDefinition(), { ...TOOL, digest: kept.digest, event: 'pinned', by: BY }],
    'a pin by an admin': [role('admin'), seen, { ...pinned, by: 'person:p' }],
    'as many definitions as may wait, and one of them again': [...many(MAX_SEEN_DEFINITIONS), ...many(1)],
    'a carried permit whose tool is pinned as it was': spent([seen, pinned], []),
    'a call that another plane takes, of a tool that is not pinned here': [seen, pinned, called({ aud: 'other.test/default', scope: { type: 'mcp.tool_call', target: 'mcp://there', name: 'x' } })],
    'a resource that is read': [seen, pinned, called({ scope: { type: 'mcp.resource_read', target: 'mcp://fs', name: 'resources/read' } })],
  },
  contradicted: {
    'a pin of a definition that nobody saw': [seen, { ...pinned, digest: NEW }],
    'a pin of a tool that nobody saw': [pinned],
    'a pin of what is pinned': [seen, pinned, pinned],
    'a pin that replaces itself': [seen, pinned, { ...pinned, previous: OLD }],
    'a pin that does not say what it replaces': [seen, pinned, changed, { ...changed, event: 'pinned', by: BY }],
    'a pin that replaces what was not pinned': [seen, changed, replaced],
    'a pin of what was seen before the pin changed': [seen, pinned, changed, replaced, { ...pinned, previous: NEW }],
    'a pin that is taken from another definition': [seen, pinned, changed, { ...unpinned, digest: NEW }],
    'a pin that is taken away twice': [seen, pinned, unpinned, unpinned],
    'a pin that is taken from what was only seen': [seen, unpinned],
    'a pin by an operator': [role('operator'), seen, { ...pinned, by: 'person:p' }],
    'a pin that an operator takes away': [role('operator'), seen, pinned, { ...unpinned, by: 'person:p' }],
    'one definition more than may wait': many(MAX_SEEN_DEFINITIONS + 1),
    'a call of a tool that was only seen, where pins are kept': [seen, pinned, { ...TOOL, name: 'other', digest: OLD }, called({ scope: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'other' } })],
    'a call of a tool of another server': [seen, pinned, called({ scope: { type: 'mcp.tool_call', target: 'mcp://other', name: 'read_file' } })],
    'a call after the pin was taken away': [seen, pinned, unpinned, called({}, OLD)],
    'a call of a changed definition': [seen, pinned, changed, called({}, NEW)],
    'a call of the definition that was pinned before': [seen, pinned, changed, replaced, called({}, OLD)],
    'a carried permit, spent after the pin was taken away': spent([seen, pinned], [unpinned]),
    'a carried permit, spent after another definition was pinned': spent([seen, pinned], [changed, replaced]),
    'a carried permit of an older log, spent where the tool is not pinned': spent([seen], [{ ...TOOL, name: 'other', digest: OLD }, { ...TOOL, name: 'other', digest: OLD, event: 'pinned', by: BY }]),
    'a definition of another digest': [withDefinition({ digest: OLD })],
    'a definition that the entry does not commit to': [{ entry: { ...TOOL, digest: kept.digest }, bodies: [kept] }],
    'a pin by nobody': [seen, { ...seen, event: 'pinned' }],
    'a pin with a definition': [seen, { ...pinned, definition_commit: OLD }],
    'a seen tool with a previous definition': [{ ...seen, previous: NEW }],
    'a seen tool that somebody saw': [{ ...seen, by: BY }],
    'a pin taken away that says what it replaces': [seen, pinned, { ...unpinned, previous: NEW }],
    'an event that there is not': [seen, { ...pinned, event: 'approved' }],
    'a pin with a name of its own': [seen, { ...pinned, label: 'x' }],
  },
}

/** What pins of tools may establish. @see spec/entries.md#tools */
export function* toolCases(): Generator<KeyCase> {
  for (const verdict of ['established', 'contradicted'] as const) {
    for (const [title, entries] of Object.entries(CASES[verdict])) yield { title, bundle: sealBundle(drafts(entries)), key: LOG_KEY, verdict }
  }
}
