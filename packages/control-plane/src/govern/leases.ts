import { Denied, isLegal, prohibition, type RenewReply, type RenewRequest, toBase64 } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'
import { show, type Shown } from '../log/shown.ts'
import { isOpen, type LogState, type OpenPermit } from '../log/state.ts'

/**
 * Renews what a gate runs, all of it in one entry. What is not in the entry must stop: its permit has its ending, it was revoked or
 * killed, its time is over, or the policies of a newer epoch do not permit it any more.
 * @param stillPermits decides again for a permit of an older epoch; asked before the entry gets its place
 * @throws {Denied} `identity_invalid` when a newer session of the gate is open, `evidence_unavailable`
 */
export async function renew(request: RenewRequest, gate: string, log: Sequencer, stillPermits: (permit: OpenPermit) => Promise<boolean>, shown: Shown): Promise<RenewReply> {
  const superseded = new Set<string>()
  const { epoch } = log.state
  for (const jti of request.jtis) {
    const permit = log.state.open.get(jti)
    if (permit !== undefined && permit.epoch !== epoch && !permit.grounds.isObserved && !(await stillPermits(permit))) superseded.add(jti)
  }
  const committed = await log.submit((state, _seq, timeMs) => {
    if (!isOpen(state.gates.get(gate), request.session, timeMs)) throw new Denied('identity_invalid', 'the session has ended, or a newer one of this gate is open')
    if (state.epoch !== epoch) throw new Denied('policy_superseded', 'the policies changed meanwhile; renew again')
    const jtis = request.jtis.filter((jti) => !superseded.has(jti) && mayGoOn(state.open.get(jti), gate, state, timeMs))
    return { body: { kind: 'lease', gate, session: request.session, nonce: request.nonce, jtis }, bodies: [] }
  })
  return log.sealed(Math.max(committed.seq + 1, shown.size), (head) => {
    const sealed = log.seal(committed, head)
    return show(shown, head.size, { sealed, consistency: log.extends(shown.size, head).map(toBase64) })
  })
}

function mayGoOn(permit: OpenPermit | undefined, gate: string, state: LogState, timeMs: number): boolean {
  return permit !== undefined && permit.aud === gate && isLegal(permit.standing, 'lost') && timeMs < permit.lastMs && (!permit.grounds.isObserved || state.standing.isObserving) && prohibition(permit.selectable, state) === undefined
}
