import type { Action, JsonObject } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseGrant } from '../src/approval/grant.ts'
import type { CheckedHold } from '../src/approval/hold.ts'
import { difference, foreign, renderGrant, renderHold, visible } from '../src/approval/render.ts'

const action = (args: JsonObject): Action => ({ type: 'mcp.tool_call', target: 'mcp://fs', name: 'write_file', arguments: args, tool_digest: `sha256:${'a'.repeat(64)}` })
const NOW = 1_767_225_600_000
const hold = (args: JsonObject, last?: JsonObject): CheckedHold => ({
  entry: {
    v: 1, kind: 'hold', seq: 7, time: NOW, tenant: 'default', hold: 'MDEyMzQ1Njc4OTo7PD0-Pw', sub: 'user:1', act: { sub: 'agent:coder', verified: false }, aud: 'gate', scope: { type: 'mcp.tool_call', name: 'write_file', target: 'mcp://fs' },
    policy: { digest: `sha256:${'b'.repeat(64)}`, epoch: 1, determining: ['fs/writes'] }, approval: { groups: ['secops'], quorum: 2, expires: NOW / 1_000 + 600 }, risk: 'high',
  },
  leafHash: `sha256:${'c'.repeat(64)}`,
  action: action(args),
  delegation: undefined,
  isRedacted: false,
  listed: { hold: 'MDEyMzQ1Njc4OTo7PD0-Pw', seq: 7, time: NOW, sub: 'user:1', act: { sub: 'agent:coder', verified: false }, aud: 'gate', scope: { type: 'mcp.tool_call', name: 'write_file', target: 'mcp://fs' }, policies: ['fs/writes'], approval: { groups: ['secops'], quorum: 2, expires: NOW / 1_000 + 600 }, approvals: [] },
  last: last === undefined ? undefined : { seq: 3, action: action(last) },
})

describe('what an approver sees (ATK-116)', () => {
  it('is the whole hold on one screen', () => {
    expect(renderHold(hold({ path: '/srv/b.txt', mode: 'w' }, { path: '/srv/a.txt', mode: 'w' }), NOW + 1_000).join('\n')).toBe(`hold       MDEyMzQ1Njc4OTo7PD0-Pw  (index 7)
asked      2026-01-01 00:00:00 UTC by agent:coder (unverified) for user:1
where      gate gate
action     mcp.tool_call  mcp://fs  write_file
definition sha256:${'a'.repeat(64)}
intent     none was declared
risk       high
held by    fs/writes
needs      2 of group secops, until 2026-01-01 00:10:00 UTC (599 s left)
arguments
  {
    "path": "/srv/b.txt",
    "mode": "w"
  }
since the last approved call of it (index 3)
  - "path": "/srv/a.txt"
  + "path": "/srv/b.txt"
approved   by 0 of 2`)
  })
  it('says what was declared, as the word of who asks', () => {
    const held = hold({ path: '/srv/b.txt' })
    expect(renderHold({ ...held, entry: { ...held.entry, intent: 'deploy' } }, NOW)).toContain('intent     deploy (registered purpose; declared by the one who asks)')
  })
  it('says what it would let others do', () => {
    const plain = hold({ path: '/srv/b.txt' })
    const delegates = { until: NOW / 1_000 + 600, uses: 5, depth: 2, terms_commit: `sha256:${'d'.repeat(64)}` }
    const shown = renderHold({ ...plain, entry: { ...plain.entry, delegates, par: { jti: 'ICEiIyQlJicoKSorLC0uLw', leaf_hash: delegates.terms_commit } }, delegation: { scopes: [{ type: 'mcp.tool_call', target: 'mcp://fs', name: '*\u202e' }] } }, NOW)
    expect(shown).toContain('below      permit ICEiIyQlJicoKSorLC0uLw')
    expect(shown).toContain('DELEGATES  up to 5 requests of others below it, 2 levels deep, until 2026-01-01 00:10:00 UTC, within')
    expect(shown.join('\n')).toContain('"name": "*\\u{202e}"')
  })
  it('shows the answers of a retry, its state, and that it runs as a task: all that is approved', () => {
    const plain = hold({ path: '/srv/b.txt' })
    const beside = { input_responses: { sure: { action: 'accept', content: { word: 'yes\u202e' } } }, request_state: 'op\u0000aque', task: { ttl: 60_000 } }
    const shown = renderHold({ ...plain, action: { ...plain.action, ...beside } as Action }, NOW).join('\n')
    expect(shown).toContain('ANSWERS    to what the server asked for when it was called before\n  {\n    "sure": {')
    expect(shown).toContain('"word": "yes\\u{202e}"')
    expect(shown).toContain('STATE      that the server gave the client to carry back\n  "op')
    expect(shown).toContain('TASK       it goes on after its answer, and its result is fetched later\n  {\n    "ttl": 60000')
    expect(renderHold(plain, NOW).join('\n')).not.toMatch(/ANSWERS|STATE|TASK/)
    // An argument of such a name is not shown as what it is not.
    expect(renderHold(hold({ task: {} }), NOW).join('\n')).not.toMatch(/^TASK/m)
    expect(difference(plain.action, { ...plain.action, ...beside } as Action).join('\n')).toContain('+ "request_state": "op\\u0000aque"  (beside the arguments)')
    expect(() => parseGrant('uses=1,until=1h', { ...plain.action, task: {} } as Action, NOW / 1_000)).toThrow('no request that carries more than arguments')
  })
  it('says what nobody can see', () => {
    const shown = renderHold({ ...hold({ user: 'ann', password: '[redacted]' }), isRedacted: true }, NOW).join('\n')
    expect(shown).toContain('UNSEEN     what stands as "[redacted]" is kept nowhere')
    expect(renderHold(hold({ password: '[redacted]' }), NOW).join('\n'), 'an argument that only says so').not.toContain('UNSEEN')
  })
  it.each<[string, string, string]>([
    ['right-to-left override', 'a\u202Etxt.exe', 'a\\u{202e}txt.exe'],
    ['isolates', '\u2066x\u2069', '\\u{2066}x\\u{2069}'],
    ['zero width characters', 'pay\u200Bpal\uFEFF', 'pay\\u{200b}pal\\u{feff}'],
    ['an escape sequence', '\u001b[2J', '\\u001b[2J'],
    ['C1 controls', '\u009b2J', '\\u{9b}2J'],
    ['line and paragraph separators', 'a\u2028b\u2029', 'a\\u{2028}b\\u{2029}'],
    ['an imitated escape', '\\u{202e}', '\\\\u{202e}'],
    ['padding', `rm${' '.repeat(200)}-rf /`, 'rm\\u{20}×200-rf /'],
    ['spaces of other kinds', 'a\u00a0b\u3000c\u3164', 'a\\u{a0}b\\u{3000}c\\u{3164}'],
    ['a lone tag character', 'a\u{e0041}b', 'a\\u{e0041}b'],
  ])('%s is shown, not obeyed', (_name, text, shown) => {
    expect(visible(text)).toEqual([`"${shown}"`])
    expect(visible({ [text]: 1 }).join('')).toContain(shown)
  })
  it('letters that look like others are named by their code points', () => {
    expect(foreign({ to: 'p\u0430yp\u0430l' })).toBe('\u0430 U+0430 ×2')
    expect(foreign({ to: 'paypal' })).toBeUndefined()
    expect(renderHold(hold({ to: 'p\u0430ypal' }), NOW).join('\n')).toContain('not ASCII  \u0430 U+0430')
  })
  it('no argument, however long, is cut, and nothing that a terminal obeys is left in any of 10^4 strings', () => {
    expect(visible('x'.repeat(100_000))[0]).toHaveLength(100_002)
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ unit: 'binary', maxLength: 40 }), (value, name) => {
      const lines = renderHold(hold({ [name === '__proto__' ? 'p' : name]: value }), NOW)
      for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
      const shown = lines.find((line) => line.startsWith('    "')) as string
      expect(shown.length).toBeGreaterThanOrEqual(Array.from(value.replaceAll(/ {5,}/g, '')).length)
    }), { numRuns: 10_000 })
  }, 60_000)
  it('differences are shown argument by argument, removed ones too', () => {
    expect(difference(action({ a: 1, b: [1], gone: true }), action({ a: 1, b: [1, 2], more: 'x' }))).toEqual(['- "b": [', '- 1', '- ]', '+ "b": [', '+ 1,', '+ 2', '+ ]', '- "gone": true', '+ "more": "x"'])
    expect(difference(action({ a: 1 }), action({ a: 1 }))).toEqual(['nothing differs'])
  })
})

describe('--grant', () => {
  const held = action({ path: '/srv/a', mode: 'w', uses: 3 })
  it('bounds what it names, and leaves the rest as it is in the held action', () => {
    const grant = parseGrant('uses=5,until=1h,path=prefix:/srv/,arguments.uses=range:1..9', held, 1_000)
    expect(grant).toEqual({ uses: 5, until: 4_600, bounds: { path: { prefix: '/srv/' }, mode: { equals: 'w' }, uses: { range: { min: 1, max: 9 } } } })
    expect(renderGrant(grant.uses, NOW / 1_000, grant.bounds)).toEqual([
      'GRANT      up to 5 later requests like it, without asking, until 2026-01-01 00:00:00 UTC, where', '  "path" is a path below "/srv/"', '  "mode" is "w"', '  "uses" is an integer from 1 to 9', '  and there are no other arguments',
    ])
    expect(parseGrant('uses=1,until=30d,mode=oneof:r|w|7|null,path=equals:"x"', held, 0).bounds).toMatchObject({ mode: { one_of: ['r', 'w', 7, null] }, path: { equals: 'x' } })
  })
  it.each(['', 'uses=5', 'until=1h', 'uses=0,until=1h', 'uses=1001,until=1h', 'uses=x,until=1h', 'uses=1,until=31d', 'uses=1,until=0s', 'uses=1,until=1w', 'uses=1,until=1h,other=equals:1', 'uses=1,until=1h,path=/srv/', 'uses=1,until=1h,path=prefix:/srv', 'uses=1,until=1h,path=prefix:/srv/../', 'uses=1,until=1h,uses2', 'uses=1,until=1h,mode=range:2..1'])('`%s` is refused with how it is written', (text) => {
    expect(() => parseGrant(text, held, 0)).toThrow(expect.objectContaining({ exit: 2, hint: expect.stringContaining('uses=5,until=1h') as string }) as Error)
  })
})
