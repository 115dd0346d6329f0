import { Denied } from '../denial.ts'
import type { Fields } from '../json/fields.ts'
import { present } from '../json/present.ts'
import type { Entry } from '../log/entry.ts'
import { isAtLeast, type Role, ROLES } from './role.ts'

/** Somebody may use the plane, as what, and since when no more. Names and credentials are in no leaf. @see spec/people.md */
export interface PersonEntry {
  readonly kind: 'key'
  readonly purpose: 'person'
  /** `credential`: a new password took the place of the old one. `removed` is for good. */
  readonly event: 'added' | 'role' | 'credential' | 'removed'
  /** An opaque id. */
  readonly person: string
  /** From here on; where added, and where it changes. */
  readonly role?: Role
  /** Who says who it is: this plane, or an issuer; where added. */
  readonly login?: 'local' | 'oidc'
  /** The person who did it, or the issuer whose word it was; an opaque id. */
  readonly by: string
}

/** A person as the log says now; `role` is undefined once removed. */
export interface PersonStanding {
  readonly role: Role | undefined
  readonly login: 'local' | 'oidc'
  /** Leaf index of the newest entry about this person. */
  readonly seq: number
}

export function readPerson(fields: Fields): PersonEntry {
  const event = fields.oneOf<PersonEntry['event']>('event', ['added', 'role', 'credential', 'removed'])
  const entry = present<PersonEntry>({
    kind: 'key',
    purpose: fields.literal('purpose', 'person'),
    event,
    person: fields.text('person', 128),
    role: fields.optional('role', (name) => fields.oneOf(name, ROLES)),
    login: fields.optional('login', (name) => fields.oneOf<NonNullable<PersonEntry['login']>>(name, ['local', 'oidc'])),
    by: fields.text('by', 128),
  })
  if ((event === 'added' || event === 'role') !== (entry.role !== undefined) || (event === 'added') !== (entry.login !== undefined)) throw new Denied('artifact_malformed', 'person: event and members disagree')
  return entry
}

/** What `entry` makes of the person. @throws {Denied} `identity_unknown` where it does not fit what is known: an id is one person's for ever */
export function withPerson(known: PersonStanding | undefined, { event, role, login, seq }: PersonEntry & { readonly seq: number }): PersonStanding {
  if (event === 'added') {
    if (known !== undefined) throw new Denied('identity_unknown', 'a person is added once')
    return { role, login: login as PersonStanding['login'], seq }
  }
  if (known?.role === undefined) throw new Denied('identity_unknown', 'no such person, or no longer')
  if (event === 'credential' && known.login !== 'local') throw new Denied('identity_unknown', 'this person has no password here')
  return { ...known, role: event === 'role' ? role : event === 'removed' ? undefined : known.role, seq }
}

/** What whoever is named in `by` needs, where that is a person of this log. */
const NEEDED: Partial<Readonly<Record<Entry['kind'], Role>>> = { revocation: 'operator', kill: 'operator', erasure: 'admin', agent: 'admin', policy: 'admin', key: 'admin', tool: 'admin', assessment: 'operator' }

/**
 * Whoever did it had the role for it then, at this very place in the log.
 * @param known what is known of `by`; undefined where that is no person of this log
 * @throws {Denied} `identity_unknown`
 */
export function verifyActor(entry: Entry, known: PersonStanding | undefined): void {
  const needed = NEEDED[entry.kind]
  if (known === undefined || needed === undefined) return
  const isOwnCredential = entry.kind === 'key' && entry.purpose === 'person' && entry.event === 'credential' && entry.by === entry.person
  if (known.role === undefined || !isAtLeast(known.role, isOwnCredential ? 'viewer' : needed)) throw new Denied('identity_unknown', 'whoever did it had not the role for it')
}

/** Who did it, where the entry says so. */
export function actorOf(entry: Entry): string | undefined {
  return 'by' in entry ? entry.by : undefined
}
