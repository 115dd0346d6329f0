import type { Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { fromUtf8, toHex } from '../encoding.ts'
import { type CosignerKey, parseCosignerKey } from './cosignature.ts'
import { type NoteKey, parseVerifierKey } from './note.ts'

/** Limits of a policy file; the format recommends at least 32 of each. @see c2sp.org/tlog-policy "Implementation limits" */
export const MAX_POLICY_FILE_BYTES = 65_536
export const MAX_POLICY_LOGS = 32
export const MAX_POLICY_WITNESSES = 32
export const MAX_POLICY_GROUPS = 64

export interface PolicyLog {
  readonly key: NoteKey
  readonly url?: string
}
export interface PolicyWitness {
  /** As the policy names it; says nothing outside of the file. */
  readonly name: string
  readonly key: CosignerKey
  readonly url?: string
}

/** The rule that says which cosignatures suffice. */
export type Quorum =
  | { readonly kind: 'none' }
  | { readonly kind: 'witness'; readonly witness: PolicyWitness }
  | { readonly kind: 'group'; readonly threshold: number; readonly members: readonly Quorum[] }

/** Which logs and witnesses are known, and which cosignatures make a checkpoint valid. @see c2sp.org/tlog-policy */
export interface WitnessPolicy {
  readonly logs: readonly PolicyLog[]
  readonly witnesses: readonly PolicyWitness[]
  readonly quorum: Quorum
}

/** `quorum none`: the policy of who decided to ask no witness. It is said, never assumed. */
export const NO_WITNESSES: WitnessPolicy = Object.freeze<WitnessPolicy>({ logs: [], witnesses: [], quorum: { kind: 'none' } })

/**
 * Reads a policy file.
 * @throws {Denied} `request_malformed`, naming the line
 * @see c2sp.org/tlog-policy "Policy file syntax and structure"
 */
export function parseWitnessPolicy(file: Uint8Array, sha256: Sha256): WitnessPolicy {
  if (file.length > MAX_POLICY_FILE_BYTES) throw new Denied('request_malformed', `a witness policy of more than ${MAX_POLICY_FILE_BYTES} bytes`)
  // One character an octet: names are opaque octets, compared as they are.
  const lines = Array.from(file, (octet) => String.fromCharCode(octet)).join('').split('\n')
  const reader = new PolicyReader(sha256)
  if (lines.pop() !== '') throw at(lines.length + 1, 'the last line does not end in a newline')
  lines.forEach((line, i) => reader.line(line, i + 1))
  return reader.end(lines.length)
}

function at(line: number, what: string): Denied {
  return new Denied('request_malformed', `witness policy, line ${line}: ${what}`)
}

class PolicyReader {
  readonly #sha256: Sha256
  readonly #logs: PolicyLog[] = []
  readonly #witnesses: PolicyWitness[] = []
  /** Witnesses and groups by their name's octets. */
  readonly #named = new Map<string, Quorum>()
  readonly #members = new Set<string>()
  readonly #publicKeys = new Set<string>()
  #groups = 0
  #quorum: Quorum | undefined

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  line(line: string, number: number): void {
    // Only tab, 0x20-0x7E and 0x80-0xFF: no other control character.
    if (/[^\t\x20-\x7e\x80-\xff]/.test(line)) throw at(number, 'a control character')
    const [keyword, ...items] = line.split(/[ \t]+/).filter((item) => item !== '')
    if (keyword === undefined || keyword.startsWith('#')) return
    switch (keyword) {
      case 'log':
        return this.#log(items, number)
      case 'witness':
        return this.#witness(items, number)
      case 'group':
        return this.#group(items, number)
      case 'quorum':
        return this.#setQuorum(items, number)
      default:
        throw at(number, 'not log, witness, group or quorum')
    }
  }

  end(lines: number): WitnessPolicy {
    if (this.#quorum === undefined) throw at(lines + 1, 'there is no quorum line')
    return Object.freeze({ logs: this.#logs, witnesses: this.#witnesses, quorum: this.#quorum })
  }

  #log(items: readonly string[], number: number): void {
    const [vkey, url, more] = items
    if (vkey === undefined || more !== undefined) throw at(number, 'a log has a key and perhaps a URL')
    if (this.#logs.length >= MAX_POLICY_LOGS) throw at(number, `more than ${MAX_POLICY_LOGS} logs`)
    const key = this.#key(number, () => parseVerifierKey(text(vkey), this.#sha256))
    this.#once(`log ${toHex(key.publicKey)}`, number, 'this log stands here twice')
    this.#logs.push({ key, ...(url === undefined ? {} : { url: text(url) }) })
  }

  #witness(items: readonly string[], number: number): void {
    const [name, vkey, url, more] = items
    if (name === undefined || vkey === undefined || more !== undefined) throw at(number, 'a witness has a name, a key and perhaps a URL')
    if (this.#witnesses.length >= MAX_POLICY_WITNESSES) throw at(number, `more than ${MAX_POLICY_WITNESSES} witnesses`)
    const key = this.#key(number, () => parseCosignerKey(text(vkey), this.#sha256))
    this.#once(`witness ${toHex(key.publicKey)}`, number, 'this witness stands here twice')
    const witness: PolicyWitness = { name: text(name), key, ...(url === undefined ? {} : { url: text(url) }) }
    this.#witnesses.push(witness)
    this.#name(name, number, { kind: 'witness', witness })
  }

  #group(items: readonly string[], number: number): void {
    const [name, rule, ...names] = items
    if (name === undefined || rule === undefined || names.length === 0) throw at(number, 'a group has a name, a threshold and members')
    if (++this.#groups > MAX_POLICY_GROUPS) throw at(number, `more than ${MAX_POLICY_GROUPS} groups`)
    const members = names.map((member) => {
      const found = this.#named.get(member)
      if (found === undefined) throw at(number, 'a member is not defined on a line before')
      if (this.#members.has(member)) throw at(number, 'a member stands in a group already')
      this.#members.add(member)
      return found
    })
    this.#name(name, number, { kind: 'group', threshold: threshold(rule, members.length, number), members })
  }

  #setQuorum(items: readonly string[], number: number): void {
    const [name, more] = items
    if (name === undefined || more !== undefined) throw at(number, 'a quorum has one name')
    if (this.#quorum !== undefined) throw at(number, 'a second quorum line')
    this.#quorum = name === 'none' ? { kind: 'none' } : this.#named.get(name)
    if (this.#quorum === undefined) throw at(number, 'the quorum is not defined on a line before')
  }

  #name(name: string, number: number, quorum: Quorum): void {
    if (name === 'none') throw at(number, 'the name none is taken')
    if (this.#named.has(name)) throw at(number, 'this name is taken')
    this.#named.set(name, quorum)
  }

  #once(key: string, number: number, what: string): void {
    if (this.#publicKeys.has(key)) throw at(number, what)
    this.#publicKeys.add(key)
  }

  #key<T>(number: number, read: () => T): T {
    try {
      return read()
    } catch (error) {
      throw at(number, error instanceof Denied ? error.message : 'not a verifier key')
    }
  }
}

/** 1 ≤ k ≤ n, in decimal without leading zeros. */
function threshold(rule: string, members: number, number: number): number {
  if (rule === 'any') return 1
  if (rule === 'all') return members
  const k = /^[1-9][0-9]{0,4}$/.test(rule) ? Number(rule) : 0
  if (k < 1 || k > members) throw at(number, `the threshold is not any, all or 1 to ${members}`)
  return k
}

/** Octets as UTF-8, or one character an octet where they are not. Never compared. */
function text(octets: string): string {
  try {
    return fromUtf8(Uint8Array.from(octets, (c) => c.charCodeAt(0)))
  } catch {
    return octets
  }
}
