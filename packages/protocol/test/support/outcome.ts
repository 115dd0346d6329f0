import { type DenialCode, Denied } from '@sealwrit/protocol'

/** The code that `run` is denied with, or `ok`; anything else that it throws fails the test. */
export function outcome(run: () => unknown): DenialCode | 'ok' {
  try {
    run()
    return 'ok'
  } catch (error) {
    if (error instanceof Denied) return error.code
    throw error
  }
}
