import { parseAction, scopeOf } from '../action.ts'
import type { Permit } from '../artifact/artifact.ts'
import { leafDigest, parseSealed, verifySealInclusion } from '../artifact/seal.ts'
import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { commitment, digestOf } from '../digest.ts'
import { fromBase64Url } from '../encoding.ts'
import { canonicalize } from '../json/canonicalize.ts'
import { type Checkpoint, verifyCheckpoint } from '../log/checkpoint.ts'
import { type Entry, parseEntry } from '../log/entry.ts'
import type { NoteKey } from '../log/note.ts'
import { verifyDenialReport } from '../receipt/denial-report.ts'
import { type SigningKey, signingKey } from '../receipt/jws.ts'
import { type Receipt, verifyReceipt } from '../receipt/receipt.ts'
import type { Body, Bundle } from './bundle.ts'
import type { Finding, Report, Verdict } from './report.ts'

export interface Trust {
  readonly crypto: Crypto
  /** The log key that the verifier holds; nothing in the bundle can replace it. */
  readonly logKey: NoteKey
  /** Gate keys that the verifier holds independently of the plane; others count only as enrolled by the plane. */
  readonly gateKeys: readonly SigningKey[]
}

interface Logged {
  readonly entry: Entry
  readonly leaf: string
}

/**
 * Checks a bundle with nothing but itself and the keys in `trust`.
 * @returns what is established, what is not, and what is contradicted; it never throws for what the bundle says
 */
export function verifyBundle(bundle: Bundle, trust: Trust): Report {
  return new BundleVerifier(bundle, trust).run()
}

class BundleVerifier {
  readonly #bundle: Bundle
  readonly #trust: Trust
  readonly #findings: Finding[] = []
  readonly #notShown: string[] = []
  readonly #entries = new Map<number, Logged>()
  readonly #permits = new Map<string, Logged & { entry: Permit }>()
  readonly #gates = new Map<string, { key: SigningKey; seq: number }>()
  readonly #receipts: { seq: number; receipt: Receipt; resolves: number | undefined }[] = []
  readonly #commits = new Set<string>()
  #head: Checkpoint | undefined

  constructor(bundle: Bundle, trust: Trust) {
    this.#bundle = bundle
    this.#trust = trust
  }

  run(): Report {
    if (this.#claim('the checkpoint is signed by the given log key', () => this.#checkpoint())) {
      for (const sealed of this.#bundle.entries) this.#sealedEntry(sealed)
      this.#gateKeys()
      this.#gateStatements()
      this.#endings()
      this.#bodies()
      this.#policies()
      this.#gaps()
    }
    const contradicted = this.#findings.some((f) => f.verdict === 'contradicted')
    const open = this.#findings.every((f) => f.verdict !== 'established')
    const verdict: Verdict = contradicted ? 'contradicted' : open ? 'not established' : 'established'
    const kinds = [...this.#entries.values()].map((e) => e.entry.kind)
    const count = (kind: string): number => kinds.filter((k) => k === kind).length
    return {
      verdict,
      origin: this.#bundle.origin,
      size: this.#head?.size ?? 0,
      entries: this.#entries.size,
      permits: count('permit'),
      receipts: count('receipt'),
      denials: count('deny'),
      findings: this.#findings,
      notShown: this.#notShown,
    }
  }

  #found(verdict: Verdict, claim: string, at: { seq?: number; jti?: string } = {}): void {
    this.#findings.push({ verdict, claim, ...at })
  }

  /** Runs one proof: established, or contradicted with the reason. */
  #claim(claim: string, prove: () => void, at: { seq?: number; jti?: string } = {}): boolean {
    try {
      prove()
      this.#found('established', claim, at)
      return true
    } catch (error) {
      const reason = error instanceof Denied ? `${error.code}: ${error.message}` : 'the check itself failed'
      this.#found('contradicted', `${claim} (${reason})`, at)
      return false
    }
  }

  #checkpoint(): void {
    const checkpoint = verifyCheckpoint(this.#bundle.checkpoint, this.#trust.logKey, this.#trust.crypto)
    if (checkpoint.origin !== this.#bundle.origin) throw new Denied('key_unknown', 'the bundle names another log')
    this.#head = checkpoint
    const cosigners = this.#bundle.checkpoint.split('\n\u2014 ').length - 2
    if (cosigners <= 0) this.#notShown.push('no witness cosigned: that this is the only history is the word of the log key')
  }

  #sealedEntry(sealed: { entry: string; proof: string }): void {
    const { crypto } = this.#trust
    const head = this.#head as Checkpoint
    this.#claim('the entry is in the log', () => {
      const seal = parseSealed(sealed as never)
      if (seal.proof.checkpoint !== this.#bundle.checkpoint) throw new Denied('seal_invalid', 'the proof leads to another checkpoint')
      const leaf = verifySealInclusion(seal, head, crypto)
      const entry = parseEntry(seal.entry)
      if (entry.seq !== seal.proof.index) throw new Denied('seal_invalid', 'seq is not the leaf index')
      if (entry.tenant !== this.#bundle.tenant) throw new Denied('tenant_mismatch')
      if (this.#entries.has(entry.seq)) throw new Denied('artifact_malformed', 'the entry stands twice in the bundle')
      this.#register({ entry, leaf: leafDigest(leaf) })
    })
  }

  #register(logged: Logged): void {
    const { entry } = logged
    this.#entries.set(entry.seq, logged)
    const commits: (string | undefined)[] = []
    if (entry.kind === 'permit') {
      this.#permits.set(entry.jti, { entry, leaf: logged.leaf })
      commits.push(entry.action_commit, entry.env.commit, entry.policy.inputs_commit)
    } else if (entry.kind === 'deny' || entry.kind === 'hold') {
      commits.push(entry.action_commit, entry.policy?.inputs_commit)
    } else if (entry.kind === 'gate') {
      commits.push(entry.env?.commit)
    }
    for (const commit of commits) if (commit !== undefined) this.#commits.add(commit)
  }

  /** A gate is its key: an enrolment under the thumbprint of another key is a contradiction, not a new key. */
  #gateKeys(): void {
    const { crypto, gateKeys } = this.#trust
    for (const { entry } of this.#entries.values()) {
      if (entry.kind !== 'gate' || entry.event !== 'enrolled' || entry.key === undefined) continue
      const { gate, key: text, seq } = entry
      this.#claim('the gate was enrolled with the key that it is named by', () => {
        const key = signingKey(fromBase64Url(text), crypto.sha256)
        if (key.kid !== gate) throw new Denied('key_unknown', 'the gate is not the thumbprint of its key')
        if (!this.#gates.has(gate)) this.#gates.set(gate, { key, seq })
      }, { seq })
      if (!gateKeys.some((k) => k.kid === gate)) this.#notShown.push(`the key of gate ${gate} is only as enrolled by the plane; give it with --gate-key to hold it independently`)
    }
    for (const key of gateKeys) if (!this.#gates.has(key.kid)) this.#notShown.push(`no gate in this bundle holds the given gate key ${key.kid}`)
  }

  #gateStatements(): void {
    const { crypto } = this.#trust
    for (const { entry } of this.#entries.values()) {
      const { seq } = entry
      if (entry.kind === 'receipt') {
        const permit = this.#permits.get(entry.jti)
        if (permit === undefined) {
          this.#found('not established', 'the receipt belongs to a permit that is not in this bundle', { seq, jti: entry.jti })
          continue
        }
        const gate = this.#gates.get(permit.entry.aud)
        if (gate === undefined) {
          this.#found('not established', 'the gate that signed the receipt is not enrolled in this bundle', { seq, jti: entry.jti })
          continue
        }
        this.#claim('the gate signed the receipt, and it belongs to its permit', () => {
          const receipt = verifyReceipt(entry.receipt, gate.key, crypto)
          bindReceipt(receipt, entry.jti, permit, seq)
          this.#receipts.push({ seq, receipt, resolves: entry.resolves })
          if (receipt.result_commit !== undefined) this.#commits.add(receipt.result_commit)
        }, { seq, jti: entry.jti })
      } else if (entry.kind === 'deny' && entry.denial !== undefined) {
        const gate = this.#gates.get(entry.aud ?? '')
        if (gate === undefined) {
          this.#found('not established', 'the gate that signed the denial is not enrolled in this bundle', { seq })
          continue
        }
        const { code, aud, denial } = entry
        this.#claim('the gate signed the denial', () => {
          const report = verifyDenialReport(denial, gate.key, crypto)
          if (report.code !== code || report.gate !== aud) throw new Denied('seal_invalid', 'denial and entry disagree')
        }, { seq })
      }
    }
  }

  /** Every permit has exactly one effective ending: its receipts and expiries, less those that a late receipt resolves. */
  #endings(): void {
    const endings = new Map<string, number>()
    const add = (jti: string, count: number): void => void endings.set(jti, (endings.get(jti) ?? 0) + count)
    for (const { entry } of this.#entries.values()) if (entry.kind === 'expiry') add(entry.jti, 1)
    for (const { receipt, resolves } of this.#receipts) {
      const replaced = resolves === undefined ? undefined : this.#entries.get(resolves)?.entry
      const isResolved = replaced?.kind === 'expiry' && replaced.jti === receipt.jti && replaced.outcome === 'indeterminate'
      add(receipt.jti, isResolved ? 0 : 1)
    }
    for (const { entry } of this.#permits.values()) {
      const { jti, seq } = entry
      const effective = endings.get(jti) ?? 0
      if (effective === 1) this.#found('established', 'the permit has exactly one effective ending', { seq, jti })
      else if (effective > 1) this.#found('contradicted', 'the permit has more than one effective ending', { seq, jti })
      else this.#notShown.push(`permit ${jti} at index ${seq} is open: the bundle holds no receipt and no ending for it`)
    }
  }

  #bodies(): void {
    const { sha256 } = this.#trust.crypto
    const known = new Set<string>()
    for (const body of this.#bundle.bodies) {
      known.add(body.commit)
      this.#claim(`the ${body.purpose} body is the one that was committed to`, () => {
        if (!this.#commits.has(body.commit)) throw new Denied('action_mismatch', 'no entry holds this commitment')
        if (commitment(body.purpose, body.salt, body.digest, sha256) !== body.commit) throw new Denied('action_mismatch', 'salt or digest differs')
        if (body.body !== undefined && digestOf(canonicalize(body.body), sha256) !== body.digest) throw new Denied('action_mismatch', 'the body differs')
        this.#boundScope(body)
      })
    }
    const absent = [...this.#commits].filter((commit) => !known.has(commit)).length
    if (absent > 0) this.#notShown.push(`${absent} bodies are not in this bundle (erased, or not exported)`)
  }

  /** The scope that a leaf shows in clear is that of the action behind its commitment. */
  #boundScope(body: Body): void {
    if (body.purpose !== 'action' || body.body === undefined) return
    const scope = scopeOf(parseAction(body.body))
    for (const { entry } of this.#entries.values()) {
      if ((entry.kind !== 'permit' && entry.kind !== 'deny') || entry.action_commit !== body.commit || entry.scope === undefined) continue
      const same = entry.scope.type === scope.type && entry.scope.name === scope.name && entry.scope.target === scope.target
      if (!same) throw new Denied('action_mismatch', 'the scope is not that of the action')
    }
  }

  #policies(): void {
    const { sha256 } = this.#trust.crypto
    const digests = new Set<string>()
    for (const set of this.#bundle.policies) {
      digests.add(set.digest)
      this.#claim('the policy set has the digest that decisions name', () => {
        if (digestOf(canonicalize(set.files), sha256) !== set.digest) throw new Denied('seal_invalid', 'the policy texts differ')
      })
    }
    const missing = new Set<string>()
    for (const { entry } of this.#permits.values()) if (!digests.has(entry.policy.digest)) missing.add(entry.policy.digest)
    for (const digest of missing) this.#notShown.push(`the policy set ${digest} is not in this bundle`)
  }

  /** Missing receipts show as gaps in the numbering of a gate session. */
  #gaps(): void {
    const sessions = new Map<string, number[]>()
    for (const { receipt } of this.#receipts) {
      const key = `${receipt.gate} session ${receipt.session}`
      const list = sessions.get(key) ?? []
      list.push(receipt.sequence)
      sessions.set(key, list)
    }
    for (const [session, numbers] of sessions) {
      numbers.sort((a, b) => a - b)
      if (new Set(numbers).size !== numbers.length) this.#found('contradicted', `gate ${session} used a sequence number twice`)
      const missing = (numbers.at(-1) ?? 0) + 1 - new Set(numbers).size
      if (missing > 0) this.#notShown.push(`${missing} receipts of gate ${session} are not in this bundle (gaps in its numbering)`)
    }
  }
}

function bindReceipt(receipt: Receipt, jti: string, permit: Logged & { entry: Permit }, seq: number): void {
  if (receipt.jti !== jti || receipt.leaf_hash !== permit.leaf) throw new Denied('seal_invalid', 'the receipt is about another permit')
  if (receipt.gate !== permit.entry.aud) throw new Denied('audience_mismatch', 'the receipt is of another gate')
  if (receipt.tenant !== permit.entry.tenant) throw new Denied('tenant_mismatch')
  if (seq <= permit.entry.seq) throw new Denied('seal_invalid', 'the receipt stands before its permit')
}
