import { canonicalText, commitment, concatBytes, Denied, digestOf, Fields, fromBase64Url, isGroup, isStrictEd25519, type JsonValue, MAX_GROUPS, MAX_PERSON_KEYS, parseStrictText, present, signingKey, toBase64Url, TOKEN_BYTES, utf8, type ApproverEntry } from '@sealwrit/protocol'
import type { KnownPerson } from '../log/approvals.ts'
import type { Sequencer } from '../log/sequencer.ts'
import { type Page, pageOf, type Paged } from '../page.ts'
import type { PlanePorts } from '../ports.ts'

/** Persons who may ever have been registered, and changes to one of them. */
export const MAX_APPROVERS = 10_000
export const MAX_PERSON_CHANGES = 256
const MAX_PERSON_NAME = 128

export interface ListedApprover {
  readonly person: string
  /** Undefined where it was erased. */
  readonly name?: string
  readonly groups: readonly string[]
  /** Thumbprints of the keys. */
  readonly keys: readonly string[]
  readonly sub?: string
}

export interface ApproverRequest {
  readonly name: string
  readonly groups: readonly string[]
  readonly key: string
  readonly sub?: string
}

/** @throws {Denied} `request_malformed`, `encoding_invalid` */
export function parseApproverRequest(value: JsonValue): ApproverRequest {
  const fields = new Fields(value, 'request_malformed', 'approvers.add')
  const request = present<ApproverRequest>({
    name: fields.text('name', MAX_PERSON_NAME),
    groups: fields.strings('groups', MAX_GROUPS),
    key: fields.text('key', 43),
    sub: fields.optional('sub', (name) => fields.text(name)),
  })
  fields.end()
  if (request.groups.length === 0 || !request.groups.every(isGroup) || new Set(request.groups).size !== request.groups.length) throw new Denied('request_malformed', 'groups: lower-case names, each once')
  const key = fromBase64Url(request.key)
  if (key.length !== 32 || !isStrictEd25519(key, concatBytes(key, new Uint8Array(32)))) throw new Denied('encoding_invalid', 'approver key')
  return request
}

/**
 * Registers a person, or gives a registered one of that name another key and these groups. One key is one person, and one
 * principal is one person: whoever counts twice would make a quorum alone (ATK-109).
 * @param by who does it
 * @returns the person's id
 * @throws {Denied} `subject_mismatch` for a key or principal of somebody else, `limit_exceeded`, `overloaded`
 */
export async function addApprover({ name, groups, key, sub }: ApproverRequest, by: string, log: Sequencer, ports: PlanePorts): Promise<{ person: string; seq: number }> {
  const { crypto, rng } = ports
  const known = (await everybody(log, ports)).find((one) => one.name === name)
  const person = known?.person ?? `person:${toBase64Url(rng.bytes(TOKEN_BYTES))}`
  const text = canonicalText({ name })
  const [salt, digest] = [toBase64Url(rng.bytes(TOKEN_BYTES)), digestOf(utf8(text), crypto.sha256)]
  const commit = commitment('directory', salt, digest, crypto.sha256)
  const body = present<ApproverEntry>({ kind: 'key', purpose: 'approver', event: 'added', person, groups, key, sub, name_commit: commit, by })
  const { seq } = await log.submit(({ approvals: { persons } }) => {
    const now = persons.get(person)
    if (now === undefined && persons.size >= MAX_APPROVERS) throw new Denied('overloaded', 'too many approvers')
    if ((now?.seqs.length ?? 0) >= MAX_PERSON_CHANGES) throw new Denied('limit_exceeded', 'this person was changed too often; register anew')
    if (now !== undefined && !now.keys.includes(key) && now.keys.length >= MAX_PERSON_KEYS) throw new Denied('limit_exceeded', 'this person has too many keys')
    for (const other of persons.values()) {
      if (other.person === person) continue
      if (other.keys.includes(key)) throw new Denied('subject_mismatch', 'the key belongs to another person')
      if (sub !== undefined && other.keys.length > 0 && other.sub === sub) throw new Denied('subject_mismatch', 'the principal is another person already')
    }
    return { body, bodies: [{ purpose: 'directory', commit, salt, digest, text }] }
  })
  return { person, seq }
}

/** Removes a person, or one key of them. @param who the name or the id @throws {Denied} `identity_unknown` */
export async function removeApprover(who: string, key: string | undefined, by: string, log: Sequencer, ports: PlanePorts): Promise<{ person: string; seq: number }> {
  const found = (await everybody(log, ports)).find(({ person, name }) => person === who || name === who)
  if (found === undefined) throw new Denied('identity_unknown', 'no such approver')
  const { person } = found
  const { seq } = await log.submit(({ approvals: { persons } }) => {
    const keys = persons.get(person)?.keys ?? []
    if (keys.length === 0 || (key !== undefined && !keys.includes(key))) throw new Denied('identity_unknown', 'no such approver or key')
    return { body: present<ApproverEntry>({ kind: 'key', purpose: 'approver', event: 'removed', person, key, by }), bodies: [] }
  })
  return { person, seq }
}

/** Everybody who may approve something now, in the order in which they were registered. */
export async function listApprovers(asked: Page, log: Sequencer, ports: PlanePorts): Promise<Paged<'approvers', ListedApprover>> {
  await log.latest()
  const able = [...log.state.approvals.persons.values()].filter(({ keys }) => keys.length > 0)
  const { page, ...rest } = pageOf(able, ({ seqs }) => seqs[0] ?? 0, asked)
  return { approvers: await listed(page, ports), ...rest }
}

/** All of them at once: for who is looked up by name. */
export async function everybody(log: Sequencer, ports: PlanePorts): Promise<readonly ListedApprover[]> {
  await log.latest()
  return listed([...log.state.approvals.persons.values()].filter(({ keys }) => keys.length > 0), ports)
}

async function listed(persons: readonly KnownPerson[], ports: PlanePorts): Promise<readonly ListedApprover[]> {
  const out: ListedApprover[] = []
  for (const known of persons) {
    const { person, groups, keys, sub } = known
    out.push(present<ListedApprover>({ person, name: await nameOf(known, ports), groups, keys: keys.map((key) => signingKey(fromBase64Url(key), ports.crypto.sha256).kid), sub }))
  }
  return out
}

/** A person's name, where it was not erased. */
export async function nameOf(known: KnownPerson | undefined, { store }: PlanePorts): Promise<string | undefined> {
  if (known?.nameSeq === undefined) return undefined
  const text = (await store.bodies(known.nameSeq)).find(({ purpose }) => purpose === 'directory')?.text
  return text === undefined ? undefined : new Fields(parseStrictText(text), 'evidence_unavailable', 'directory').text('name', MAX_PERSON_NAME)
}
