import { CHECKS, type Check, type Checks, type CheckStatus, type DenialCode, Denied } from '../denial.ts'

/** An input that a check needs was not there: the check is `missing`, and that alone denies. */
export class Absent extends Denied {}

/** @throws {Absent} `code` when `value` is undefined */
export function needed<T>(value: T | undefined, code: DenialCode, what: string): T {
  if (value === undefined) throw new Absent(code, `${what} is missing`)
  return value
}

/**
 * Keeps the eight checks while a verifier works. A check is `missing` until its last step passed, so whatever is not
 * reached never counts as good.
 */
export class Checklist {
  /** Set as soon as the permit is proved to be in the log. */
  permit: { readonly jti: string; readonly leafHash: string } | undefined
  readonly #status: Record<Check, CheckStatus> = Object.fromEntries(CHECKS.map((check) => [check, 'missing'])) as Record<Check, CheckStatus>

  /**
   * Runs one step of `check`.
   * @throws {Denied} the step's own denial, or `unavailable` when it threw anything else; the checks so far are on it
   */
  step<T>(check: Check, run: () => T): T {
    try {
      return run()
    } catch (error) {
      const denied = error instanceof Denied ? error : new Denied('unavailable', `the ${check} check threw`)
      this.#status[check] = error instanceof Absent ? 'missing' : error instanceof Denied ? 'fail' : 'error'
      denied.checks = this.snapshot()
      denied.permit = this.permit
      throw denied
    }
  }

  /** The last step of `check` passed. */
  pass(check: Check): void {
    this.#status[check] = 'pass'
  }

  snapshot(): Checks {
    return Object.freeze({ ...this.#status })
  }
}
