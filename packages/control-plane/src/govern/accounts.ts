import { canonicalText, type Crypto, Denied, Fields, parseStrictText, type PersonEntry, type PersonStanding, present, type Role, subjectId, toBase64Url, TOKEN_BYTES, utf8, withPerson } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'
import { type Page, type Paged, pageOf } from '../page.ts'
import type { PlanePorts } from '../ports.ts'
import type { Names } from './registry.ts'
import { type Begun, Sessions } from './sessions.ts'

/** Persons who may ever have been added. */
export const MAX_PEOPLE = 10_000

/** Longest text that is taken for a password, in UTF-16 units: longer ones are no password. */
export const MAX_PASSWORD_TEXT = 1_024

/** How often it is looked what other planes of the log wrote while somebody is in, and how old that may be for a session to count, in milliseconds. */
export const FOLLOW_MS = 1_000
export const MAX_UNSEEN_MS = 10_000

/** How passwords are kept and compared. */
export interface PasswordCheck {
  hash(password: string): Promise<string>
  isRight(password: string, record: string | undefined): Promise<boolean>
}
/** How often they may be guessed. */
export interface AttemptCount {
  take(name: string): boolean
  forget(name: string): void
}
/** Names of people, apart from the log. */
export interface NameBook extends Names {
  remember(id: string, named: { readonly iss: string; readonly name: string }): Promise<void>
}

export interface ListedPerson {
  readonly person: string
  /** Undefined where it was erased. */
  readonly name?: string
  readonly role: Role
  readonly login: 'local' | 'oidc'
}

/** Who is in with a session: what the log says of them now. */
export interface SignedIn {
  readonly id: string
  readonly role: Role
}

const NAME = /^[a-z0-9][a-z0-9._@+-]{0,63}$/

/** Who may use this plane, and as what: accounts, their passwords, and their sessions. The log says the role; the store keeps the rest. */
export class Accounts {
  readonly #log: Sequencer
  readonly #ports: PlanePorts
  readonly #names: NameBook
  readonly #passwords: PasswordCheck
  readonly #attempts: AttemptCount
  readonly #sessions: Sessions
  /** When it was last known what the log says; monotonic. */
  #seenMs = Number.NEGATIVE_INFINITY
  #unfollow = (): void => undefined
  /** The change of accounts that is under way. */
  #changing: Promise<unknown> = Promise.resolve()

  constructor(log: Sequencer, ports: PlanePorts, parts: { readonly names: NameBook; readonly passwords: PasswordCheck; readonly attempts: AttemptCount }) {
    this.#log = log
    this.#ports = ports
    this.#names = parts.names
    this.#passwords = parts.passwords
    this.#attempts = parts.attempts
    this.#sessions = new Sessions(ports.clock, ports.rng, ports.crypto.sha256)
    if (ports.store.isShared) this.#follow()
  }

  /**
   * Adds a person with a local account. The account is written first: cut off before the entry, it is one of nobody.
   * @throws {Denied} `request_malformed` for a name or password that is none, or a name that is taken; `overloaded`
   */
  async add(person: { readonly name: string; readonly role: Role; readonly password: string }, by: string): Promise<{ person: string; seq: number }> {
    return this.#inTurn(() => this.#add(person, by))
  }

  async #add({ name, role, password }: { readonly name: string; readonly role: Role; readonly password: string }, by: string): Promise<{ person: string; seq: number }> {
    if (!NAME.test(name)) throw new Denied('request_malformed', 'a name is 1 to 64 lower-case letters, digits, or ._@+-')
    const hashed = await this.#passwords.hash(password)
    await this.#log.latest()
    if (this.#standing((await this.#account(name))?.person)?.role !== undefined) throw new Denied('request_malformed', 'a person of this name is there already')
    const person = `person:${toBase64Url(this.#ports.rng.bytes(TOKEN_BYTES))}`
    await this.#names.remember(person, { iss: this.#log.origin, name })
    await this.#keep(name, { person, password: hashed })
    return { person, seq: await this.#write({ event: 'added', person, role, login: 'local', by }) }
  }

  /** @param who the name or the id @throws {Denied} `identity_unknown`; `request_malformed` for a person whose role an issuer says */
  async changeRole(who: string, role: Role, by: string): Promise<{ person: string; seq: number }> {
    const { person, login } = await this.#find(who)
    if (login !== 'local') throw new Denied('request_malformed', 'the role of this person is said by their issuer')
    return { person, seq: await this.#write({ event: 'role', person, role, by }) }
  }

  /** Gives a person another password, and ends their sessions. @throws {Denied} `identity_unknown`, `request_malformed` */
  setPassword(who: string, password: string, by: string): Promise<{ person: string; seq: number }> {
    return this.#inTurn(() => this.#setPassword(who, password, by))
  }

  async #setPassword(who: string, password: string, by: string): Promise<{ person: string; seq: number }> {
    const { person, name, login } = await this.#find(who)
    const account = name === undefined ? undefined : await this.#account(name)
    if (login !== 'local' || name === undefined || account?.person !== person) throw new Denied('identity_unknown', 'this person has no password here')
    const hashed = await this.#passwords.hash(password)
    const seq = await this.#write({ event: 'credential', person, by }) // first: whoever was in is out before the new one counts
    await this.#keep(name, { person, password: hashed })
    this.#attempts.forget(name)
    return { person, seq }
  }

  /** A person's own change, who must know the password that it replaces. @throws {Denied} `identity_invalid` */
  async changeOwnPassword(id: string, current: string, password: string): Promise<{ person: string; seq: number }> {
    const { name } = await this.#find(id)
    if (name === undefined || (await this.#verified(name, current)) !== id) throw new Denied('identity_invalid')
    return this.setPassword(id, password, id)
  }

  /** Removes a person for good, with their sessions. @throws {Denied} `identity_unknown` */
  remove(who: string, by: string): Promise<{ person: string; seq: number }> {
    return this.#inTurn(() => this.#remove(who, by))
  }

  async #remove(who: string, by: string): Promise<{ person: string; seq: number }> {
    const { person, name, login } = await this.#find(who)
    const seq = await this.#write({ event: 'removed', person, by })
    if (login === 'local' && name !== undefined && (await this.#account(name))?.person === person) await this.#ports.store.putMeta(this.#key(name), '')
    return { person, seq }
  }

  /** Everybody who may use this plane now, but for its owner. */
  async list(asked: Page): Promise<Paged<'people', ListedPerson>> {
    await this.#log.latest()
    // In the order in which they were added: whoever is removed keeps their place.
    const all = [...this.#log.state.people].map(([person, standing], place) => ({ person, place, ...standing }))
    const { page, next } = pageOf(all.filter(({ role }) => role !== undefined), ({ place }) => place, asked)
    const people: ListedPerson[] = []
    for (const { person, role, login } of page) people.push(present<ListedPerson>({ person, name: await this.#nameOf(person), role, login }))
    return { people, ...(next === undefined ? {} : { next }) }
  }

  /** Verifies a name and its password, and begins a session. Unknown, wrong, removed and tried too often are one answer. @throws {Denied} `identity_invalid`, `overloaded` */
  async login(name: string, password: string): Promise<Begun & SignedIn> {
    return this.#begin(await this.#verified(name, password))
  }

  /**
   * Begins a session for somebody whose token an issuer signed; what the issuer says of the role is logged where it is new. Who was
   * removed here stays out.
   * @throws {Denied} `identity_invalid`, `overloaded`
   */
  async loginBy({ iss, sub, name, role }: { readonly iss: string; readonly sub: string; readonly name: string; readonly role: Role }): Promise<Begun & SignedIn> {
    const { sha256 } = this.#ports.crypto
    const person = subjectId('oidc', iss, sub, this.#log.origin, sha256)
    const by = `issuer:${toBase64Url(sha256(utf8(canonicalText({ iss, origin: this.#log.origin }))).subarray(0, 16))}`
    await this.#look()
    const known = this.#standing(person)
    if (known !== undefined && known.role === undefined) throw new Denied('identity_invalid', 'removed')
    await this.#names.remember(person, { iss, name })
    if (known === undefined) await this.#write({ event: 'added', person, role, login: 'oidc', by })
    else if (known.role !== role) await this.#write({ event: 'role', person, role, by })
    return this.#begin(person)
  }

  /** Who is in with this secret now, by what the log says now. @param isUse whether that keeps the session from lying idle */
  signedIn(secret: string, isUse: boolean): SignedIn | undefined {
    if (this.#ports.store.isShared && this.#ports.clock.monotonicMs() - this.#seenMs > MAX_UNSEEN_MS) return undefined // somebody may have been removed at another plane
    const session = isUse ? this.#sessions.use(secret) : this.#sessions.look(secret)
    const standing = this.#standing(session?.person)
    if (session === undefined || standing?.role === undefined) return undefined
    if (standing.seq === session.since) return { id: session.person, role: standing.role }
    this.#sessions.end(secret) // another role or password, or none
    return undefined
  }

  /** Whether the token is that of the session of `secret`. */
  isToken(secret: string, token: string): boolean {
    return this.#sessions.isToken(secret, token)
  }

  logout(secret: string): void {
    this.#sessions.end(secret)
  }

  /** One after the other: a name is looked up and taken in one go. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(run, run)
    this.#changing = done.catch(() => undefined)
    return done
  }

  close(): void {
    this.#unfollow()
  }

  #follow(): void {
    let isClosed = false
    const cancel = this.#ports.clock.after(FOLLOW_MS, () => {
      const look = this.#sessions.size === 0 ? Promise.resolve() : this.#look()
      void look.catch(() => undefined).finally(() => isClosed || this.#follow())
    })
    this.#unfollow = () => {
      isClosed = true
      cancel()
    }
  }

  /** What the log says now, where others write to it too. @throws {Denied} */
  async #look(): Promise<void> {
    const fromMs = this.#ports.clock.monotonicMs()
    await this.#log.latest()
    this.#seenMs = fromMs
  }

  #begin(person: string): Begun & SignedIn {
    const standing = this.#standing(person)
    if (standing?.role === undefined) throw new Denied('identity_invalid')
    return { ...this.#sessions.begin(person, standing.seq), id: person, role: standing.role }
  }

  /** @returns the person; who that is nobody learns before the password was hashed */
  async #verified(name: string, password: string): Promise<string> {
    if (!this.#attempts.take(name)) throw new Denied('identity_invalid', 'tried too often')
    const account = NAME.test(name) ? await this.#account(name) : undefined
    await this.#look()
    const isRight = await this.#passwords.isRight(password, account?.password)
    const standing = this.#standing(account?.person)
    if (!isRight || account === undefined || standing?.role === undefined || standing.login !== 'local') throw new Denied('identity_invalid')
    this.#attempts.forget(name)
    return account.person
  }

  #standing(person: string | undefined): PersonStanding | undefined {
    return person === undefined ? undefined : this.#log.state.people.get(person)
  }

  async #write(entry: Omit<PersonEntry, 'kind' | 'purpose'>): Promise<number> {
    const { seq } = await this.#log.submit(({ people }, at) => {
      if (entry.event === 'added' && people.size >= MAX_PEOPLE) throw new Denied('overloaded', 'too many people')
      const body: PersonEntry = { kind: 'key', purpose: 'person', ...entry }
      withPerson(people.get(entry.person), { ...body, seq: at })
      return { body, bodies: [] }
    })
    return seq
  }

  async #find(who: string): Promise<ListedPerson> {
    await this.#log.latest()
    for (const [person, { role, login }] of this.#log.state.people) {
      if (role === undefined) continue
      const name = await this.#nameOf(person)
      if (person === who || name === who) return present<ListedPerson>({ person, name, role, login })
    }
    throw new Denied('identity_unknown', 'no such person')
  }

  async #nameOf(person: string): Promise<string | undefined> {
    const text = await this.#names.find(person)
    if (text === undefined) return undefined
    const fields = new Fields(parseStrictText(text), 'evidence_unavailable', 'directory')
    return fields.text('name')
  }

  async #account(name: string): Promise<{ person: string; password: string } | undefined> {
    const text = await this.#ports.store.getMeta(this.#key(name))
    if (text === undefined || text === '') return undefined
    const fields = new Fields(parseStrictText(text), 'evidence_unavailable', 'account')
    const account = { person: fields.text('person'), password: fields.text('password') }
    fields.end()
    return account
  }

  /** Under a digest of the name: the directory is the one place where it can be read. */
  #keep(name: string, account: { readonly person: string; readonly password: string }): Promise<void> {
    return this.#ports.store.putMeta(this.#key(name), canonicalText(account))
  }

  #key(name: string): string {
    const { sha256 }: Crypto = this.#ports.crypto
    return `account ${toBase64Url(sha256(utf8(canonicalText({ name, origin: this.#log.origin }))))}`
  }
}
