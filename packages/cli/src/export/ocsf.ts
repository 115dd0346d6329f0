import { actorOf, canonicalText, DENIALS, type DenialCode, type Entry, isDenialCode, type JsonObject, type JsonValue, present } from '@sealwrit/protocol'
import { claimsOf, jtiOf } from './claims.ts'

/** The version of the schema that the objects follow. @see https://schema.ocsf.io/1.6.0 */
export const OCSF_VERSION = '1.6.0'

/** The three classes that entries map to. */
const CLASSES = {
  api: { class_uid: 6003, class_name: 'API Activity', category_uid: 6, category_name: 'Application Activity' },
  lifecycle: { class_uid: 6002, class_name: 'Application Lifecycle', category_uid: 6, category_name: 'Application Activity' },
  entity: { class_uid: 3004, class_name: 'Entity Management', category_uid: 3, category_name: 'Identity & Access Management' },
} as const

const SEVERITY = { 1: 'Informational', 2: 'Low', 3: 'Medium', 4: 'High' } as const
const STATUS = { 0: 'Unknown', 1: 'Success', 2: 'Failure', 99: 'Other' } as const
const ACTION = { 0: 'Unknown', 1: 'Allowed', 2: 'Denied', 3: 'Observed' } as const
const DISPOSITION = { 0: 'Unknown', 1: 'Allowed', 2: 'Blocked', 14: 'Delayed', 16: 'No Action', 17: 'Logged', 24: 'Access Revoked', 27: 'Error' } as const

type Severity = keyof typeof SEVERITY
type Status = keyof typeof STATUS
interface Control {
  readonly action: keyof typeof ACTION
  readonly disposition: keyof typeof DISPOSITION
}

/** What a mapping says of one entry; {@link event} turns it into the object. */
interface Mapped {
  readonly of: keyof typeof CLASSES
  readonly activity: readonly [id: number, name: string]
  readonly severity: Severity
  readonly status: Status
  /** Source's own word for the status: a denial code, a cause. */
  readonly code?: string | undefined
  readonly control?: Control
  readonly message: string
  readonly own: JsonObject
}

const OTHER = 99
/** Characters of erased ranges that the entity is named by; all of them are in `raw_data`. */
const MAX_RANGES = 256
const READ: readonly [number, string] = [2, 'Read']
const PRODUCT = { name: 'Sealwrit', vendor_name: 'Sealwrit' } as const

/** One entry of the log `origin` as an OCSF event. The table is in spec/export.md. */
export function toOcsf(entry: Entry, origin: string): JsonObject {
  const claims = claimsOf(entry)
  const by = actorOf(entry)
  const found = mapped(entry, claims ?? {})
  return event(entry, origin, claims, by === undefined ? found : { ...found, own: { ...found.own, actor: { user: { uid: by } } } })
}

function mapped(entry: Entry, claims: JsonObject): Mapped {
  switch (entry.kind) {
    case 'permit':
      if (entry.observed !== undefined) return { of: 'api', activity: activityOf(entry.scope.type), severity: severityOf(entry.observed), status: 99, code: entry.observed, control: { action: 3, disposition: 17 }, message: `observed, not governed: policy denies this ${entry.scope.type} (${entry.observed})`, own: call(entry) }
      return { of: 'api', activity: activityOf(entry.scope.type), severity: 1, status: 1, control: { action: 1, disposition: 1 }, message: `permitted ${entry.scope.type}`, own: call(entry) }
    case 'deny':
      return { of: 'api', activity: activityOf(entry.scope?.type), severity: severityOf(entry.code), status: 2, code: entry.code, control: { action: 2, disposition: 2 }, message: DENIALS[entry.code].meaning, own: call(entry) }
    case 'hold':
      return { of: 'api', activity: activityOf(entry.scope?.type), severity: 1, status: 99, code: 'approval_required', control: { action: 0, disposition: 14 }, message: DENIALS.approval_required.meaning, own: call(entry) }
    case 'approval': {
      const of = { approved: { severity: 1, status: 1, control: { action: 1, disposition: 1 } }, rejected: { severity: 2, status: 2, control: { action: 2, disposition: 2 } }, expired: { severity: 1, status: 99, control: { action: 2, disposition: 16 } } } as const
      const own = present<JsonObject>({ actor: entry.person === undefined ? { app_name: 'sealwrit plane' } : { user: { uid: entry.person } }, api: { operation: 'approval', request: { uid: entry.hold } }, src_endpoint: endpoint(undefined) })
      return { of: 'api', activity: [OTHER, 'Approval'], ...of[entry.event], code: entry.event, message: `a hold was ${entry.event}`, own }
    }
    case 'receipt':
      return receipt(claims)
    case 'expiry': {
      const isOpen = entry.outcome === 'indeterminate'
      const control: Control = isOpen ? { action: 0, disposition: 0 } : { action: 0, disposition: 16 }
      return { of: 'api', activity: [OTHER, 'Ending'], severity: isOpen ? 3 : 1, status: isOpen ? 0 : 99, code: entry.outcome, control, message: `the permit ended as ${entry.outcome}`, own: ending('expiry', undefined) }
    }
    case 'policy': {
      const policy = { uid: entry.digest, version: String(entry.epoch), name: 'policy set' }
      return { of: 'entity', ...policyEvent(entry), severity: 1, status: 1, own: { entity: { type_id: 5, type: 'Policy', uid: policy.uid, name: policy.name, version: policy.version, policy } } }
    }
    case 'key':
      if (entry.purpose === 'approver') return { of: 'entity', activity: entry.event === 'added' ? [1, 'Create'] : [4, 'Delete'], severity: 1, status: 1, code: entry.event, message: `an approver was ${entry.event}`, own: entity('Approver', entry.person, 'approver') }
      if (entry.purpose === 'person') return { of: 'entity', activity: ({ added: [1, 'Create'], role: [3, 'Update'], credential: [3, 'Update'], removed: [4, 'Delete'] } as const)[entry.event], severity: 1, status: 1, code: entry.event, message: 'a person was added, removed, or got another role or password', own: entity('Person', entry.person, entry.role ?? 'person') }
      if (entry.event === 'revoked') return { of: 'entity', activity: [5, 'Disable'], severity: 3, status: 1, code: entry.event, message: `a ${entry.purpose} key was revoked from index ${entry.from} on`, own: entity('Key', entry.purpose === 'gate' ? entry.gate : entry.key, `${entry.purpose} key`) }
      return { of: 'entity', activity: [1, 'Create'], severity: 1, status: 1, message: entry.event === 'rotated' ? 'the log key was rotated' : 'the log key was created', own: entity('Key', entry.key, `${entry.purpose} key`) }
    case 'tool':
      return { of: 'entity', activity: entry.event === undefined ? [1, 'Create'] : [3, 'Update'], severity: 1, status: 1, code: entry.event, message: `a tool definition was ${entry.event ?? 'recorded'}`, own: entity('Tool', `${entry.target}/${entry.name}`, entry.name, entry.digest) }
    case 'gate':
      if (entry.event === 'session') return { of: 'lifecycle', activity: [3, 'Start'], severity: 1, status: 1, message: 'a gate opened a session', own: { app: { ...PRODUCT, name: 'Sealwrit gate', uid: entry.gate } } }
      if (entry.event === 'enrolled') return { of: 'entity', activity: [6, 'Enroll'], severity: 1, status: 1, message: 'a gate enrolled with its key', own: entity('Gate', entry.gate, 'gate') }
      return { of: 'entity', activity: [OTHER, 'Denials lost'], severity: 3, status: 99, code: entry.event, message: 'signed denials overflowed the queue of a gate', own: entity('Gate', entry.gate, 'gate') }
    case 'agent': {
      const activity = ({ added: [1, 'Create'], key_added: [3, 'Update'], key_removed: [3, 'Update'], removed: [4, 'Delete'] } as const)[entry.event]
      return { of: 'entity', activity, severity: 1, status: 1, code: entry.event, message: 'an agent was registered, removed, or changed its keys', own: entity('Agent', entry.agent, 'agent') }
    }
    case 'assessment':
      return { of: 'entity', activity: [1, 'Create'], severity: 1, status: 1, code: `level ${entry.level}`, message: 'the deployment was assessed from its log', own: entity('Assessment', `${entry.size}`, entry.model) }
    case 'voucher':
      return { of: 'entity', activity: [READ[0], READ[1]], severity: 1, status: 1, code: entry.kind, message: 'another plane was told that a person is an approver', own: entity('Approver', entry.person, 'approver') }
    case 'erasure': {
      const ranges = entry.ranges.map(({ from, to }) => (to === from + 1 ? `${from}` : `${from}-${to - 1}`)).join(',')
      return { of: 'entity', activity: [4, 'Delete'], severity: 1, status: 1, code: entry.cause, message: 'bodies and salts behind entries were deleted', own: entity('Body', ranges.slice(0, MAX_RANGES), 'bodies of entries') }
    }
    default: {
      // A kind that a later version writes: nobody's export stops for it.
      const { kind, seq } = entry as Entry
      return { of: 'entity', activity: [OTHER, kind], severity: 1, status: 99, code: kind, message: `entry of kind ${kind}`, own: entity(kind, String(seq), kind) }
    }
  }
}

/** A gate's account of an outcome. It names its permit by `jti` alone, so scope and actor stand in the permit's event. */
function receipt(claims: JsonObject): Mapped {
  const { outcome, cause, gate, started, finished } = claims
  const own = present<JsonObject>({
    ...ending('receipt', typeof gate === 'string' ? gate : undefined),
    start_time: typeof started === 'number' ? started : undefined,
    end_time: typeof finished === 'number' ? finished : undefined,
    duration: typeof started === 'number' && typeof finished === 'number' ? Math.max(0, finished - started) : undefined,
  })
  const of = (severity: Severity, status: Status, control: Control): Mapped => {
    const word = typeof outcome === 'string' ? outcome : 'unreadable'
    return { of: 'api', activity: [OTHER, 'Ending'], severity, status, code: typeof cause === 'string' ? cause : word, control, message: `the execution ended as ${word}`, own }
  }
  switch (outcome) {
    case 'completed':
      return of(1, 1, { action: 1, disposition: 1 })
    case 'failed':
      return of(2, 2, { action: 1, disposition: 27 })
    case 'terminated':
      return of(3, 2, { action: 2, disposition: 24 })
    case 'not_started':
      return of(isDenialCode(cause) ? severityOf(cause) : 2, 2, { action: 2, disposition: 2 })
    default:
      return of(3, 0, { action: 0, disposition: 0 })
  }
}

/** Only what changes the active set is an activation. */
function policyEvent({ epoch, event: what = 'activated', mode }: Extract<Entry, { kind: 'policy' }>): Pick<Mapped, 'activity' | 'message'> {
  if (mode === 'shadow') return { activity: [OTHER, 'Shadow'], message: what === 'withdrawn' ? 'the shadow mode of a policy set ended' : 'a policy set is evaluated in shadow mode' }
  if (what === 'staged') return { activity: [OTHER, 'Stage'], message: `a policy set is staged; epoch ${epoch} stays` }
  if (what === 'observing') return { activity: [OTHER, 'Observe'], message: `the policy set of epoch ${epoch} is only observed from here on, at gates that ask for it` }
  if (what === 'enforcing') return { activity: [OTHER, 'Enforce'], message: `the policy set of epoch ${epoch} is enforced again` }
  if (what === 'withdrawn') return { activity: [OTHER, 'Withdraw'], message: `a staged policy set was withdrawn; epoch ${epoch} stays` }
  return { activity: [10, 'Activate'], message: `policy set of epoch ${epoch} became the active one` }
}

function event(entry: Entry, origin: string, claims: JsonObject | undefined, { of, activity: [id, name], severity, status, code, control, message, own }: Mapped): JsonObject {
  const kind = CLASSES[of]
  return present<JsonObject>({
    activity_id: id,
    activity_name: name,
    ...kind,
    type_uid: kind.class_uid * 100 + id,
    type_name: `${kind.class_name}: ${name}`,
    severity_id: severity,
    severity: SEVERITY[severity],
    time: entry.time,
    message,
    status_id: status,
    status: STATUS[status],
    status_code: code,
    ...(control === undefined ? {} : { action_id: control.action, action: ACTION[control.action], disposition_id: control.disposition, disposition: DISPOSITION[control.disposition] }),
    ...own,
    metadata: present<JsonObject>({
      version: OCSF_VERSION,
      product: PRODUCT,
      profiles: control === undefined ? [] : ['security_control'],
      uid: `${origin}/${entry.seq}`,
      sequence: entry.seq,
      event_code: entry.kind,
      log_name: origin,
      tenant_uid: entry.tenant,
      correlation_uid: jtiOf(entry),
    }),
    raw_data: canonicalText(entry as unknown as JsonValue), // the leaf: its hash is in the tree
    unmapped: claims === undefined ? undefined : { claims },
  })
}

/** Reading a resource or a prompt reads; what a tool does is its own affair. */
function activityOf(type: string | undefined): readonly [number, string] {
  return type === 'mcp.resource_read' || type === 'mcp.prompt_get' ? READ : [OTHER, 'Execute']
}

/** A refusal that hints at tampering is worth a look; the rest is the day's work. */
function severityOf(code: DenialCode): Severity {
  if (code === 'state_diverged' || code === 'store_rollback') return 4
  const { check } = DENIALS[code]
  return check === 'cryptography' || check === 'environment' ? 3 : 2
}

/** Actor, operation and places of a request, as far as they were known. */
function call(entry: Extract<Entry, { kind: 'permit' | 'deny' | 'hold' }>): JsonObject {
  const { scope, sub, act, aud, policy } = entry
  const jti = jtiOf(entry)
  const code = entry.kind === 'deny' ? entry.code : undefined
  return present<JsonObject>({
    actor: present<JsonObject>({
      user: sub === undefined ? undefined : { uid: sub },
      app_name: act?.sub ?? (sub === undefined ? 'unknown' : undefined),
    }),
    api: present<JsonObject>({
      operation: scope?.name ?? 'unknown',
      service: scope === undefined ? undefined : { name: scope.target },
      request: jti === undefined ? undefined : { uid: jti },
      response: code === undefined ? undefined : { error: code, error_message: DENIALS[code].meaning },
    }),
    src_endpoint: endpoint(aud),
    dst_endpoint: scope === undefined ? undefined : { svc_name: scope.target },
    resources: scope === undefined ? undefined : [{ name: scope.name, type: scope.type, uid: scope.target }],
    policy: policy === undefined ? undefined : { uid: policy.digest, version: String(policy.epoch), name: policy.determining.join(', ') || 'none' },
  })
}

function ending(operation: string, gate: string | undefined): JsonObject {
  return { actor: { app_name: gate === undefined ? 'sealwrit plane' : 'sealwrit gate' }, api: { operation }, src_endpoint: endpoint(gate) }
}

function endpoint(gate: string | undefined): JsonObject {
  return gate === undefined ? { svc_name: 'sealwrit' } : { uid: gate, svc_name: 'sealwrit gate' }
}

function entity(type: string, uid: string, name: string, version?: string): JsonObject {
  return { entity: present<JsonObject>({ type_id: OTHER, type, uid, name, version }) }
}
