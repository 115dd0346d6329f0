import { type Artifact, type Bundle, canonicalText, CHECKS, formatCosignerKey, formatVerifierKey, type JsonObject, leafDigest, leafHash, type Receipt, toBase64Url, utf8 } from '@sealwrit/protocol'
import { ENV_COMMIT, GATE, GATE_KEY, LOG_KEY, NOW, permitBody, receiptClaims, sha256 } from '../../packages/protocol/test/support/fixture.ts'
import { account, cosigned, sealBundle, WITNESSES } from './evidence.ts'
import type { KeyCase } from './key-cases.ts'

const token = (label: string): string => toBase64Url(sha256(utf8(`assurance ${label}`)).subarray(0, 16))
const SESSION = { kind: 'gate', gate: GATE_KEY.kid, event: 'session', session: token('session') }
const checks = receiptClaims()['checks'] as unknown as Receipt['checks']
const NOT_STARTED = { outcome: 'not_started', started: undefined, cause: 'state_stale' } as const

interface Told {
  readonly permit?: Partial<Artifact>
  readonly receipt?: { readonly [name in keyof Receipt]?: Receipt[name] | undefined }
  /** Whether the session of its environment is in the log. */
  readonly session?: boolean
  readonly cosign?: (note: string) => string
}

/** One execution, as its gate tells it. */
function told({ permit: change = {}, receipt = {}, session = true, cosign }: Told): Bundle {
  const permit = permitBody({ jti: token('jti'), txn: token('jti'), challenge: token('challenge'), ...change })
  const { level } = permit.env
  const statement = level === 'signed' || level === 'hardware' ? { attestation_commit: `sha256:${'d'.repeat(64)}` } : {}
  const before: object[] = [
    { kind: 'key', purpose: 'log', event: 'created', key: formatVerifierKey(LOG_KEY) },
    { kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey) },
    ...(session ? [{ ...SESSION, env: permit.env, expires: NOW + 900, ...statement }] : []),
  ]
  const text = (entry: object, seq: number): string => canonicalText({ v: 1, seq, time: NOW * 1_000 + seq, tenant: 'default', ...entry } as JsonObject)
  const claims = { ...receiptClaims(), jti: token('jti'), leaf_hash: leafDigest(leafHash(utf8(text(permit, before.length)), sha256)), session: token('session'), ...receipt }
  const signed = account(Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined)) as JsonObject)
  return sealBundle([...before, permit, { kind: 'receipt', jti: token('jti'), receipt: signed }].map((entry, seq) => ({ text: text(entry, seq), bodies: [] })), {}, cosign)
}

const env = (level: Artifact['env']['level']): Pick<Artifact, 'env'> => ({ env: { commit: ENV_COMMIT, level } })
const demands = (...obligations: string[]): Pick<Artifact, 'constraints'> => ({ constraints: { lease_seconds: 300, max_runtime_seconds: 300, obligations } })
const KEY = { cnf: 'x' }
const ISSUED = { sub: 'oidc:AAAAAAAAAAAAAAAAAAAAAA' }
const without = (check: string, status: string): Pick<Receipt, 'checks'> => ({ checks: { ...checks, [check]: status } as Receipt['checks'] })

const began = (started: number): Pick<Receipt, 'finished'> & { readonly started: number } => ({ started, finished: started + 5 })

const CASES: Readonly<Record<KeyCase['verdict'], Readonly<Record<string, Told>>>> = {
  established: {
    'A3 of the operating system and software': {},
    'less than was reached, and no less than is demanded': { permit: { ...KEY, ...env('signed') } },
    'A4 of a key and signed evidence': { permit: { ...KEY, ...env('signed') }, receipt: { assurance: 'A4' } },
    'A4 of an issuer and signed evidence': { permit: { ...ISSUED, ...env('signed') }, receipt: { assurance: 'A4' } },
    'A4 of a workload, as it is demanded': { permit: { sub: 'spiffe:AAAAAAAAAAAAAAAAAAAAAA', ...env('signed'), assurance: 'A4' }, receipt: { assurance: 'A4' } },
    'A4, contained as demanded': { permit: { ...KEY, ...demands('a', 'b') }, receipt: { assurance: 'A4', containment: ['b', 'c', 'a'] } },
    'A5 of hardware': { permit: { ...KEY, ...env('hardware') }, receipt: { assurance: 'A5' } },
    'A2 of what did not start, though A3 is demanded': { receipt: { ...NOT_STARTED, ...without('state', 'fail'), assurance: 'A2' } },
    'A2 that is demanded, and no more': { permit: { assurance: 'A2' }, receipt: { assurance: 'A2' } },
    'what began at the last moment, by a clock that is as far ahead as may be': { receipt: began((NOW + 90) * 1_000 - 1) },
    'and at the first': { receipt: began((NOW - 30) * 1_000) },
    'A0 of what did not start and passed nothing': { receipt: { ...NOT_STARTED, checks: Object.fromEntries(CHECKS.map((check) => [check, 'missing'])) as never, assurance: 'A0' } },
  },
  contradicted: {
    'what began a moment later': { receipt: began((NOW + 90) * 1_000) },
    'what began a moment sooner': { receipt: began((NOW - 30) * 1_000 - 1) },
    'A4 where the operating system alone names the initiator': { permit: env('signed'), receipt: { assurance: 'A4' } },
    'A4 of another plane’s principal without a key': { permit: { sub: 'plane:AAAAAAAAAAAAAAAAAAAAAA', ...env('signed') }, receipt: { assurance: 'A4' } },
    'A3 of nobody': { permit: { sub: 'plane:AAAAAAAAAAAAAAAAAAAAAA' } },
    'A4 of a local user whose name begins like an issuer': { permit: { sub: 'oidcx:1', ...env('signed') }, receipt: { assurance: 'A4' } },
    'A4 of software evidence': { permit: KEY, receipt: { assurance: 'A4' } },
    'A4, contained as nobody demanded': { permit: KEY, receipt: { assurance: 'A4', containment: ['a'] } },
    'A4, half contained': { permit: { ...KEY, ...demands('a', 'b') }, receipt: { assurance: 'A4', containment: ['a'] } },
    'A5 of signed evidence': { permit: { ...KEY, ...env('signed') }, receipt: { assurance: 'A5' } },
    'A5, contained on software evidence': { permit: { ...KEY, ...demands('a') }, receipt: { assurance: 'A5', containment: ['a'] } },
    'A3 without an environment': { permit: env('none') },
    'A2 without its seal': { permit: { assurance: 'A2' }, receipt: { ...without('cryptography', 'fail'), assurance: 'A2' } },
    'A1 without a check': { receipt: { ...NOT_STARTED, checks: Object.fromEntries(CHECKS.map((check) => [check, 'fail'])) as never, assurance: 'A1' } },
    'an execution below the assurance that its permit demands': { permit: { ...KEY, ...env('signed'), assurance: 'A4' } },
    'an execution at A2 where A3 is demanded': { receipt: { assurance: 'A2' } },
    ...Object.fromEntries(CHECKS.flatMap((check) => ['fail', 'missing', 'error'].map((status) => [`A3 with ${check} as ${status}`, { receipt: without(check, status) }]))),
  },
}

/** What a receipt states of its assurance, and whether its permit, its session and its checks support it. */
export function* assuranceCases(): Generator<KeyCase> {
  for (const verdict of ['established', 'contradicted'] as const) {
    for (const [title, one] of Object.entries(CASES[verdict])) yield { title, bundle: told(one), key: LOG_KEY, verdict }
  }
}

/** What supports it and does not show offline. */
export function* unseenCases(): Generator<{ readonly title: string; readonly bundle: Bundle; readonly policy?: string; readonly isUnseen: boolean }> {
  const policy = `witness a ${formatCosignerKey(WITNESSES[0]?.key as never)}\nquorum a\n`
  const strong = { permit: { ...KEY, ...env('signed') }, receipt: { assurance: 'A4' } } as const
  yield { title: 'A3, without its session', bundle: told({ session: false }), isUnseen: false }
  yield { title: 'A4, and no witness policy', bundle: told({ ...strong, cosign: cosigned }), isUnseen: true }
  yield { title: 'A4, and a policy that asks nobody', bundle: told({ ...strong, cosign: cosigned }), policy: 'quorum none\n', isUnseen: true }
  yield { title: 'A4, and its witnesses', bundle: told({ ...strong, cosign: cosigned }), policy, isUnseen: false }
  yield { title: 'A4, its witnesses, and not its session', bundle: told({ ...strong, session: false, cosign: cosigned }), policy, isUnseen: true }
  yield { title: 'A5, which nobody replays here', bundle: told({ permit: { ...KEY, ...env('hardware') }, receipt: { assurance: 'A5' }, cosign: cosigned }), policy, isUnseen: true }
}
