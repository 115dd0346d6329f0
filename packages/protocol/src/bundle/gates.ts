import type { Crypto } from '../crypto.ts'
import type { Permit } from '../artifact/artifact.ts'
import { Denied } from '../denial.ts'
import { fromBase64Url } from '../encoding.ts'
import type { DenyEntry, GateEntry, ReceiptEntry } from '../log/entries.ts'
import type { EntryHead } from '../log/entry.ts'
import { verifyDenialReport } from '../receipt/denial-report.ts'
import { type SigningKey, signingKey } from '../receipt/jws.ts'
import { type Receipt, verifyReceipt } from '../receipt/receipt.ts'
import { startRefusal } from '../receipt/window.ts'
import type { KnownPermit } from './endings.ts'
import { Numbering } from './numbering.ts'
import type { Keys } from './keys.ts'
import type { Tally } from './tally.ts'

/** What gates signed, under the keys that they were enrolled with. */
export class Gates {
  readonly #given: readonly SigningKey[]
  readonly #log: Keys
  readonly #crypto: Crypto
  readonly #tally: Tally
  readonly #keys = new Map<string, SigningKey>()
  readonly #numbering = new Numbering()
  /** Level of the newest session of a gate in an environment. */
  readonly #levels = new Map<string, string>()
  #softwareOnly = 0

  /** @param given keys that the verifier holds independently of the plane */
  constructor(given: readonly SigningKey[], log: Keys, crypto: Crypto, tally: Tally) {
    this.#given = given
    this.#log = log
    this.#crypto = crypto
    this.#tally = tally
  }

  /** A gate is its key: an enrolment under the thumbprint of another key is a contradiction, not a new key. */
  enrolled({ gate, event, key: text, anchor, seq, env }: GateEntry & EntryHead): void {
    if (env !== undefined) this.#levels.set(`${gate} ${env.commit}`, env.level)
    this.#log.checkGate(gate, seq)
    this.#tally.prove('the gate was given a key of this log', () => this.#log.verifyAnchor(anchor), { seq })
    if (event !== 'enrolled' || text === undefined) return
    this.#tally.claim('the gate was enrolled with the key that it is named by', () => {
      const key = signingKey(fromBase64Url(text), this.#crypto.sha256)
      if (key.kid !== gate) throw new Denied('key_unknown', 'the gate is not the thumbprint of its key')
      if (!this.#keys.has(gate)) this.#keys.set(gate, key)
    }, { seq })
    if (!this.#given.some(({ kid }) => kid === gate)) this.#tally.notShown(`the key of gate ${gate} is only as enrolled by the plane; give it with --gate-key to hold it independently`)
  }

  /** Evidence is what the session was opened with, never more. @returns whether that session is known */
  permitted({ seq, jti, aud, env }: Permit): boolean {
    if (env.level === 'software') this.#softwareOnly++
    const level = this.#levels.get(`${aud} ${env.commit}`)
    if (level !== undefined && level !== env.level) this.#tally.found('contradicted', `the permit claims ${env.level} evidence of an environment whose session has ${level}`, { seq, jti })
    return level !== undefined
  }

  /** @returns the receipt where it is the one of `permit` */
  receipt({ jti, seq, receipt: token }: ReceiptEntry & EntryHead, permit: KnownPermit | undefined): Receipt | undefined {
    const at = { seq, jti }
    if (permit === undefined) return void this.#tally.found('not established', 'the receipt belongs to a permit that is not in this bundle', at)
    const key = this.#key(permit.aud)
    if (key === undefined) return void this.#tally.found('not established', 'the gate that signed the receipt is not enrolled in this bundle', at)
    this.#log.checkGate(permit.aud, seq)
    if (!this.#log.counts(permit.aud, seq)) return void this.#tally.found('not established', 'the receipt is of a gate whose key is revoked from an index on that is not above this one', at)
    const receipt = this.#tally.claim('the gate signed the receipt, and it is about this permit', () => {
      const claims = verifyReceipt(token, key, this.#crypto)
      bind(claims, jti, permit, seq)
      this.#log.verifyAnchor(claims.anchor)
      return claims
    }, at)?.value
    if (receipt !== undefined && !this.#numbering.use(`${receipt.gate} session ${receipt.session}`, receipt.sequence)) {
      this.#tally.found('contradicted', `gate ${receipt.gate} session ${receipt.session} used a sequence number twice`, at)
    }
    return receipt
  }

  denial({ seq, aud, code, tenant, denial: token }: DenyEntry & EntryHead): void {
    if (token === undefined) return
    const key = this.#key(aud ?? '')
    if (key === undefined) return this.#tally.found('not established', 'the gate that signed the denial is not enrolled in this bundle', { seq })
    if (!this.#log.counts(aud ?? '', seq)) return this.#tally.found('not established', 'the denial is of a gate whose key is revoked from an index on that is not above this one', { seq })
    this.#tally.claim('the gate signed the denial', () => {
      const report = verifyDenialReport(token, key, this.#crypto)
      if (report.code !== code || report.gate !== aud) throw new Denied('seal_invalid', 'denial and entry disagree')
      if (report.tenant !== tenant) throw new Denied('tenant_mismatch')
    }, { seq })
  }

  /** The key that the verifier holds, or else the one that the log enrolled. */
  #key(gate: string): SigningKey | undefined {
    return this.#given.find(({ kid }) => kid === gate) ?? this.#keys.get(gate)
  }

  end(): void {
    if (this.#softwareOnly > 0) this.#tally.notShown(`the environments of ${this.#softwareOnly} permits rest on software-only evidence: what their gates said of their own hosts`)
    for (const { session, missing } of this.#numbering.gaps()) this.#tally.notShown(`${missing} receipts of gate ${session} are not in this bundle (gaps in its numbering)`)
    for (const { kid } of this.#given) if (!this.#keys.has(kid)) this.#tally.notShown(`no gate in this bundle holds the given gate key ${kid}`)
  }
}

function bind(receipt: Receipt, jti: string, permit: KnownPermit, seq: number): void {
  if (receipt.jti !== jti || receipt.leaf_hash !== permit.leaf) throw new Denied('seal_invalid', 'the receipt is about another permit')
  if (receipt.gate !== permit.aud) throw new Denied('audience_mismatch', 'the receipt is of another gate')
  if (receipt.tenant !== permit.tenant) throw new Denied('tenant_mismatch')
  if (seq <= permit.seq) throw new Denied('seal_invalid', 'the receipt stands before its permit')
  const outside = startRefusal(receipt.started, permit.nbf * 1_000, permit.exp * 1_000)
  if (outside !== undefined) throw new Denied(outside, 'it began outside of the time of its permit')
}
