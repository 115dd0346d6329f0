import { Denied, isAtLeast, type Role } from '@sealwrit/protocol'

/** Who asks for something: an opaque id, and what that person may do now. */
export interface Person {
  readonly id: string
  readonly role: Role
}

/**
 * What each method needs, and what HTTP serves beside them (`events`, `metrics`, `session`). What is not here nobody may do: a new method
 * gets its row, or does not run.
 */
export const ROLE_FOR: Readonly<Record<string, Role>> = Object.freeze({
  // reading
  status: 'viewer', effect: 'viewer', 'revocations.list': 'viewer', 'kills.list': 'viewer', decide: 'viewer', executions: 'viewer', 'executions.search': 'viewer', lineage: 'viewer', evidence: 'viewer', 'evidence.more': 'viewer',
  'log.list': 'viewer', 'log.read': 'viewer', 'log.checkpoint': 'viewer', 'log.tile': 'viewer', 'log.gaps': 'viewer',
  'agents.list': 'viewer', 'tools.list': 'viewer', 'tools.show': 'viewer', 'gates.list': 'viewer', 'approvers.list': 'viewer', 'anchors.list': 'viewer', 'keys.list': 'viewer', 'assessments.list': 'viewer',
  'approvals.list': 'viewer', 'approvals.show': 'viewer', 'policies.status': 'viewer', 'policies.epochs': 'viewer', 'profiles.facts': 'viewer', 'policies.requests': 'viewer', 'policies.text': 'viewer',
  'federation.list': 'viewer', 'people.own_password': 'viewer', events: 'viewer', metrics: 'viewer', session: 'viewer',
  // answering what waits; which hold a person may answer is said by their groups, and their signature
  'approvals.decide': 'approver', directory: 'approver', 'people.list': 'approver',
  // stopping and running
  'federation.seal': 'operator', 'federation.vouch': 'operator', revoke: 'operator', kill: 'operator', unkill: 'operator', fsck: 'operator', 'anchors.now': 'operator', 'assessments.record': 'operator', issue: 'operator',
  nonce: 'operator', 'gates.enrol': 'operator', authorize: 'operator', redeem: 'operator', receipts: 'operator', denials: 'operator', 'tools.record': 'operator', 'tools.permissible': 'operator', 'identity.verify': 'operator', 'leases.renew': 'operator', 'events.ack': 'operator',
  // who may do what, what is decided, and what is kept
  'agents.add': 'admin', 'agents.add_key': 'admin', 'agents.remove_key': 'admin', 'agents.remove': 'admin', 'approvers.add': 'admin', 'approvers.remove': 'admin',
  'people.add': 'admin', 'people.role': 'admin', 'people.password': 'admin', 'people.remove': 'admin',
  'policies.activate': 'admin', 'policies.rollback': 'admin', 'policies.withdraw': 'admin', 'keys.rotate': 'admin', 'keys.revoke': 'admin', 'tools.pin': 'admin', 'tools.unpin': 'admin', erase: 'admin',
})

/** @throws {Denied} `identity_unknown` where the person may not do that */
export function verifyRole(method: string, { role }: Person): void {
  const needed = Object.hasOwn(ROLE_FOR, method) ? ROLE_FOR[method] : undefined
  if (needed === undefined || !isAtLeast(role, needed)) throw new Denied('identity_unknown', `needs the role ${needed ?? 'of nobody'}`)
}
