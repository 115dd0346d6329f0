/** Names that may be shown and called; invisible characters and other scripts do not fit in. */
const TOOL_NAME = /^[A-Za-z0-9_.-]{1,128}$/

export function isToolName(name: string): boolean {
  return TOOL_NAME.test(name)
}

/**
 * What people take a name for: two tools of one server whose names look alike are both hidden (ATK-093). Case does not tell them apart, nor which of
 * `_`, `-` and `.` separates words, nor `l`, `I`, `i` and `1`, nor `O`, `o` and `0`.
 */
export function looksOf(name: string): string {
  return name.toLowerCase().replaceAll(/[-.]/g, '_').replaceAll(/[i1]/g, 'l').replaceAll('0', 'o')
}
