import type { Worse } from './compare.ts'

/** A check that is not made of a server which chooses what the specification lets it choose. */
interface Choice {
  readonly scenario: string
  readonly check: string
  readonly reason: string
}

const ONE_ANSWER = 'where nothing precedes an answer, the gateway gives it as JSON and not as a stream (MCP 2025-11-25, basic/transports, “Sending Messages to the Server”): the suite then says nothing about streams'
const HIDDEN = 'a stream of the server that ends before its answer is taken up again by the gateway itself; its own client never sees it end'

/** What of the server scenarios is told apart from worse, and why. It must be seen in each run: one that is not is taken out. */
export const CHOICES: readonly Choice[] = [
  { scenario: 'server-sse-multiple-streams', check: 'server-sse-streams-functional', reason: ONE_ANSWER },
  { scenario: 'server-sse-polling', check: 'server-sse-priming-event', reason: ONE_ANSWER },
  { scenario: 'server-sse-polling', check: 'server-sse-retry-field', reason: ONE_ANSWER },
  { scenario: 'server-sse-polling', check: 'server-sse-disconnect-resume', reason: HIDDEN },
]
/** Revision that has these scenarios at all. */
export const CHOOSES = '2025-11-25'

/** Takes what was chosen out of what is worse. @returns what is left, and choices that were not seen */
export function judged(worse: readonly Worse[], choices: readonly Choice[]): { readonly worse: readonly Worse[]; readonly unseen: readonly Choice[] } {
  const isIt = (choice: Choice, { scenario, check, is }: Worse): boolean => choice.scenario === scenario && check.startsWith(`${choice.check} `) && is !== 'FAILURE' && is !== 'WARNING'
  return { worse: worse.filter((one) => !choices.some((choice) => isIt(choice, one))), unseen: choices.filter((choice) => !worse.some((one) => isIt(choice, one))) }
}

/** The list for CONFORMANCE.md. */
export function choicesText(): string {
  return CHOICES.map(({ scenario, check, reason }) => `- \`${scenario}\`, \`${check}\`: ${reason}.`).join('\n')
}
