import fc from 'fast-check'
import { expect, it } from 'vitest'
import { inOrder, show, type Shown } from '../src/log/shown.ts'

it('answers leave in the order of their proofs, however long their ways are', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1_000), fc.boolean()), { maxLength: 50 }), (ways) => {
      const shown: Shown = { size: 0 }
      const answers = ways.map(([way, proves], i) => ({ way, answer: proves ? show(shown, i + 1, { i }) : { i }, proves }))
      const written: number[] = []
      for (const { answer, proves } of [...answers].sort((a, b) => a.way - b.way)) inOrder(shown, answer, () => proves && written.push(answer.i))
      expect(written).toEqual(answers.filter(({ proves }) => proves).map(({ answer }) => answer.i))
    }),
  )
})

it('an answer that shows nothing waits for nobody, and connections not for each other', () => {
  const [one, two]: [Shown, Shown] = [{ size: 0 }, { size: 0 }]
  const written: string[] = []
  show(one, 5, {}) // proved, and on its way
  inOrder(one, 'plain', () => written.push('plain'))
  inOrder(one, null, () => written.push('null'))
  inOrder(two, show(two, 7, {}), () => written.push('other'))
  expect(written).toEqual(['plain', 'null', 'other'])
  expect(one.size).toBe(5)
})
