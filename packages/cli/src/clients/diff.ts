import type { Listed } from './document.ts'
import type { Kept } from './record.ts'

export interface DiffLine {
  readonly sign: ' ' | '-' | '+'
  readonly text: string
}

/** The lines of one server's entry before and after, without those that stay; secrets are left out. */
export function entryDiff(text: string, { start, end }: Listed, { was, now }: Kept, secrets: readonly string[]): readonly DiffLine[] {
  const [before, after] = around(text, start, end)
  const old = `${before}${was}${after}`.split('\n')
  const made = `${before}${now}${after}`.split('\n')
  let head = 0
  while (head < old.length && head < made.length && old[head] === made[head]) head++
  let tail = 0
  while (tail < old.length - head && tail < made.length - head && old[old.length - 1 - tail] === made[made.length - 1 - tail]) tail++
  const lines = (sign: '-' | '+', all: readonly string[]): DiffLine[] => all.slice(head, all.length - tail).map((line) => ({ sign, text: hidden(line, secrets) }))
  return [...old.slice(Math.max(0, head - 1), head).map((line): DiffLine => ({ sign: ' ', text: hidden(line, secrets) })), ...lines('-', old), ...lines('+', made)]
}

/** What else stands on the lines that the entry begins and ends in: its name, and what closes it. Where there is more, others' entries are there, and their secrets. */
function around(text: string, start: number, end: number): [string, string] {
  const before = text.slice(text.lastIndexOf('\n', start - 1) + 1, start)
  const newline = text.indexOf('\n', end)
  const after = text.slice(end, newline < 0 ? text.length : newline)
  return [/^[ \t]*("[^"\\]{0,64}"[ \t]*:[ \t]*)?$/.test(before) ? before : '', /^[ \t,]*$/.test(after) ? after : '']
}

function hidden(line: string, secrets: readonly string[]): string {
  let out = line
  for (const secret of secrets) out = out.replaceAll(JSON.stringify(secret).slice(1, -1), '…').replaceAll(secret, '…')
  return out
}
