import * as fs from 'node:fs'
import { nodeCryptography } from '@sealwrit/gate'
import type { AnchorOutcome } from '@sealwrit/control-plane'
import { AnchorRefused, type AnchorVerdict, Denied, type JsonLimits, MAX_DEPTH, type NoteKey, parseAnchor, parseStrict, type TsaTrust, verifyAnchor } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { readBounded, readTsaTrust } from '../evidence/trust.ts'
import { findFolder, readVerifierKey } from '../local/folder.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'

const ANCHOR_LIMITS: JsonLimits = Object.freeze({ maxBytes: 131_072, maxDepth: MAX_DEPTH, maxMembers: 16 })

/** Anchors the newest checkpoint at every configured place. */
export async function anchorNow(options: GlobalOptions): Promise<void> {
  const { outcomes } = await configured(askPlane(findFolder(options.dir), 'anchors.now', {})) as unknown as { outcomes: readonly AnchorOutcome[] }
  if (options.json === true) json({ outcomes })
  else
    for (const outcome of outcomes) {
      const place = `${outcome.type} ${plain(outcome.where)}`
      line('failure' in outcome ? `${red('failed')}    ${place}: ${plain(outcome.failure)}` : `${green('anchored')}  ${place}: the checkpoint of ${outcome.size} entries`)
    }
  if (outcomes.some((outcome) => 'failure' in outcome)) process.exitCode = EXIT.fault
}

async function configured<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof CliError && error.code === 'request_malformed') throw new CliError('this plane anchors its checkpoints nowhere', { hint: 'name a place under `anchors` in sealwrit.yaml and start the plane anew' })
    throw error
  }
}

/** Lists every place with its last success and its last failure. */
export async function anchorList(options: GlobalOptions): Promise<void> {
  const { sinks } = await askPlane(findFolder(options.dir), 'anchors.list', {})
  if (options.json === true) return json({ sinks })
  if (sinks.length === 0) line('this plane anchors its checkpoints nowhere')
  for (const { type, where, isConfigured, count, success, failure } of sinks) {
    line(`${bold(type)} ${plain(where)}${isConfigured ? '' : dim(' (no longer configured)')}`)
    line(`  ${success === undefined ? yellow('nothing anchored yet') : `${count} anchored, the last at ${when(success.time)}: the checkpoint of ${success.size} entries`}`)
    if (failure !== undefined) line(`  ${(success?.time ?? -1) < failure.time ? red('failed') : dim('failed')} at ${when(failure.time)}: ${plain(failure.reason)}`)
  }
}

function when(ms: number): string {
  return `${new Date(ms).toISOString().replace('T', ' ').slice(0, 19)} (the plane’s clock)`
}

/** Says what one anchor shows; only an external time is proof, so only that ends with 0. */
export function anchorVerify(file: string, options: GlobalOptions & { key?: string; tsaCert?: string[] }): void {
  const logKey = trustedKey(options)
  const verdict = judge(file, logKey, readTsaTrust(options.tsaCert ?? []))
  const { kind, sentence, checkpoint, ...rest } = verdict
  const paint = kind === 'external time' ? green : yellow
  if (options.json === true) json({ kind, sentence, origin: checkpoint.origin, size: checkpoint.size, ...rest })
  else {
    line(`${paint(bold(kind))}  ${plain(sentence)}`)
    line(`  log key ${plain(`${logKey.name}+${logKey.id}`)}`)
  }
  if (kind !== 'external time') process.exitCode = EXIT.unverified
}

function trustedKey(options: GlobalOptions & { key?: string }): NoteKey {
  const { verifierKey } = findFolder(options.dir)
  if (options.key === undefined && !fs.existsSync(verifierKey)) throw new CliError('no key to verify against', { exit: EXIT.usage, hint: 'give the log’s verifier key with --key KEY-OR-FILE' })
  return readVerifierKey(options.key ?? verifierKey)
}

function judge(file: string, logKey: NoteKey, trust: TsaTrust): AnchorVerdict {
  try {
    return verifyAnchor(parseAnchor(parseStrict(readBounded(file, ANCHOR_LIMITS.maxBytes), ANCHOR_LIMITS)), logKey, trust, nodeCryptography)
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    throw new CliError(`${file} does not hold: ${error instanceof AnchorRefused ? error.reason : error.code}: ${error.message}`, { exit: EXIT.unverified, code: error.code })
  }
}
