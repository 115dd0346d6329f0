import { type Entry, lifecycleOf } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { drawLifeCycle, isUtf8 } from '../src/lifecycle/draw.ts'
import { deny, expiry, legalHistories, permit, receipt } from '../../protocol/test/support/histories.ts'
import { NOW } from '../../protocol/test/support/fixture.ts'

const cycle = (...bodies: object[]): ReturnType<typeof lifecycleOf> => lifecycleOf(bodies.map((body, seq) => ({ v: 1, seq, time: NOW * 1_000 + 12 * seq, tenant: 'default', ...body }) as unknown as Entry))
const draw = (one: ReturnType<typeof lifecycleOf>, width = 80, isUnicode = true): string => drawLifeCycle(one, { width, isUnicode }).join('\n')

describe('`show` draws the life cycle', () => {
  it('of what completed: ten stages, each with when, where and what', () => {
    expect(draw(cycle(permit('challenge'), receipt('completed')))).toBe(`ICEiIyQlJicoKSorLC0uLw  completed, 12 ms from decision to close
  ┌● request                  #0  mcp://fs/read_file
  ├● identify                 #0  agent:tester for user:1
  ├● attest                   #0  software
  ├● evaluate   00:00:00.000  #0  fs/read in epoch 3
  ├● authorize  00:00:00.000  #0  ICEiIyQlJicoKSorLC0uLw
  ├● admit      00:00:00.000  #1
  ├● execute    00:00:00.000  #1  completed
  ├● record     00:00:00.005  #1  receipt 0 of its gate session
  ├● report     00:00:00.012  #1
  └● close      00:00:00.012  #1  completed`)
  })

  it('of a denial: it stops where it was stopped, in ASCII too, and narrower by leaving columns out', () => {
    expect(draw(cycle(deny('policy_denied')), 40, false)).toBe(`no permit  denied
  ,* request    #0  mcp://fs/read_file
  |* identify   #0  agent:tester for us~
  |* attest     #0
  \`x evaluate   #0  policy_denied (poli~
   . authorize
   . admit
   . execute
   . record
   . report
   . close`)
  })

  it('of what is open, expired, or lost: dotted where something may still come, and where nothing did', () => {
    const marks = (...bodies: object[]): string[] => draw(cycle(...bodies)).split('\n').slice(1).map((line) => line.slice(2, 4))
    expect(marks(permit('challenge'))).toEqual(['┌●', '├●', '├●', '├●', '├●', '┊○', '┊○', '┊○', '┊○', '┊○'])
    expect(marks(permit('redeem'), expiry('expired'))).toEqual(['┌●', '├●', '├●', '├●', '├●', '┊○', '┊○', '┊○', '┊○', '└●'])
    expect(marks(permit('challenge'), expiry('indeterminate'))).toEqual(['┌●', '├●', '├●', '├●', '├●', '├◌', '├◌', '├◌', '├◌', '└●'])
    expect(marks(permit('challenge'), receipt('not_started'))).toEqual(['┌●', '├●', '├●', '├●', '├●', '├╳', '┊○', '├●', '├●', '└●'])
  })

  it('says what contradicts it', () => {
    expect(draw(cycle(receipt('completed'))).split('\n').at(-1)).toBe('  contradicted at #0: nothing was issued before it')
  })

  it.each([20, 33, 34, 63, 64, 200])('every legal history fits into %i columns, and has all ten stages', (width) => {
    for (const { title, entries } of legalHistories()) {
      for (const isUnicode of [true, false]) {
        const lines = drawLifeCycle(lifecycleOf(entries), { width, isUnicode })
        expect(lines.length, title).toBe(11)
        for (const line of lines) expect([...line].length, `${title}: ${line}`).toBeLessThanOrEqual(width)
        if (!isUnicode) expect(lines.join('')).toMatch(/^[ -~]*$/)
      }
    }
  })

  it('ATK-118: names from the log stay text on a terminal', () => {
    const hostile = '\u001b]0;x\u0007\u202e\r\n'
    const shown = draw(cycle({ ...deny('policy_denied'), scope: { type: 'mcp.tool_call', target: 'mcp://x', name: hostile }, act: { sub: `agent:${hostile}`, verified: false } }), 400)
    expect(shown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
    expect(shown.split('\n').length).toBe(11)
  })

  it.each([[{ LANG: 'C.UTF-8' }, true], [{ LANG: 'de_DE.utf8' }, true], [{ LANG: 'C' }, false], [{}, false], [{ LC_ALL: 'C', LANG: 'C.UTF-8' }, false], [{ LC_ALL: '', LC_CTYPE: 'en_US.UTF-8' }, true]] as const)('%j: UTF-8 is %s', (env, wanted) => {
    expect(isUtf8(env)).toBe(wanted)
  })
})
