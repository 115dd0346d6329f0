import type { Sequencer } from '../log/sequencer.ts'
import type { Kill } from '../log/state.ts'
import { type Page, pageOf, type Paged } from '../page.ts'
import type { Effect, Events } from './events.ts'
import { kill, lift, revoke } from './prohibitions.ts'

/** What people stop, and since when that holds everywhere. Whoever asks is named by an opaque id. */
export class Stops {
  readonly #log: Sequencer
  readonly #events: Events
  readonly #quorum: number

  /** @param quorum distinct people whose word it takes to lift a kill */
  constructor(log: Sequencer, events: Events, quorum: number) {
    this.#log = log
    this.#events = events
    this.#quorum = quorum
  }

  /** Voids what `selector` names. @throws {Denied} `request_malformed` */
  async revoke(selector: string, by: string): Promise<Effect> {
    return this.#effect((await revoke(selector, by, this.#log)).seq)
  }

  /** Stops what `selector` names, and refuses it until it is lifted. @throws {Denied} `request_malformed` */
  async kill(selector: string, by: string): Promise<Effect> {
    return this.#effect((await kill(selector, by, this.#log)).seq)
  }

  /** One person's word for lifting a kill. @throws {Denied} `request_malformed` */
  async lift(selector: string, by: string): Promise<{ readonly lifted: boolean; readonly asked: number; readonly quorum: number }> {
    return { ...(await lift(selector, by, this.#quorum, this.#log)), quorum: this.#quorum }
  }

  /** What is revoked, in the order of the log. */
  revocations(asked: Page): Paged<'revocations', { readonly selector: string; readonly seq: number }> {
    const { page, ...rest } = pageOf(this.#log.state.revoked, ([, seq]) => seq, asked)
    return { revocations: page.map(([selector, seq]) => ({ selector, seq })), ...rest }
  }

  /** What is killed now, and who asked to lift it. */
  kills(asked: Page): Paged<'kills', { readonly selector: string } & Kill> {
    const inOrder = [...this.#log.state.killed].sort(([, a], [, b]) => a.seq - b.seq) // killed again, it moves to the end
    const { page, ...rest } = pageOf(inOrder, ([, { seq }]) => seq, asked)
    return { kills: page.map(([selector, kill]) => ({ selector, ...kill })), ...rest }
  }

  async #effect(seq: number): Promise<Effect> {
    return this.#events.effect(seq) ?? { seq, recordedMs: (await this.#log.read(seq)).entry.time, effectiveMs: undefined, waiting: 0 }
  }
}
