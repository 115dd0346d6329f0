import { isIssueRequest } from '@sealwrit/protocol'
import * as z from 'zod'
import type { Route } from '../route.ts'
import * as schemas from '../schemas/gates.ts'
import { newest, page, recorded } from '../schemas/values.ts'

/** What gates ask, and what is asked for them. */
export const GATE_ROUTES: readonly Route[] = [
  {
    method: 'POST', url: '/v1/authorize', needs: 'authorize', tag: 'executions', query: newest, body: z.union([schemas.authorizeRequest, schemas.issueRequest]), answer: schemas.authorizeReply, takesKey: isIssueRequest,
    summary: 'Asks for a permit: of a gate at the boundary, or to carry to a gate',
  },
  { method: 'POST', url: '/v1/redeem', needs: 'redeem', tag: 'executions', query: newest, body: schemas.redeemRequest, answer: schemas.redeemReply, summary: 'Spends a carried artifact for a challenge of a gate' },
  { method: 'POST', url: '/v1/receipts', needs: 'receipts', tag: 'executions', body: schemas.receiptRequest, answer: recorded, summary: 'Records a signed receipt' },
  { method: 'POST', url: '/v1/denials', needs: 'denials', tag: 'executions', body: schemas.denialRequest, answer: recorded, summary: 'Records a signed denial that a gate could not deliver at once' },
  { method: 'POST', url: '/v1/leases/renew', needs: 'leases.renew', tag: 'executions', query: newest, body: schemas.renewRequest, answer: schemas.renewReply, summary: 'Renews everything that a gate runs' },
  { method: 'POST', url: '/v1/nonces', needs: 'nonce', tag: 'gates', body: z.strictObject({}), answer: schemas.nonceReply, summary: 'Gives a nonce for one proof of possession' },
  { method: 'POST', url: '/v1/gates', needs: 'gates.enrol', tag: 'gates', query: newest, body: schemas.enrolRequest, answer: schemas.enrolReply, summary: 'Enrols a gate by its key and opens its session' },
  { method: 'GET', url: '/v1/gates', needs: 'gates.list', tag: 'gates', query: page, answer: schemas.gates, summary: 'Lists gates' },
  { method: 'POST', url: '/v1/tools', needs: 'tools.record', tag: 'registry', body: schemas.toolsRequest, answer: schemas.toolsReply, summary: 'Writes down the definitions of tools that a gate sees, and answers what is pinned' },
  { method: 'GET', url: '/v1/tools', needs: 'tools.list', tag: 'registry', query: schemas.toolsQuery, answer: schemas.tools, summary: 'Lists the tools that gates saw, and what is pinned of them' },
  { method: 'GET', url: '/v1/tools/definition', needs: 'tools.show', tag: 'registry', query: schemas.toolQuery, answer: schemas.shownTool, summary: 'Shows one tool with the definition that was seen last and the pinned one' },
  { method: 'POST', url: '/v1/tools/pin', needs: 'tools.pin', tag: 'registry', body: schemas.pinRequest, answer: schemas.pinReply, summary: 'Pins definitions of tools that were seen: from then on calls may name them' },
  { method: 'POST', url: '/v1/tools/unpin', needs: 'tools.unpin', tag: 'registry', body: schemas.unpinRequest, answer: schemas.unpinReply, summary: 'Takes pins away: calls of these tools are refused' },
]
