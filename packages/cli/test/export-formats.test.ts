import * as fs from 'node:fs'
import * as path from 'node:path'
import { approvalInput, attachSignature, canonicalText, ENTRY_KINDS, type Entry, isObject, type JsonObject, type JsonValue, parseEntry, parseStrict, parseStrictText, utf8 } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toCloudEvent } from '../src/export/cloudevents.ts'
import { exportLine, FORMATS } from '../src/export/line.ts'
import { toOcsf } from '../src/export/ocsf.ts'
import { CHALLENGE, ENV_COMMIT, GATE_KEY, JTI, LOG_KEY, NOW, permitBody, receiptClaims, receiptToken, SESSION } from '../../protocol/test/support/fixture.ts'

const ORIGIN = LOG_KEY.name
const VECTORS = path.resolve(import.meta.dirname, '../../../spec/vectors/export.json')
const digest = (digit: string): string => `sha256:${digit.repeat(64)}`
const ended = (outcome: string, change: JsonObject = {}): object => {
  const { started, ...claims } = { ...receiptClaims(), outcome, ...change } as JsonObject
  return { kind: 'receipt', jti: JTI, receipt: receiptToken((outcome === 'not_started' ? claims : { ...claims, started }) as JsonObject) }
}
const asked = permitBody()
const question = { scope: asked.scope, action_commit: asked.action_commit, sub: asked.sub, act: asked.act, aud: asked.aud, challenge: CHALLENGE, policy: asked.policy }
const denialToken = receiptToken({ gate: GATE_KEY.kid, tenant: 'default', session: SESSION, sequence: 0, time: NOW * 1_000, code: 'method_unknown' }, 'execution-denial+jwt')
const approvalToken = attachSignature(approvalInput({ tenant: 'default', person: 'person:1', hold: SESSION, index: 3, leaf_hash: digest('f'), action_commit: asked.action_commit, aud: asked.aud, sub: asked.sub, decision: 'approved', iat: NOW }, GATE_KEY.kid), new Uint8Array(64))

/** One of everything that stands in a log. */
const BODIES: Readonly<Record<string, object>> = {
  'permit of a tool call': permitBody(),
  'permit of a read': permitBody({ scope: { type: 'mcp.resource_read', name: 'resources/read', target: 'mcp://fs' } }),
  'deny by the plane': { kind: 'deny', code: 'policy_denied', ...question },
  'deny that hints at tampering': { kind: 'deny', code: 'environment_mismatch', ...question },
  'deny by a gate': { kind: 'deny', code: 'method_unknown', aud: GATE_KEY.kid, denial: denialToken },
  'deny of which nothing is known': { kind: 'deny', code: 'state_diverged' },
  hold: { kind: 'hold', hold: SESSION, ...question },
  'hold that says who has to approve it': { kind: 'hold', hold: SESSION, ...question, approval: { groups: ['secops'], quorum: 2, expires: NOW + 600 }, risk: 'high' },
  approval: { kind: 'approval', hold: SESSION, event: 'approved', person: 'person:1', signature: approvalToken },
  'expiry of a hold': { kind: 'approval', hold: SESSION, event: 'expired' },
  'receipt completed': ended('completed'),
  'receipt failed': ended('failed', { cause: 'tool_error' }),
  'receipt terminated': ended('terminated', { cause: 'lease_expired' }),
  'receipt not_started': ended('not_started', { cause: 'environment_mismatch' }),
  'receipt indeterminate': ended('indeterminate'),
  'late receipt': { ...ended('completed'), resolves: 3 },
  'receipt that cannot be read': { kind: 'receipt', jti: JTI, receipt: 'not.a.token' },
  'expiry expired': { kind: 'expiry', jti: JTI, leaf_hash: digest('f'), outcome: 'expired' },
  'expiry indeterminate': { kind: 'expiry', jti: JTI, leaf_hash: digest('f'), outcome: 'indeterminate' },
  policy: { kind: 'policy', digest: digest('b'), epoch: 3, policies: ['fs/read', 'fs/write'] },
  key: { kind: 'key', purpose: 'log', event: 'created', key: 'plane.test/default+7ada1a76+AZsfhHkc/HZjBFhU04netcqVRJ2HXydqg4QLBgqznPxx' },
  'approver added': { kind: 'key', purpose: 'approver', event: 'added', person: 'person:1', groups: ['secops'], key: 'A'.repeat(43), name_commit: digest('1') },
  'approver removed': { kind: 'key', purpose: 'approver', event: 'removed', person: 'person:1' },
  'person added': { kind: 'key', purpose: 'person', event: 'added', person: 'person:2', role: 'operator', login: 'local', by: 'user:1' },
  'person with another role': { kind: 'key', purpose: 'person', event: 'role', person: 'person:2', role: 'admin', by: 'user:1' },
  'person removed': { kind: 'key', purpose: 'person', event: 'removed', person: 'person:2', by: 'user:1' },
  'gate enrolled': { kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: 'A'.repeat(43) },
  'gate session': { kind: 'gate', gate: GATE_KEY.kid, event: 'session', session: SESSION, env: { commit: ENV_COMMIT, level: 'software' } },
  'gate denials lost': { kind: 'gate', gate: GATE_KEY.kid, event: 'denials_lost', count: 12 },
  'erasure by request': { kind: 'erasure', ranges: [{ from: 3, to: 4 }, { from: 7, to: 19 }], cause: 'request', by: 'user:1' },
  'erasure by retention': { kind: 'erasure', ranges: [{ from: 0, to: 2 }], cause: 'retention' },
  'permit under a permit of another plane': permitBody({ jti: SESSION, depth: 1, above: [`artifact:${JTI}`], cnf: GATE_KEY.kid, par: { jti: JTI, leaf_hash: digest('f'), foreign: { iss: 'other.test/default', size: 7, root: digest('1'), commit: digest('2') } } }),
  voucher: { kind: 'voucher', person: 'person:1', key: 'A'.repeat(43), groups: ['secops'], aud: 'other.test/default', exp: NOW + 300 },
  tool: { kind: 'tool', target: 'mcp://fs', name: 'read_file', digest: digest('a') },
  'gate session that rests on a signed statement': { kind: 'gate', gate: GATE_KEY.kid, event: 'session', session: SESSION, env: { commit: ENV_COMMIT, level: 'signed' }, attestation_commit: digest('8'), expires: NOW + 900 },
  'permit that is only observed': { ...permitBody({ assurance: 'A1' }), observed: 'policy_denied' },
  'policy that is only observed': { kind: 'policy', digest: digest('b'), epoch: 3, policies: [], event: 'observing' },
  'policy that is enforced again': { kind: 'policy', digest: digest('b'), epoch: 3, policies: [], event: 'enforcing' },
  'tool pinned': { kind: 'tool', event: 'pinned', target: 'mcp://fs', name: 'read_file', digest: digest('b'), previous: digest('a'), by: 'user:1' },
  'tool unpinned': { kind: 'tool', event: 'unpinned', target: 'mcp://fs', name: 'read_file', digest: digest('b'), by: 'user:1' },
  'hold that says what it is for': { kind: 'hold', hold: SESSION, ...question, intent: 'invoice-review', purpose_commit: digest('9') },
  assessment: { kind: 'assessment', model: 'maturity/1', size: 3, root: `sha256:${'a'.repeat(64)}`, at: NOW * 1_000, level: 1, dimensions: { runtime_governance: 1 }, measures: { entries: 3_000_000 }, by: 'user:1' },
}
const ENTRIES: readonly (readonly [string, Entry])[] = Object.entries(BODIES).map(([name, body], seq) => [name, parseEntry(canonicalText({ v: 1, seq, time: NOW * 1_000 + seq, tenant: 'default', ...body } as JsonObject))])

interface Vector {
  readonly name: string
  readonly entry: JsonObject
  readonly cloudevent: JsonObject
  readonly ocsf: JsonObject
}
function vectors(): readonly Vector[] {
  if (process.env['SEALWRIT_UPDATE'] === '1') {
    const made = ENTRIES.map(([name, entry]) => ({ name, entry, cloudevent: toCloudEvent(entry, ORIGIN), ocsf: toOcsf(entry, ORIGIN) }))
    fs.writeFileSync(VECTORS, `${JSON.stringify({ about: 'Made from fixed keys by packages/cli/test/export-formats.test.ts. Apache-2.0.', origin: ORIGIN, vectors: made }, null, 1)}\n`)
  }
  return (JSON.parse(fs.readFileSync(VECTORS, 'utf8')) as { vectors: Vector[] }).vectors
}

/** Reads a line back as a stranger would, and as strictly as we do. */
const back = (line: string): JsonObject => {
  const value = parseStrict(utf8(line))
  if (!isObject(value)) throw new Error('not an object')
  return value
}
/** Every place where some reader ends a line (Unicode: mandatory breaks; Python's `str.splitlines`). */
const LINE_ENDS = /[\n\v\f\r\u001c-\u001e\u0085\u2028\u2029]/ // oxlint-disable-line no-control-regex -- what it looks for

describe('vectors of the export (SEALWRIT_UPDATE=1 writes them)', () => {
  const known = vectors()
  it('cover every kind that a log holds', () => {
    const read = ENTRY_KINDS.filter((kind) => ENTRIES.some(([, entry]) => entry.kind === kind))
    expect(read).toEqual(['permit', 'deny', 'hold', 'receipt', 'expiry', 'approval', 'policy', 'key', 'gate', 'tool', 'erasure', 'assessment', 'voucher'])
    expect(known.map(({ name }) => name)).toEqual(ENTRIES.map(([name]) => name))
  })
  it.each(ENTRIES)('%s', (name, entry) => {
    const { cloudevent, ocsf, entry: leaf } = known.find((vector) => vector.name === name) as Vector
    expect(back(exportLine(entry, 'jsonl', ORIGIN))).toEqual(leaf)
    expect(back(exportLine(entry, 'cloudevents', ORIGIN))).toEqual(cloudevent)
    expect(back(exportLine(entry, 'ocsf', ORIGIN))).toEqual(ocsf)
  })
})

it('the literal examples of spec/export.md are vectors', () => {
  const page = fs.readFileSync(path.resolve(VECTORS, '../../export.md'), 'utf8')
  const examples = [...page.matchAll(/```json\n([\s\S]*?)```/g)].map(([, text]) => parseStrictText(text as string))
  const { cloudevent, ocsf } = vectors().find(({ name }) => name === 'deny by the plane') as Vector
  expect(examples).toEqual([cloudevent, ocsf])
})

describe('CloudEvents', () => {
  it.each(ENTRIES)('%s carries every required attribute and no name that the format forbids', (_name, entry) => {
    const event = back(exportLine(entry, 'cloudevents', ORIGIN))
    // cloudevents/spec.md, "REQUIRED Attributes": non-empty strings; source is a URI-reference, time RFC 3339.
    for (const name of ['id', 'source', 'specversion', 'type']) expect(event[name], name).toMatch(/.+/)
    expect(event['specversion']).toBe('1.0')
    expect(new URL(event['source'] as string).protocol).toBe('urn:')
    expect(event['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    // "Naming Conventions": lower-case letters and digits only.
    for (const name of Object.keys(event)) expect(name).toMatch(/^[a-z0-9]+$/)
    expect(utf8(JSON.stringify(event)).length).toBeLessThan(65_536) // "Size Limits": forwarded by every intermediary
  })
  it('data is the entry with the claims of its token beside the token', () => {
    for (const [name, entry] of ENTRIES) {
      const { claims, ...data } = back(exportLine(entry, 'cloudevents', ORIGIN))['data'] as JsonObject
      expect(canonicalText(data), name).toBe(canonicalText(entry as unknown as JsonValue))
      const isSigned = /^(receipt (completed|failed|terminated|not_started|indeterminate)|late receipt|deny by a gate|approval)$/.test(name)
      expect(isObject(claims), name).toBe(isSigned)
    }
  })
  it('id and source are the same whenever an entry is exported, and differ between any two', () => {
    const ids = ENTRIES.map(([, entry]) => toCloudEvent(entry, ORIGIN).id)
    expect(new Set(ids).size).toBe(ENTRIES.length)
    expect(ENTRIES.map(([, entry]) => toCloudEvent(entry, ORIGIN).id)).toEqual(ids)
  })
})

/**
 * Attributes that the schema marks `required`, by class, and objects' `at_least_one`.
 * @see ocsf-schema: events/base_event.json, events/application/api_activity.json, events/application/application_lifecycle.json,
 *   events/iam/entity_management.json, objects/metadata.json, objects/api.json, objects/actor.json, objects/network_endpoint.json,
 *   objects/managed_entity.json, objects/product.json
 */
const BASE = ['activity_id', 'category_uid', 'class_uid', 'metadata', 'severity_id', 'time', 'type_uid']
const REQUIRED: Readonly<Record<number, { readonly attributes: readonly string[]; readonly activities: readonly number[]; readonly category: number }>> = {
  6003: { attributes: [...BASE, 'actor', 'api', 'src_endpoint'], activities: [0, 1, 2, 3, 4, 99], category: 6 },
  6002: { attributes: [...BASE, 'app'], activities: [0, 1, 2, 3, 4, 5, 6, 7, 8, 99], category: 6 },
  3004: { attributes: [...BASE, 'entity'], activities: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99], category: 3 },
}
const OBJECTS: Readonly<Record<string, { readonly all?: readonly string[]; readonly one?: readonly string[] }>> = {
  metadata: { all: ['product', 'version'] },
  api: { all: ['operation'] },
  actor: { one: ['process', 'user', 'invoked_by', 'session', 'app_name', 'app_uid'] },
  src_endpoint: { one: ['ip', 'uid', 'name', 'hostname', 'svc_name', 'instance_uid', 'interface_uid', 'interface_name'] },
  dst_endpoint: { one: ['ip', 'uid', 'name', 'hostname', 'svc_name', 'instance_uid', 'interface_uid', 'interface_name'] },
  entity: { one: ['name', 'uid', 'device', 'group', 'org', 'policy', 'user'] },
  app: { all: ['name', 'vendor_name'] },
}
/** Numbers with the captions of the dictionary; a sibling text must be the caption, unless the number is 99. */
const ENUMS: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  severity: { 0: 'Unknown', 1: 'Informational', 2: 'Low', 3: 'Medium', 4: 'High', 5: 'Critical', 6: 'Fatal' },
  status: { 0: 'Unknown', 1: 'Success', 2: 'Failure' },
  action: { 0: 'Unknown', 1: 'Allowed', 2: 'Denied', 3: 'Observed' },
  disposition: { 0: 'Unknown', 1: 'Allowed', 2: 'Blocked', 14: 'Delayed', 16: 'No Action', 17: 'Logged', 24: 'Access Revoked', 27: 'Error' },
}

describe('OCSF', () => {
  const reserved = { v: 1, seq: 90, time: NOW * 1_000, tenant: 'default', kind: 'kill' } as unknown as Entry
  it.each([...ENTRIES, ['a kind of a later version', reserved] as const])('%s is an object of its class', (_name, entry) => {
    const event = back(exportLine(entry, 'ocsf', ORIGIN))
    const uid = event['class_uid'] as number
    const { attributes, activities, category } = REQUIRED[uid] as (typeof REQUIRED)[number]
    for (const name of attributes) expect(event, name).toHaveProperty(name)
    expect(activities).toContain(event['activity_id'])
    expect(event['category_uid']).toBe(category)
    expect(event['type_uid']).toBe(uid * 100 + (event['activity_id'] as number))
    expect(Number.isSafeInteger(event['time'])).toBe(true)
    for (const [name, { all = [], one }] of Object.entries(OBJECTS)) {
      const object = event[name] as JsonObject | undefined
      if (object === undefined) continue
      for (const member of all) expect(object, `${name}.${member}`).toHaveProperty(member)
      if (one !== undefined) expect(one.filter((member) => member in object), name).not.toEqual([])
    }
    for (const [name, captions] of Object.entries(ENUMS)) {
      const number = event[`${name}_id`]
      if (number === undefined || number === 99) continue
      expect(Object.keys(captions).map(Number), `${name}_id`).toContain(number)
      expect(event[name]).toBe(captions[number as number])
    }
    const { profiles } = event['metadata'] as { profiles: string[] }
    expect(profiles.includes('security_control')).toBe('action_id' in event)
  })
  it('raw_data is the leaf itself, so that its hash can be looked for in the tree', () => {
    for (const [, entry] of ENTRIES) expect(parseEntry(back(exportLine(entry, 'ocsf', ORIGIN))['raw_data'] as string)).toEqual(entry)
  })
  it('permit and receipt of one execution share their correlation', () => {
    const of = (name: string): unknown => (toOcsf(ENTRIES.find(([n]) => n === name)?.[1] as Entry, ORIGIN)['metadata'] as JsonObject)['correlation_uid']
    expect(of('permit of a tool call')).toBe(JTI)
    expect(of('receipt completed')).toBe(JTI)
    expect(of('expiry indeterminate')).toBe(JTI)
  })
})

describe('ATK-117: one event is one line', () => {
  const nasty = 'a\r\nb\u2028c\u2029d\u0085e\u001cf\u0000g\u001b[2Jh","seq":9}\n{"kind":"permit"}\u202ei\u{e0001}j\u007fk'
  it.each(FORMATS)('%s: no character of a name ends a line, opens a member or hides on a terminal', (format) => {
    const entry = parseEntry(canonicalText({ v: 1, seq: 7, time: NOW * 1_000, tenant: 'default', kind: 'deny', code: 'policy_denied', ...question, scope: { type: 'mcp.tool_call', name: nasty, target: nasty } } as unknown as JsonObject))
    const line = exportLine(entry, format, ORIGIN)
    expect(line).not.toMatch(LINE_ENDS)
    expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
    const event = back(line)
    const leaf = format === 'jsonl' ? event : format === 'ocsf' ? (parseStrictText(event['raw_data'] as string) as JsonObject) : (event['data'] as JsonObject)
    expect((leaf['scope'] as JsonObject)['name']).toBe(nasty)
    expect(leaf['seq']).toBe(7)
  })
  it('whatever stands in a name, lines = events and every value comes back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), fc.constantFrom(...FORMATS), (name, format) => {
        const entry = { v: 1, seq: 1, time: 1, tenant: 'default', kind: 'tool', target: 'mcp://x', name, digest: digest('a') } as Entry
        const line = exportLine(entry, format, ORIGIN)
        if (LINE_ENDS.test(line)) return false
        const event = back(line)
        const places = { jsonl: event, cloudevents: event['data'], ocsf: event['entity'] } as Record<string, JsonObject>
        return places[format]?.['name'] === name
      }),
      { numRuns: 1_000 },
    )
  })
  it('a line of jsonl is canonical again once it is read, whatever was escaped', () => {
    for (const [, entry] of ENTRIES) expect(parseEntry(canonicalText(back(exportLine(entry, 'jsonl', ORIGIN))))).toEqual(entry)
  })
})
