import { generateKeyPairSync, sign } from 'node:crypto'
import { nodeCryptography, type Sequencer, type Written } from '@sealwrit/control-plane'
import { attachSignature, type DenialCode, type Entry, fromBase64Url, leafDigest, leafHash, type Permit, peekClaims, type ReceiptEntry, signingInput, signingKey, type SigningKey } from '@sealwrit/protocol'
import { type OpenLog, openLog, templates, times, token, written } from './history.ts'

/** Permits at once, whose receipts come with the next ones. */
const GROUP = 120
/** Of each group so many are refused, each on a ground of its own. */
const REFUSED: readonly DenialCode[] = ['policy_no_match', 'policy_denied', 'tool_not_pinned', 'identity_unknown', 'budget_exceeded', 'artifact_spent', 'killed']
const GATES = 8
/** Groups between two sessions of a gate, two kills, and two rounds of the policies. */
const [SESSION_EVERY, KILL_EVERY, POLICY_EVERY] = [16, 50, 100]
const BY = 'os:bench'

class SigningGate {
  readonly #keys = generateKeyPairSync('ed25519')
  readonly publicKey: string = this.#keys.publicKey.export({ format: 'jwk' }).x as string
  readonly key: SigningKey = signingKey(fromBase64Url(this.publicKey), nodeCryptography.sha256)
  session = ''
  #sequence = 0

  opened(session: string): void {
    this.session = session
    this.#sequence = 0
  }
  receipt(claims: object): string {
    const input = signingInput('execution-receipt+jwt', this.key.kid, { ...claims, gate: this.key.kid, session: this.session, sequence: this.#sequence++ })
    return attachSignature(input, sign(null, Buffer.from(input), this.#keys.privateKey))
  }
}

/**
 * Makes the log of a plane that does not run as long as `entries`, by what is in a log of real work: permits with receipts that
 * eight gates signed, each with its number, refusals, sessions, kills that are lifted, and changes of the policies.
 */
export async function mix(dir: string, entries: number): Promise<void> {
  const open = await openLog(dir)
  await new Mixed(open, await templates(open.log, open.store)).grow(entries)
  await open.store.close()
}

interface Issued {
  readonly jti: string
  readonly iat: number
  readonly leaf: string
}

class Mixed {
  readonly #log: Sequencer
  readonly #permit: Awaited<ReturnType<typeof templates>>[0]
  readonly #receipt: Awaited<ReturnType<typeof templates>>[1]
  readonly #claims: object
  readonly #env: object | undefined
  readonly #gates = Array.from({ length: GATES }, () => new SigningGate())
  #waiting: Promise<{ readonly text: string; readonly entry: Entry }>[] = []

  constructor({ log }: OpenLog, [permit, receipt]: Awaited<ReturnType<typeof templates>>) {
    this.#log = log
    this.#permit = permit
    this.#receipt = receipt
    this.#claims = peekClaims((receipt.entry as ReceiptEntry & Entry).receipt)
    this.#env = log.state.gates.values().next().value?.env
  }

  #add(body: object | ((timeMs: number) => Written)): void {
    this.#waiting.push(this.#log.submit((_state, _seq, timeMs) => (typeof body === 'function' ? (body as (timeMs: number) => Written)(timeMs) : { body: body as Written['body'], bodies: [] })))
  }
  async #settled(): Promise<Issued[]> {
    const done = await Promise.all(this.#waiting)
    this.#waiting = []
    return done.flatMap(({ entry, text }) => (entry.kind === 'permit' ? [{ jti: entry.jti, iat: entry.iat, leaf: leafDigest(leafHash(Buffer.from(text), nodeCryptography.sha256)) }] : []))
  }

  async grow(entries: number): Promise<void> {
    for (const gate of this.#gates) this.#add({ kind: 'gate', gate: gate.key.kid, event: 'enrolled', key: gate.publicKey })
    await this.#settled()
    let permits: Issued[] = []
    for (let round = 0; this.#log.size + permits.length < entries; round++) {
      const last = this.#gates[(round - 1) % GATES]
      const gate = this.#gates[round % GATES] as SigningGate
      for (const permit of permits) this.#receipted(permit, last as SigningGate)
      if (round % GATES === round % SESSION_EVERY) this.#opened(gate)
      const left = entries - this.#log.size - this.#waiting.length
      const count = Math.max(0, Math.min(GROUP, Math.floor((left - REFUSED.length) / 2)))
      for (let i = 0; i < count; i++) this.#add((timeMs) => written(this.#permit, { ...fresh(), aud: gate.key.kid, ...times(timeMs) }))
      for (const code of REFUSED) if (this.#log.size + this.#waiting.length + count < entries) this.#refused(code, gate)
      if (count === GROUP) this.#governed(round)
      permits = await this.#settled()
    }
  }

  #receipted({ jti, iat, leaf }: Issued, gate: SigningGate): void {
    const receipt = gate.receipt({ ...this.#claims, jti, leaf_hash: leaf, started: iat * 1_000 + 1, finished: iat * 1_000 + 3 })
    this.#add(() => written(this.#receipt, { jti, receipt }))
  }
  #opened(gate: SigningGate): void {
    gate.opened(token())
    this.#add((timeMs) => ({ body: { kind: 'gate', gate: gate.key.kid, event: 'session', session: gate.session, env: this.#env, expires: Math.floor(timeMs / 1_000) + 86_400 } as Written['body'], bodies: [] }))
  }
  #refused(code: DenialCode, gate: SigningGate): void {
    const { scope, action_commit, sub, act, policy } = this.#permit.entry as Permit & Entry
    this.#add({ kind: 'deny', code, scope, action_commit, sub, act, aud: gate.key.kid, challenge: token(), policy })
  }
  /** Kills that are lifted, and the policies confirmed anew. */
  #governed(round: number): void {
    if (round % KILL_EVERY === 0) for (const event of ['killed', 'lift_asked', 'lifted'] as const) this.#add({ kind: 'kill', selector: 'agent:nobody', event, by: BY })
    if (round % POLICY_EVERY !== 0) return
    const { epoch, policyDigest } = this.#log.state
    this.#add({ kind: 'policy', digest: policyDigest, epoch: epoch + 1, policies: ['a', 'b', 'c'], by: BY })
  }
}

function fresh(): object {
  const jti = token()
  return { jti, txn: jti }
}
