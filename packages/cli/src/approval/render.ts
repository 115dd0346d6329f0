import { type Action, besideArguments, canonicalText, escapeControls, type GrantArguments, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import type { CheckedHold } from './hold.ts'

/** Code points beyond ASCII that are listed one by one. */
const MAX_CODE_POINTS = 64
/** Spaces in a row from which on they are counted instead of shown: padding must not push the rest out of view. */
const MAX_SPACES = 4

/**
 * JSON as approvers see it: whole, over several lines, every control, bidirectional and invisible character as `\u{…}`, long runs of spaces counted
 * (ATK-116). A backslash of the text itself is doubled, so that an escape cannot be imitated.
 */
export function visible(value: JsonValue): string[] {
  return JSON.stringify(value, null, 2)
    .split('\n')
    .map((line) => {
      const indent = /^ */.exec(line)?.[0] ?? ''
      return `${indent}${escapeControls(line.slice(indent.length)).replaceAll(/[\p{Zs}\u115f\u1160\u2800\u3164\uffa0]{1,}/gu, spaces)}`
    })
}

function spaces(run: string): string {
  if (run === ' '.repeat(run.length)) return run.length <= MAX_SPACES ? run : `\\u{20}×${run.length}`
  return [...run].map((c) => (c === ' ' ? c : `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`)).join('')
}

/** What is not ASCII, by code point: letters of other scripts can look like Latin ones. */
export function foreign(value: JsonValue): string | undefined {
  const counts = new Map<string, number>()
  for (const c of canonicalText(value)) if ((c.codePointAt(0) ?? 0) > 0x7e) counts.set(c, (counts.get(c) ?? 0) + 1)
  if (counts.size === 0) return undefined
  const named = [...counts].slice(0, MAX_CODE_POINTS).map(([c, count]) => `${/[\p{L}\p{N}\p{P}\p{S}]/u.test(c) ? `${c} ` : ''}U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}${count > 1 ? ` ×${count}` : ''}`)
  return `${named.join(', ')}${counts.size > MAX_CODE_POINTS ? ` and ${counts.size - MAX_CODE_POINTS} more` : ''}`
}

/** What may stand beside the arguments. */
const BESIDE: Readonly<Record<string, string>> = {
  input_responses: 'ANSWERS    to what the server asked for when it was called before',
  request_state: 'STATE      that the server gave the client to carry back',
  task: 'TASK       it goes on after its answer, and its result is fetched later',
}

/** One hold on one screen, as lines of plain text; nothing in it comes from a model's description of what it does. */
export function renderHold({ entry, action, isRedacted, delegation, listed, last }: CheckedHold, nowMs: number): string[] {
  const { approval, act, sub, aud, risk, policy, par, delegates, intent } = entry
  const shown = (text: string): string => visible(text)[0]?.slice(1, -1) ?? ''
  const left = Math.max(0, (approval?.expires ?? 0) * 1_000 - nowMs)
  const lines = [
    `hold       ${entry.hold}  (index ${entry.seq})`,
    `asked      ${instant(entry.time)} by ${shown(act?.sub ?? 'nobody')}${act?.verified === true ? '' : ' (unverified)'} for ${shown(sub ?? 'nobody')}`,
    `where      gate ${shown(aud ?? '')}`,
    ...(par === undefined ? [] : [`below      permit ${par.jti}`]),
    `action     ${action.type}  ${shown(action.target)}  ${shown(action.name)}`,
    ...(action.type === 'mcp.tool_call' ? [`definition ${action.tool_digest}`] : []),
    `intent     ${intent === undefined ? 'none was declared' : `${shown(intent)} (registered purpose; declared by the one who asks)`}`,
    `risk       ${risk ?? 'not said'}`,
    `held by    ${policy?.determining.map(shown).join(', ') ?? ''}`,
    `needs      ${approval?.quorum ?? 0} of group ${approval?.groups.join(' or ') ?? ''}, until ${instant((approval?.expires ?? 0) * 1_000)} (${listed.ended ?? (left === 0 ? 'over' : `${Math.ceil(left / 1_000)} s left`)})`,
    'arguments',
    ...visible(action.arguments as JsonObject).map((line) => `  ${line}`),
    ...Object.entries(besideArguments(action)).flatMap(([name, value]) => [BESIDE[name] ?? name, ...visible(value).map((line) => `  ${line}`)]),
  ]
  if (isRedacted) lines.push('UNSEEN     what stands as "[redacted]" is kept nowhere: whatever it is, you approve it too')
  if (delegates !== undefined && delegation !== undefined) lines.push(`DELEGATES  up to ${delegates.uses} requests of others below it, ${delegates.depth} levels deep, until ${instant(delegates.until * 1_000)}, within`, ...visible({ ...delegation } as unknown as JsonObject).map((line) => `  ${line}`))
  const others = foreign({ ...action, ...delegation } as unknown as JsonObject)
  if (others !== undefined) lines.push(`not ASCII  ${others}`)
  if (last !== undefined) lines.push(`since the last approved call of it (index ${last.seq})`, ...difference(last.action, action).map((line) => `  ${line}`))
  else lines.push('nothing of this name was approved before')
  lines.push(`approved   by ${listed.approvals.length} of ${approval?.quorum ?? 0}`)
  for (const { name, person, grant } of listed.approvals) {
    lines.push(`  ${shown(name ?? '(name erased)')}  ${shown(person)}${grant === undefined ? '' : '  with a grant for later requests:'}`)
    if (grant !== undefined) lines.push(...renderGrant(grant.uses, grant.until, grant.arguments).map((line) => `    ${line}`), `    ${grant.left} uses are left`)
  }
  return lines
}

/** A grant as its approver signs it. */
export function renderGrant(uses: number, until: number, bounds: GrantArguments | undefined): string[] {
  const lines = [`GRANT      up to ${uses} later requests like it, without asking, until ${instant(until * 1_000)}, where`]
  if (bounds === undefined) return [...lines, '  (what the arguments may be was erased: it covers nothing)']
  for (const [name, bound] of Object.entries(bounds)) lines.push(`  ${visible(name)[0]} ${boundText(bound)}`)
  return [...lines, '  and there are no other arguments']
}

function boundText(bound: GrantArguments[string]): string {
  const json = (value: JsonValue): string => visible(value).map((line) => line.trimStart()).join(' ')
  if ('equals' in bound) return `is ${json(bound.equals)}`
  if ('one_of' in bound) return `is one of ${bound.one_of.map(json).join(', ')}`
  if ('prefix' in bound) return `is a path below ${json(bound.prefix)}`
  return `is an integer from ${bound.range.min} to ${bound.range.max}`
}

/** What differs, argument by argument. */
export function difference(before: Action, after: Action): string[] {
  const lines: string[] = []
  if (before.type === 'mcp.tool_call' && after.type === 'mcp.tool_call' && before.tool_digest !== after.tool_digest) lines.push(`- definition ${before.tool_digest}`, `+ definition ${after.tool_digest}`)
  lines.push(...changes(before.arguments as JsonObject, after.arguments as JsonObject), ...changes(besideArguments(before), besideArguments(after)).map((line) => `${line}  (beside the arguments)`))
  return lines.length === 0 ? ['nothing differs'] : lines
}

function changes(old: JsonObject, now: JsonObject): string[] {
  const lines: string[] = []
  for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
    const text = (args: JsonObject): string | undefined => (args[name] === undefined ? undefined : canonicalText(args[name] as JsonValue))
    if (text(old) === text(now)) continue
    const put = (mark: string, args: JsonObject): void => {
      if (args[name] !== undefined) lines.push(...visible({ [name]: args[name] as JsonValue }).slice(1, -1).map((line) => `${mark} ${line.trimStart()}`))
    }
    put('-', old)
    put('+', now)
  }
  return lines
}

function instant(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}
