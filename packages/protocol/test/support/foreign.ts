import {
  type Artifact, consistencyProof, cosignedMessage, type CosignerKey, cosignerKey, formatCosignature, formatProof, type ForeignPlane, type ForeignState, fromBase64Url, inclusionProof, type JsonObject, noteKey, parseNote, parseWitnessPolicy, present, toBase64, trustList,
  toBase64Url, utf8, formatCosignerKey, type VoucherEntry,
} from '@sealwrit/protocol'
import { crypto, keyPair, LOG_KEY, NOW, permitBody, SALT, sha256, TestLog } from './fixture.ts'

export const AWAY = keyPair('away')
export const AWAY_KEY = noteKey('away.test/default', AWAY.publicKey, sha256)
/** Origin of the plane that takes things. */
export const HOME = LOG_KEY.name

export const WITNESSES: readonly { key: CosignerKey; sign: (message: Uint8Array) => Uint8Array }[] = ['x', 'y', 'z'].map((name) => {
  const { publicKey, sign } = keyPair(`away witness ${name}`)
  return { key: cosignerKey(`${name}.away.test/w`, publicKey, sha256), sign }
})
export const TWO_OF_THREE = parseWitnessPolicy(utf8(`${WITNESSES.map(({ key }, i) => `witness w${i} ${formatCosignerKey(key)}\n`).join('')}group two 2 w0 w1 w2\nquorum two\n`), sha256)

/** A note with cosignatures of the first `count` witnesses, made at `time`. */
export function cosign(note: string, time: number = NOW, count = 2): string {
  const { text } = parseNote(note)
  return note + WITNESSES.slice(0, count).map(({ key, sign }) => formatCosignature(key, time, sign(cosignedMessage(text, time)))).join('')
}

export const trusted = (change: Partial<ForeignPlane> = {}): ForeignPlane => ({
  key: AWAY_KEY, witnesses: TWO_OF_THREE, maxAgeSeconds: 60, accepts: ['artifacts', 'approvals'], groups: { 'their-secops': 'secops' },
  scopes: [{ type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file' }], ...change,
})

export function foreignState(change: Partial<ForeignState> = {}, plane: Partial<ForeignPlane> = {}): ForeignState {
  return { crypto, origin: HOME, trusted: trustList([trusted(plane)], HOME), newest: () => undefined, nowSeconds: NOW + 1, ...change }
}

export const CNF = toBase64Url(sha256(utf8('the agent')))
export function awayPermit(change: Partial<Omit<Artifact, 'cnf'>> & { cnf?: string | undefined } = {}): Artifact {
  const { challenge: _, ...rest } = permitBody({ iss: AWAY_KEY.name, aud: HOME, use: 'redeem', env: { commit: `sha256:${'d'.repeat(64)}`, level: 'none' }, ...(change as Partial<Artifact>) })
  return present<Artifact>({ ...rest, cnf: 'cnf' in change ? change.cnf : CNF, challenge: change.challenge })
}
export function voucher(change: Partial<VoucherEntry> = {}): VoucherEntry {
  return { kind: 'voucher', person: 'person:AAAAAAAAAAAAAAAAAAAAAA', key: toBase64Url(keyPair('away approver').publicKey), groups: ['their-ops', 'their-secops'], aud: HOME, exp: NOW + 300, ...change }
}

/** A log of another plane with one entry among others. */
export function awayLog(body: object, before = 3): { log: TestLog; index: number } {
  const log = new TestLog(AWAY_KEY, AWAY.sign)
  for (let i = 0; i < before; i++) log.add({ kind: 'deny', code: 'policy_denied', aud: `gate ${i}` })
  const index = log.add(body)
  log.add({ kind: 'deny', code: 'policy_no_match', aud: 'after' })
  return { log, index }
}

export interface Showing {
  readonly size?: number
  readonly from?: number
  readonly time?: number
  readonly cosigners?: number
  readonly salt?: string | undefined
}
/** An entry as it is shown to the other plane: under a cosigned checkpoint, with the proof from `from`. */
export function shown(log: TestLog, index: number, { size = log.leaves.length, from = 0, time = NOW, cosigners = 2, salt = SALT }: Showing = {}): JsonObject {
  const extra = salt === '' ? {} : { extra: fromBase64Url(salt) }
  const proof = formatProof({ ...extra, index, hashes: inclusionProof(index, size, log.subtree, sha256), checkpoint: cosign(log.note(size), time, cosigners) })
  const consistency = from > 0 && from < size ? consistencyProof(from, size, log.subtree, sha256).map(toBase64) : []
  return { sealed: { entry: log.leaves[index] as string, proof }, consistency }
}
