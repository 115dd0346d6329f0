/** A level of evidence in words: software-only evidence is never shown as more than it is. */
export function evidenceText(level: string): string {
  if (level === 'software') return 'software-only evidence'
  return level === 'none' ? 'no evidence of the environment' : `${level} evidence`
}
