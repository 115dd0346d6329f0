/** Lists that pass through, judged by kind: they have no effect, and only a cursor goes along. */
export const LISTS: ReadonlySet<string> = new Set(['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list'])
