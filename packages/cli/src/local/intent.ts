import { isPurpose } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'

/** The purpose that `--intent` names. @throws {CliError} */
export function chosenIntent(intent: string | undefined): string | undefined {
  if (intent !== undefined && !isPurpose(intent)) throw new CliError('--intent takes the id of a registered purpose: up to 64 of a-z, 0-9, dot, dash and underscore', { exit: EXIT.usage, hint: 'purposes are registered in schema.cedarschema: entity Purpose enum ["invoice-review"];' })
  return intent
}
