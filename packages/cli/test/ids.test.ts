import { buildProgram, withIds } from '@sealwrit/cli'
import { expect, it } from 'vitest'

const ID = '-HtDrAJx4AKpPXhkwGptKQ'
const OTHER = '--tDrAJx4AKpPXhkwGptKA'
const typed = (...args: string[]): string[] => withIds(args, buildProgram())

it('an id that begins with a dash is an id', () => {
  expect(typed('show', ID, '--json')).toEqual(['show', '--json', '--', ID])
  expect(typed('approve', '--as', 'ann', OTHER)).toEqual(['approve', '--as', 'ann', '--', OTHER])
  expect(typed('--json', 'show', ID)).toEqual(['--json', 'show', '--', ID])
})
it('but not where it is the value of an option, or was set apart already', () => {
  expect(typed('issue', 'f.json', '--hold', ID)).toEqual(['issue', 'f.json', '--hold', ID])
  expect(typed('show', '--dir', 'x', '--', ID)).toEqual(['show', '--dir', 'x', '--', ID])
  expect(typed('mcp', '--name', 'n', '--', 'node', ID)).toEqual(['mcp', '--name', 'n', '--', 'node', ID])
})
it('what is no id stays where it is', () => {
  for (const args of [['show', 'HtDrAJx4AKpPXhkwGptKQA', '--json'], ['show', '-x'], ['log', '--limit', '2'], []]) expect(typed(...args)).toEqual(args)
})
