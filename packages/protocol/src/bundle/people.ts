import { Denied } from '../denial.ts'
import { actorOf, type PersonStanding, verifyActor, withPerson } from '../govern/person.ts'
import type { Entry } from '../log/entry.ts'
import type { Tally } from './tally.ts'

/** Who might do what: persons with their roles, and what is said to have been done by them. */
export class People {
  readonly #known = new Map<string, PersonStanding>()
  readonly #tally: Tally
  #acted = 0
  #isPart = false

  constructor(tally: Tally) {
    this.#tally = tally
  }

  /** @param isWhole whether every entry before this one was seen: else a role may have changed in one that is not here */
  apply(entry: Entry, isWhole: boolean): void {
    const by = actorOf(entry)
    const known = by === undefined ? undefined : this.#known.get(by)
    if (known !== undefined && !isWhole && known.role !== undefined) this.#isPart = true
    else if (known !== undefined && this.#tally.prove('whoever stopped, erased or changed something had the role for it', () => verifyActor(entry, known), { seq: entry.seq })) this.#acted++
    if (entry.kind !== 'key' || entry.purpose !== 'person') return
    const before = this.#known.get(entry.person)
    if (before === undefined && !isWhole && entry.event !== 'added') return void (this.#isPart = true)
    this.#tally.prove('a person is added once, and changed until removed', () => {
      if (before !== undefined && entry.event === 'added') throw new Denied('identity_unknown', 'added before')
      this.#known.set(entry.person, withPerson(before, entry))
    }, { seq: entry.seq })
  }

  end(): void {
    if (this.#acted > 0) this.#tally.holds('whoever stopped, erased or changed something had the role for it', this.#acted)
    if (this.#isPart) this.#tally.notShown('changes of roles that stand outside of this bundle')
  }
}
