import type { Sequencer } from '../log/sequencer.ts'
import type { Page } from '../page.ts'
import type { PlanePorts } from '../ports.ts'
import { type AgentChange, changeAgent, listAgents } from './agents.ts'
import { listGates } from './gates.ts'

/** What opaque ids stand for. */
export interface Names {
  /** As canonical JSON; undefined where nothing is known, or any more. */
  find(id: string): Promise<string | undefined>
}

/** Who is registered: agents and gates, and what opaque ids stand for. */
export class Registry {
  readonly #log: Sequencer
  readonly #ports: PlanePorts
  readonly #names: Names
  readonly #owner: string

  /** @param owner answers for agents that name nobody else */
  constructor(log: Sequencer, ports: PlanePorts, names: Names, owner: string) {
    this.#log = log
    this.#ports = ports
    this.#names = names
    this.#owner = owner
  }

  /** Registers an agent, changes its keys, or removes it. @throws {Denied} as `changeAgent` */
  changeAgent(change: Omit<AgentChange, 'owner'> & { readonly owner?: string | undefined }): Promise<number> {
    const { owner, ...rest } = change
    return changeAgent(change.event === 'added' ? { ...rest, owner: owner ?? this.#owner } : rest, this.#log)
  }

  agents(page: Page): ReturnType<typeof listAgents> {
    return listAgents(page, this.#log.state, this.#ports.crypto)
  }

  gates(page: Page): ReturnType<typeof listGates> {
    return listGates(page, this.#log.state.gates, this.#ports.clock.wallMs())
  }

  /** What an opaque id stands for, as canonical JSON; undefined where nobody knows, or any more. */
  nameOf(id: string): Promise<string | undefined> {
    return this.#names.find(id)
  }
}
