import type { StoredBody } from './store.ts'

/** The bodies of a group as one column: one line a body, five fields without spaces, then the canonical text, which holds no newline. */
export function encodeBodies(bodies: readonly StoredBody[]): string {
  return bodies.map((b) => `${b.seq} ${b.purpose} ${b.commit} ${b.salt} ${b.digest} ${b.text ?? ''}`).join('\n')
}

export function decodeBodies(column: string): StoredBody[] {
  if (column === '') return []
  return column.split('\n').map((line) => {
    const [seq, purpose, commit, salt, digest] = line.split(' ', 5) as [string, StoredBody['purpose'], string, string, string]
    const text = line.slice(seq.length + purpose.length + commit.length + salt.length + digest.length + 5)
    return { seq: Number(seq), purpose, commit, salt, digest, text: text === '' ? undefined : text }
  })
}
