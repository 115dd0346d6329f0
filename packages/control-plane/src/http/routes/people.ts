import type { Route } from '../route.ts'
import * as schemas from '../schemas/people.ts'
import { page } from '../schemas/values.ts'

/** What people do: approve, revoke, kill. */
export const PEOPLE_ROUTES: readonly Route[] = [
  { method: 'GET', url: '/v1/approvals', needs: 'approvals.list', tag: 'approvals', isPrivate: true, query: schemas.holdsQuery, answer: schemas.holds, summary: 'Lists holds that wait' },
  { method: 'GET', url: '/v1/approvals/:hold', needs: 'approvals.show', tag: 'approvals', isPrivate: true, path: schemas.holdPath, answer: schemas.shownHold, summary: 'Shows a hold with what its signature is made from' },
  { method: 'POST', url: '/v1/approvals', needs: 'approvals.decide', tag: 'approvals', body: schemas.approvalRequest, answer: schemas.approvalReply, summary: 'Records an approver’s signed word on a hold' },
  { method: 'GET', url: '/v1/approvers', needs: 'approvers.list', tag: 'approvals', isPrivate: true, query: page, answer: schemas.approvers, summary: 'Lists who may approve' },
  { method: 'POST', url: '/v1/approvers', needs: 'approvers.add', tag: 'approvals', body: schemas.approverRequest, answer: schemas.changedPerson, summary: 'Registers a person who may approve, or gives them a key' },
  { method: 'DELETE', url: '/v1/approvers/:who', needs: 'approvers.remove', tag: 'approvals', path: schemas.approverPath, query: schemas.approverKeyQuery, answer: schemas.changedPerson, summary: 'Removes an approver, or one key of theirs' },
  { method: 'GET', url: '/v1/revocations', needs: 'revocations.list', tag: 'stops', isPrivate: true, query: page, answer: schemas.revocations, summary: 'Lists what is revoked' },
  { method: 'POST', url: '/v1/revocations', needs: 'revoke', tag: 'stops', body: schemas.selectorRequest, answer: schemas.effect, summary: 'Voids what a selector names, for good' },
  { method: 'GET', url: '/v1/kills', needs: 'kills.list', tag: 'stops', isPrivate: true, query: page, answer: schemas.kills, summary: 'Lists what is killed' },
  { method: 'POST', url: '/v1/kills', needs: 'kill', tag: 'stops', body: schemas.selectorRequest, answer: schemas.effect, summary: 'Stops what a selector names, until it is lifted' },
  { method: 'POST', url: '/v1/kills/lift', needs: 'unkill', tag: 'stops', body: schemas.selectorRequest, answer: schemas.liftReply, summary: 'One person’s word for lifting a kill' },
  { method: 'GET', url: '/v1/effects/:seq', needs: 'effect', tag: 'stops', isPrivate: true, path: schemas.effectPath, answer: schemas.effect, summary: 'Says how far a revocation or kill has come', params: ({ path }) => ({ seq: Number(path['seq']) }) },
]
