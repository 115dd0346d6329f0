import type {
  Agent, Action, ApprovalRequest, AssessmentEntry, AuthorizeReply, AuthorizeRequest, BundleEntry, DenialRequest, Digest, EnrolRequest, Entry, Facts, IssueRequest, JsonObject, JsonValue, PermissibleRequest, PolicyTexts, ReceiptRequest, RedeemReply, RedeemRequest, RenewReply, RenewRequest, Role, ToolsRequest,
} from '@sealwrit/protocol'
import type { AnchorOutcome, ListedSink } from '../anchor/anchors.ts'
import type { ActivationAnswer, PolicyStatus } from '../govern/activation.ts'
import type { Accounts, ListedPerson } from '../govern/accounts.ts'
import type { ListedAgent } from '../govern/agents.ts'
import type { ListedHold, ShownHold } from '../govern/approvals.ts'
import type { ApproverRequest, ListedApprover } from '../govern/approvers.ts'
import type { Effect } from '../govern/events.ts'
import type { Assessments } from '../govern/assessments.ts'
import type { Federation } from '../govern/federation.ts'
import type { ListedGate } from '../govern/gates.ts'
import type { Keys } from '../govern/keys.ts'
import type { Activated } from '../govern/policies.ts'
import type { ProfileFacts } from '../govern/profile.ts'
import type { Stops } from '../govern/stops.ts'
import type { ListedTool, PinRequest, ShownTool, ToolFilter, Tools } from '../govern/tools.ts'
import type { Paged } from '../page.ts'
import type { Plane } from '../plane.ts'
import type { EvidencePage, EvidenceStart } from '../prove/evidence.ts'
import type { DecisionFilter, FoundDecision } from '../prove/execution-index.ts'
import type { Gaps } from '../prove/gaps.ts'
import type { LineageAnswer } from '../prove/lineage.ts'
import type { Reader, Shown } from '../prove/reader.ts'
import type { RecordedRequest } from '../prove/requests.ts'
import type { Peer } from './peer.ts'

/** What a method takes, and what it answers. */
interface Call<Params, Result> {
  readonly params: Params
  readonly result: Result
}
/** As it arrives: nothing in it is undefined, and who asks may leave out what is optional. */
type Answer<F extends (...args: never[]) => unknown> = Awaited<ReturnType<F>>
type None = Readonly<Record<string, never>>
/** Which page of a list; every list takes these two. */
interface Paging {
  readonly cursor?: string
  readonly limit?: number
}
type Listing<Name extends string, T, More = unknown> = Call<Paging & More, Paged<Name, T>>

/**
 * Every method of the plane by name. The table that serves them and the client that calls them are both held to it, so a wrong call
 * does not compile.
 */
export interface PlaneMethods {
  readonly 'gates.enrol': Call<EnrolRequest, Answer<Plane['enrol']>>
  readonly nonce: Call<None, { readonly origin: string; readonly nonce: string }>
  readonly authorize: Call<AuthorizeRequest | Issuing, AuthorizeReply>
  readonly issue: Call<Issuing, AuthorizeReply>
  readonly redeem: Call<RedeemRequest, RedeemReply>
  readonly receipts: Call<ReceiptRequest, Recorded>
  readonly denials: Call<DenialRequest, Recorded>
  readonly 'tools.record': Call<ToolsRequest, { readonly tools: Answer<Tools['record']> }>
  readonly 'tools.permissible': Call<PermissibleRequest, { readonly permissible: Answer<Plane['permissible']> }>
  readonly 'identity.verify': Call<{ readonly session: string; readonly token: string; readonly audience: string }, Answer<Plane['identifier']['bearer']>>
  readonly 'leases.renew': Call<RenewRequest, RenewReply>
  readonly 'events.ack': Call<{ readonly session: string; readonly seq: number }, None>

  readonly revoke: Call<Selected, Effect>
  readonly kill: Call<Selected, Effect>
  readonly unkill: Call<Selected, Answer<Stops['lift']>>
  readonly effect: Call<Recorded, Effect>
  readonly 'revocations.list': Listing<'revocations', ReturnType<Stops['revocations']>['revocations'][number]>
  readonly 'kills.list': Listing<'kills', ReturnType<Stops['kills']>['kills'][number]>

  readonly 'agents.add': Call<{ readonly agent: string; readonly key: string; readonly owner?: string | undefined; readonly expires?: number | undefined }, Recorded>
  readonly 'agents.add_key': Call<{ readonly agent: string; readonly key: string; readonly expires?: number | undefined }, Recorded>
  readonly 'agents.remove_key': Call<{ readonly agent: string; readonly key: string }, Recorded>
  readonly 'agents.remove': Call<{ readonly agent: string }, Recorded>
  readonly 'agents.list': Listing<'agents', ListedAgent>
  readonly 'gates.list': Listing<'gates', ListedGate>
  readonly 'tools.list': Listing<'tools', ListedTool, ToolFilter>
  readonly 'tools.show': Call<{ readonly target: string; readonly name: string }, ShownTool>
  readonly 'tools.pin': Call<PinRequest, Answer<Tools['pin']>>
  readonly 'tools.unpin': Call<{ readonly target: string; readonly tools: readonly { readonly name: string }[] }, Answer<Tools['unpin']>>
  readonly 'assessments.record': Call<Omit<AssessmentEntry, 'by' | 'kind'>, Recorded>
  readonly 'assessments.list': Call<None, Answer<Assessments['list']>>
  readonly directory: Call<{ readonly id: string }, JsonValue>

  readonly 'people.list': Listing<'people', ListedPerson>
  readonly 'people.add': Call<{ readonly name: string; readonly role: Role; readonly password: string }, Answer<Accounts['add']>>
  readonly 'people.role': Call<{ readonly who: string; readonly role: Role }, Answer<Accounts['changeRole']>>
  readonly 'people.remove': Call<{ readonly who: string }, Answer<Accounts['remove']>>
  readonly 'people.password': Call<{ readonly who: string; readonly password: string }, Answer<Accounts['setPassword']>>
  readonly 'people.own_password': Call<{ readonly current: string; readonly password: string }, Answer<Accounts['changeOwnPassword']>>
  readonly 'approvals.list': Listing<'holds', ListedHold, { readonly all?: boolean }>
  readonly 'approvals.show': Call<{ readonly hold: string }, ShownHold>
  readonly 'approvals.decide': Call<ApprovalRequest, { readonly seq: number; readonly event: string; readonly approvals: number; readonly quorum: number }>
  readonly 'approvers.list': Listing<'approvers', ListedApprover>
  readonly 'approvers.add': Call<Omit<ApproverRequest, 'sub'> & { readonly sub?: string | undefined }, { readonly person: string; readonly seq: number }>
  readonly 'approvers.remove': Call<{ readonly who: string; readonly key?: string | undefined }, { readonly person: string; readonly seq: number }>

  readonly 'federation.list': Call<None, Answer<Federation['list']>>
  readonly 'federation.seal': Call<{ readonly seq: number; readonly known: number }, Answer<Federation['seal']>>
  readonly 'federation.vouch': Call<{ readonly who: string; readonly key?: string | undefined; readonly audience: string; readonly known: number }, Answer<Federation['vouch']>>

  readonly decide: Call<{ readonly action: Action | JsonObject; readonly agent?: Agent; readonly facts?: Facts }, Explained>
  readonly 'policies.activate': Call<{ readonly files: Readonly<Record<string, string>>; readonly tests?: readonly JsonValue[]; readonly mode?: 'enforce' | 'shadow'; readonly from?: number | undefined; readonly urgent?: boolean; readonly confirm?: boolean; readonly rebase?: boolean }, ActivationAnswer>
  readonly 'policies.rollback': Call<{ readonly epoch?: number | undefined; readonly urgent?: boolean; readonly rebase?: boolean }, Activated>
  readonly 'policies.withdraw': Call<{ readonly what: 'staged' | 'shadow' }, Activated>
  readonly 'policies.status': Call<None, PolicyStatus>
  readonly 'profiles.facts': Call<None, ProfileFacts>
  readonly 'policies.epochs': Listing<'epochs', { readonly epoch: number; readonly digest: Digest }>
  readonly 'policies.requests': Call<{ readonly since: string }, { readonly requests: readonly RecordedRequest[]; readonly next: number; readonly size: number }>
  readonly 'policies.text': Call<{ readonly digest: Digest }, PolicyTexts>

  readonly 'keys.list': Call<None, { readonly origin: string; readonly keys: ReturnType<Keys['list']>; readonly gates: readonly { readonly gate: string; readonly from: number; readonly seq: number | undefined }[] }>
  readonly 'keys.rotate': Call<{ readonly overlap_ms?: number | undefined }, Answer<Keys['rotate']>>
  readonly 'keys.revoke': Call<{ readonly purpose: 'log' | 'gate'; readonly id: string; readonly from?: number | undefined }, Answer<Keys['revokeLogKey']> | Answer<Keys['revokeGate']>>

  readonly 'log.list': Call<{ readonly limit?: number; readonly before?: number | undefined; readonly kinds?: readonly string[] | undefined }, { readonly entries: readonly Entry[]; readonly next?: number | undefined }>
  readonly 'log.read': Call<{ readonly from: number; readonly limit?: number }, Answer<Reader['read']>>
  readonly 'log.checkpoint': Call<None, { readonly checkpoint: string }>
  readonly 'log.tile': Call<{ readonly path: string }, { readonly bytes: string }>
  readonly 'log.gaps': Call<None, Gaps>
  readonly 'executions.search': Call<Paging & DecisionFilter, Paged<'executions', FoundDecision> & { readonly since?: number }>
  readonly executions: Call<{ readonly id: string }, Shown>
  readonly lineage: Call<Paging & { readonly id: string }, LineageAnswer>
  readonly evidence: Call<{ readonly selector: string; readonly since?: string | undefined }, EvidenceStart & EvidencePage>
  readonly 'evidence.more': Call<{ readonly selector: string; readonly checkpoint: string; readonly size: number; readonly from: number }, { readonly entries: readonly BundleEntry[]; readonly next: number | undefined }>
  readonly fsck: Call<{ readonly begin: boolean }, ReturnType<Reader['fsck']>>
  readonly erase: Call<{ readonly selector: string; readonly dry: boolean }, Answer<Plane['erase']>>
  readonly 'anchors.now': Call<None, { readonly outcomes: readonly AnchorOutcome[] }>
  readonly 'anchors.list': Call<None, { readonly sinks: readonly ListedSink[] }>
  readonly status: Call<None, PlaneStatus>
}

export type MethodName = keyof PlaneMethods
/** What a part of the table serves. */
export type Methods<Names extends MethodName> = { readonly [M in Names]: (plane: Plane, params: JsonValue, peer: Peer) => PlaneMethods[M]['result'] | Promise<PlaneMethods[M]['result']> }

/** As it is asked for: how long it may be started has a default. */
type Issuing = Omit<IssueRequest, 'seconds'> & { readonly seconds?: number }
interface Recorded {
  /** Leaf index of the entry. */
  readonly seq: number
}
interface Selected {
  readonly selector: string
}

/** What would be decided, and why. */
export interface Explained {
  readonly decision: 'permit' | 'deny' | 'hold'
  readonly code?: string
  readonly approval?: object
  readonly constraints?: object
  readonly risk?: string
  readonly assurance?: string
  readonly policy: { readonly digest: Digest; readonly epoch: number; readonly determining: readonly string[] }
  readonly protected?: readonly string[]
  readonly shadow?: JsonObject
  readonly inputs: JsonObject
  readonly errors: readonly string[]
}

export interface PlaneStatus {
  readonly origin: string
  readonly tenant: string
  readonly size: number
  readonly epoch: number
  readonly policy: string
  readonly open: number
  readonly gates: number
  readonly ready: boolean
  /** Whether what policy denies runs at gates that ask for it. */
  readonly observing: boolean
  /** What it was started under: they hold for its set-up and its policies. */
  readonly profiles: readonly string[]
  readonly pid: number
  readonly anchors: Answer<Plane['anchors']['status']>
}
