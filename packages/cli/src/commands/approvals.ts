import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeClock, nodeCryptography, nodeRng } from '@sealwrit/gate'
import { approvalInput, type ApprovalStatement, attachSignature, canonicalize, commitment, type Digest, digestOf, foreignPerson, isToken, type JsonObject, type JsonValue, originOf, parseEntry, parseSealed, present, signingKey, toBase64Url, TOKEN_BYTES, utf8 } from '@sealwrit/protocol'
import { type Grant, parseGrant } from '../approval/grant.ts'
import { type CheckedHold, checkHold } from '../approval/hold.ts'
import { renderGrant, renderHold } from '../approval/render.ts'
import { CliError, EXIT } from '../errors.ts'
import { allOf, askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder, readVerifierKey } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'
import { approverKeyFile, explainedKey } from './approver.ts'
import { readForeign } from './federation.ts'

/** Lists what waits for approval, or shows one hold on one screen. */
export async function approvals(options: GlobalOptions & { show?: string; all?: boolean }): Promise<void> {
  const folder = findFolder(options.dir)
  if (options.show !== undefined) {
    const hold = await shownHold(folder, options.show)
    if (options.json === true) return json({ ...hold.listed, action: hold.action, leaf_hash: hold.leafHash, action_commit: hold.entry.action_commit })
    for (const text of renderHold(hold, nodeClock.wallMs())) line(text)
    return
  }
  const holds = await allOf(folder, 'approvals.list', { all: options.all === true })
  if (options.json === true) return json({ holds })
  if (holds.length === 0) return line('nothing waits for approval')
  for (const { hold, scope, act, risk, approval, approvals: given, ended } of holds) {
    const left = Math.ceil(approval.expires - nodeClock.wallMs() / 1_000)
    const state = ended === undefined ? yellow(left > 0 ? `${left} s left` : 'over') : ended === 'rejected' ? red(ended) : dim(ended)
    line(`${bold(hold)}  ${plain(scope.target)}/${plain(scope.name)}  ${plain(act.sub)}${act.verified ? '' : ' (unverified)'}  ${risk ?? ''}  ${given.length} of ${approval.quorum} ${plain(approval.groups.join('|'))}  ${state}`)
  }
  line(dim('look before you approve: sealwrit approvals --show ID'))
}

async function shownHold(folder: PlaneFolder, id: string): Promise<CheckedHold> {
  const shown = id.slice(0, 32)
  if (!isToken(id)) throw new CliError(`\`${shown}\` is no id of a hold`, { exit: EXIT.usage, hint: 'list what waits: sealwrit approvals' })
  try {
    return checkHold(await askPlane(folder, 'approvals.show', { hold: id }), id, readVerifierKey(folder.verifierKey))
  } catch (error) {
    if (error instanceof CliError && error.code === 'approval_required') throw new CliError(`no hold ${id} is known`, { hint: 'list what waits: sealwrit approvals' })
    throw error
  }
}

/** Approves exactly what `approvals --show` shows, by a signature over it. */
export async function approve(id: string, options: GlobalOptions & { as?: string; grant?: string; voucher?: string }): Promise<void> {
  const folder = findFolder(options.dir)
  const hold = await shownHold(folder, id)
  const grant = options.grant === undefined ? undefined : parseGrant(options.grant, hold.action, now())
  const body = grant === undefined ? undefined : salted('grant', grant.bounds as unknown as JsonValue)
  const bounds = grant === undefined || body === undefined ? undefined : present({ uses: grant.uses, until: grant.until, tool_digest: hold.action.type === 'mcp.tool_call' ? hold.action.tool_digest : undefined, arguments_commit: body.commit })
  const answer = await decide(folder, hold, options.as, { decision: 'approved', ...(bounds === undefined ? {} : { grant: bounds }) }, body === undefined ? {} : { grant: body.body }, options.voucher === undefined ? undefined : readForeign(options.voucher))
  if (options.json === true) return json(answer)
  for (const text of [...renderHold(hold, nodeClock.wallMs()), ...(grant === undefined ? [] : renderGranted(grant))]) line(text)
  line(`${green(bold('approved'))}  recorded at index ${answer.seq}; ${answer.approvals} of ${answer.quorum}${answer.approvals >= answer.quorum ? ': the call runs when it is asked again' : ''}`)
}

function renderGranted({ uses, until, bounds }: Grant): string[] {
  return renderGrant(uses, until, bounds)
}

/** Rejects a hold for good; grants that stand on it end too. */
export async function reject(id: string, options: GlobalOptions & { as?: string; reason?: string }): Promise<void> {
  const folder = findFolder(options.dir)
  const hold = await shownHold(folder, id)
  const body = options.reason === undefined ? undefined : salted('reason', { text: options.reason })
  const answer = await decide(folder, hold, options.as, { decision: 'rejected', ...(body === undefined ? {} : { reason_commit: body.commit }) }, body === undefined ? {} : { reason: body.body })
  if (options.json === true) return json(answer)
  line(`${red(bold('rejected'))}  ${plain(hold.action.target)}/${plain(hold.action.name)}, recorded at index ${answer.seq}`)
}

type Said = Pick<ApprovalStatement, 'decision'> & Partial<Pick<ApprovalStatement, 'grant' | 'reason_commit'>>

async function decide(folder: PlaneFolder, { entry, leafHash }: CheckedHold, as: string | undefined, said: Said, bodies: object, voucher?: JsonObject): Promise<{ seq: number; event: string; approvals: number; quorum: number }> {
  const key = explainedKey(approverKeyFile(folder, as ?? onlyApprover(folder)), false)
  const { kid } = signingKey(key.publicKey, nodeCryptography.sha256)
  const person = voucher === undefined ? await registered(folder, kid) : vouchedFor(voucher)
  if (person === undefined) throw new CliError('this key belongs to no approver', { code: 'identity_unknown', hint: 'register it: sealwrit approver add NAME --group GROUP' })
  const { tenant, hold, seq: index, action_commit: commit, aud, sub } = entry
  const statement = present<ApprovalStatement>({ tenant, person, hold, index, leaf_hash: leafHash, action_commit: commit as Digest, aud: aud as string, sub: sub as string, iat: now(), ...said } as ApprovalStatement)
  const input = approvalInput(statement, kid)
  const signature = attachSignature(input, key.sign(utf8(input)))
  return await askPlane(folder, 'approvals.decide', { hold, signature, ...bodies, ...(voucher === undefined ? {} : { voucher }) })
}

async function registered(folder: PlaneFolder, kid: string): Promise<string | undefined> {
  return (await allOf(folder, 'approvers.list')).find(({ keys }) => keys.includes(kid))?.person
}

/** As whom the plane that made the voucher knows them; whether it holds, this plane says. */
function vouchedFor(voucher: JsonObject): string {
  const seal = parseSealed(voucher['sealed'])
  const entry = parseEntry(seal.entry)
  if (entry.kind !== 'voucher') throw new CliError('the file holds no voucher', { code: 'type_mismatch', hint: 'at the other plane: sealwrit approver voucher NAME --for ORIGIN -o FILE' })
  return foreignPerson(entry.person, originOf(seal))
}

function onlyApprover(folder: PlaneFolder): string {
  const dir = path.join(folder.dir, 'approvers')
  const names = fs.existsSync(dir) ? fs.readdirSync(dir).filter((name) => name.endsWith('.pem')) : []
  const [only] = names
  if (names.length !== 1 || only === undefined) throw new CliError(names.length === 0 ? 'no key of an approver is here' : `${names.length} keys of approvers are here`, { exit: EXIT.usage, hint: 'say who you are with --as NAME' })
  return only.slice(0, -'.pem'.length)
}

function salted(purpose: 'grant' | 'reason', value: JsonValue): { commit: Digest; body: { salt: string; value: JsonValue } } {
  const { sha256 } = nodeCryptography
  const salt = toBase64Url(nodeRng.bytes(TOKEN_BYTES))
  return { commit: commitment(purpose, salt, digestOf(canonicalize(value), sha256), sha256), body: { salt, value } }
}

function now(): number {
  return Math.floor(nodeClock.wallMs() / 1_000)
}
