import { createHmac } from 'node:crypto'
import * as path from 'node:path'
import { SinkError, sinkUrl, type Webhook } from '@sealwrit/control-plane'
import { CliError } from '../errors.ts'
import { plain } from '../output.ts'
import type { readConfig } from './config.ts'
import { readSecret } from './folder.ts'

/** Shortest shared secret, in characters. */
const MIN_SECRET = 32

/** Whom holds are told to; undefined where `sealwrit.yaml` names nobody. @throws {CliError} */
export function approvalsWebhook(config: ReturnType<typeof readConfig>): Webhook | undefined {
  const hook = config?.config.approvals?.webhook
  if (config === undefined || hook === undefined) return undefined
  const file = path.resolve(path.dirname(config.file), hook.secret_file)
  let secret: string
  let url: URL
  try {
    secret = readSecret(file)
    url = sinkUrl(hook.url)
  } catch (error) {
    if (error instanceof SinkError) throw new CliError(`${config.file}: approvals.webhook.url: ${error.message}`)
    if (error instanceof CliError) throw error
    throw new CliError(`secret ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  if (secret.length < MIN_SECRET) throw new CliError(`secret ${file} has fewer than ${MIN_SECRET} characters`, { hint: 'make one: openssl rand -base64 32' })
  return {
    url,
    hmac: (message) => createHmac('sha256', secret).update(message).digest(),
    withArguments: hook.arguments,
    report: (sentence) => process.stderr.write(`sealwrit: ${plain(sentence)}\n`),
  }
}
