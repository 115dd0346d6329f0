import { CHECKS, DENIALS, Denied, escapeControls, isDenialCode, quoted, rpcError } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'

const rows = Object.entries(DENIALS)

describe('the denial table', () => {
  it('has the 66 codes of the specification, each under one of the eight checks', () => {
    expect(rows).toHaveLength(66)
    expect(new Set(rows.map(([, row]) => row.check))).toEqual(new Set(CHECKS))
  })
  it.each(rows)('%s has a status, an exit code and texts that can be read aloud', (code, row) => {
    expect(row.http).toBeGreaterThanOrEqual(400)
    expect(row.jsonRpc).toBeLessThanOrEqual(-32000)
    expect(row.exit).toBe(10)
    for (const text of [row.meaning, row.hint]) {
      expect(text).toMatch(/^[^A-Z.]/)
      expect(text).not.toMatch(/\.$/)
    }
    expect(rpcError(code as never).data).toEqual({ code, hint: row.hint })
    expect(new Denied(code as never).check).toBe(row.check)
  })
  it('cannot be changed, and knows nothing that is not in it', () => {
    expect(Object.isFrozen(DENIALS)).toBe(true)
    for (const stranger of ['__proto__', 'constructor', 'toString', '', 'POLICY_DENIED', 1, null]) expect(isDenialCode(stranger)).toBe(false)
  })
})

describe('ATK-118: text of strangers', () => {
  it('reaches a terminal without a single control, bidirectional or invisible character', () => {
    let hostile = ''
    for (let c = 0; c < 0x10000; c++) hostile += String.fromCharCode(c)
    hostile += '\u{e0001}\u{1d173}'
    const escaped = escapeControls(hostile)
    expect(escaped).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u)
    expect(escapeControls('\u001b]0;x\u0007\u009b31m\u202e')).toBe('\\u{1b}]0;x\\u{7}\\u{9b}31m\\u{202e}')
    expect(escapeControls('Grüße, 漢字 🙂')).toBe('Grüße, 漢字 🙂')
  })
  it('is cut short in a message', () => {
    expect(quoted('x'.repeat(1_000))).toBe(`\`${'x'.repeat(64)}…\``)
    expect(quoted(`${'x'.repeat(63)}🙂`)).not.toMatch(/\p{Cs}/u)
  })
})
