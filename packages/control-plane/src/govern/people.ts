import type { ApprovalRequest } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'
import type { Page } from '../page.ts'
import type { PlanePorts } from '../ports.ts'
import { decideHold, listHolds, showHold, type ShownHold, watchHolds } from './approvals.ts'
import { addApprover, type ApproverRequest, listApprovers, removeApprover } from './approvers.ts'
import type { Federation } from './federation.ts'
import type { HoldEvent, Notices } from './notices.ts'

/** The people who release what policy holds, and what they are told. */
export class People {
  readonly #log: Sequencer
  readonly #ports: PlanePorts
  readonly #owner: string
  readonly #federation: Federation
  readonly #notices: Notices | undefined
  readonly #unwatch: () => void

  /** @param owner who answers for what runs here, and approves none of it */
  constructor(log: Sequencer, ports: PlanePorts, owner: string, federation: Federation, notices: Notices | undefined) {
    this.#log = log
    this.#ports = ports
    this.#owner = owner
    this.#federation = federation
    this.#notices = notices
    this.#unwatch = watchHolds(log, ports.clock, (hold) => void this.tell(hold, 'expired'))
  }

  /** A person's word on a hold. @throws {Denied} as {@link decideHold}, and what a voucher fails */
  async decideHold(request: ApprovalRequest): ReturnType<typeof decideHold> {
    const vouched = request.voucher === undefined ? undefined : await this.#federation.voucher(request.voucher)
    const answer = await decideHold(request, vouched, this.#owner, this.#log, this.#ports)
    void this.tell(request.hold, answer.event === 'rejected' ? 'rejected' : 'approved')
    return answer
  }

  /** As {@link listHolds}. */
  holds(isAll: boolean, page: Page): ReturnType<typeof listHolds> {
    return listHolds(isAll, page, this.#log, this.#ports)
  }

  /** As {@link showHold}. */
  hold(id: string): Promise<ShownHold> {
    return showHold(id, this.#log, this.#ports)
  }

  /** Tells of a hold; who does not hear it looks at the list. */
  async tell(id: string, event: HoldEvent): Promise<void> {
    if (this.#notices === undefined) return
    const held = this.#log.state.approvals.holds.get(id)
    if (held !== undefined) await this.#notices.tell(held, event).catch(() => undefined)
  }

  /** As {@link addApprover}. */
  addApprover(request: ApproverRequest, by: string): ReturnType<typeof addApprover> {
    return addApprover(request, by, this.#log, this.#ports)
  }

  /** As {@link removeApprover}. */
  removeApprover(who: string, key: string | undefined, by: string): ReturnType<typeof removeApprover> {
    return removeApprover(who, key, by, this.#log, this.#ports)
  }

  /** As {@link listApprovers}. */
  approvers(page: Page): ReturnType<typeof listApprovers> {
    return listApprovers(page, this.#log, this.#ports)
  }

  async close(): Promise<void> {
    this.#unwatch()
    await this.#notices?.close()
  }
}
