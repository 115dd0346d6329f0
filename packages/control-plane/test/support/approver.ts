import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { Plane } from '@sealwrit/control-plane'
import {
  approvalInput, type ApprovalRequest, type ApprovalStatement, attachSignature, canonicalize, commitment, digestOf, fromBase64Url, type GrantArguments, leafDigest, leafHash, parseEntry, present, signingKey, toBase64Url, utf8,
} from '@sealwrit/protocol'
import { sha256, TOOL_DIGEST } from './rig.ts'

export const REASON_SALT = 'AAAAAAAAAAAAAAAAAAAAAA'

/** A person with a key, who signs what the plane shows, or anything else. */
export class TestApprover {
  readonly keys: { publicKey: KeyObject; privateKey: KeyObject }
  readonly name: string
  person = ''

  constructor(name: string, keys: TestApprover['keys'] = generateKeyPairSync('ed25519')) {
    this.name = name
    this.keys = keys
  }

  static async registered(plane: Plane, name: string, groups: readonly string[] = ['secops'], sub?: string): Promise<TestApprover> {
    const approver = new TestApprover(name)
    await approver.register(plane, groups, sub)
    return approver
  }

  async register(plane: Plane, groups: readonly string[] = ['secops'], sub?: string): Promise<void> {
    this.person = (await plane.people.addApprover(present({ name: this.name, groups, key: this.publicKey, sub }), plane.sub)).person
  }

  get publicKey(): string {
    return (this.keys.publicKey.export({ format: 'jwk' }) as { x: string }).x
  }
  get kid(): string {
    return signingKey(fromBase64Url(this.publicKey), sha256).kid
  }

  /** A statement about a hold as the plane shows it. */
  async statement(plane: Plane, hold: string, change: Partial<ApprovalStatement> = {}): Promise<ApprovalStatement> {
    const { sealed } = await plane.people.hold(hold)
    const entry = parseEntry(sealed.entry)
    if (entry.kind !== 'hold') throw new TypeError('not a hold')
    return present<ApprovalStatement>({
      tenant: entry.tenant, person: this.person, hold, index: entry.seq, leaf_hash: leafDigest(leafHash(utf8(sealed.entry), sha256)), action_commit: entry.action_commit as string,
      aud: entry.aud as string, sub: entry.sub as string, decision: 'approved', iat: Math.floor(plane.nowMs / 1_000), ...change,
    })
  }

  sign(statement: ApprovalStatement): string {
    const input = approvalInput(statement, this.kid)
    return attachSignature(input, sign(null, utf8(input), this.keys.privateKey))
  }

  async request(plane: Plane, hold: string, change: Partial<ApprovalStatement> = {}): Promise<ApprovalRequest> {
    return { hold, signature: this.sign(await this.statement(plane, hold, change)) }
  }

  async approve(plane: Plane, hold: string, change: Partial<ApprovalStatement> = {}): Promise<{ seq: number; event: string; approvals: number; quorum: number }> {
    return plane.people.decideHold(await this.request(plane, hold, change))
  }
  async reject(plane: Plane, hold: string): Promise<{ seq: number }> {
    return this.approve(plane, hold, { decision: 'rejected' })
  }

  /** Approves with a grant for later requests. */
  async grant(plane: Plane, hold: string, uses: number, bounds: GrantArguments, seconds = 3_600, toolDigest: string = TOOL_DIGEST): Promise<{ seq: number }> {
    const salt = toBase64Url(sha256(utf8(`${hold} ${this.name}`)).subarray(0, 16))
    const commit = commitment('grant', salt, digestOf(canonicalize(bounds as never), sha256), sha256)
    const iat = Math.floor(plane.nowMs / 1_000)
    const { signature } = await this.request(plane, hold, { iat, grant: { uses, until: iat + seconds, tool_digest: toolDigest, arguments_commit: commit } })
    return plane.people.decideHold({ hold, signature, grant: { salt, value: bounds } })
  }
}
