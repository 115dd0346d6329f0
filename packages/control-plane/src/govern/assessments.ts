import { type AssessmentEntry, Denied, type EntryHead, verifyAssessment } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'

/** What assessors found: each a signed entry, that whoever holds the log can compute again. @see spec/maturity.md */
export class Assessments {
  readonly #log: Sequencer

  constructor(log: Sequencer) {
    this.#log = log
  }

  /**
   * Records an assessment of this very log. Whether its numbers are right is for verifiers: they are computed from the entries.
   * @throws {Denied} `request_malformed` for one of another tree, or that was not made yet
   */
  async record(found: Omit<AssessmentEntry, 'by' | 'kind'>, by: string): Promise<{ readonly seq: number }> {
    if (!(await this.#log.hasRoot(found.size, found.root))) throw new Denied('request_malformed', 'an assessment of another log, or of other entries')
    const { seq: recorded } = await this.#log.submit((_state, seq, timeMs) => {
      verifyAssessment(found, seq, timeMs)
      return { body: { kind: 'assessment', ...found, by }, bodies: [] }
    })
    return { seq: recorded }
  }

  /** The newest, oldest first. */
  list(): { readonly assessments: readonly (AssessmentEntry & EntryHead)[] } {
    return { assessments: this.#log.state.assessments }
  }
}
