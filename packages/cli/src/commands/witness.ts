import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { cosignerKey, formatCosignerKey, isKeyName } from '@sealwrit/protocol'
import { beginWitness, nodeCryptography, nodeWallMs, readName, serveWitness, Witness, WitnessDamaged, witnessFiles, WitnessListenError } from '@sealwrit/witness'
import { KeyFileError, loadKeyFile } from '../adapters/key-file.ts'
import { CliError, EXIT } from '../errors.ts'
import { readVerifierKey } from '../local/folder.ts'
import { takeLock } from '../local/gate-slot.ts'
import { bold, dim, type GlobalOptions, json, line } from '../output.ts'
import { parseListen, stopSignal } from './up.ts'

export interface WitnessOptions extends GlobalOptions {
  readonly listen: string
  readonly log: readonly string[]
  readonly name?: string
}

/** Runs a witness: a process of its own, with a key and a memory of its own. */
export async function witness(options: WitnessOptions): Promise<void> {
  if (options.dir === undefined) throw new CliError('a witness has a folder of its own: name it with --dir', { exit: EXIT.usage })
  const listen = parseListen(options.listen)
  const dir = path.resolve(options.dir)
  const logKeys = options.log.map(readVerifierKey)
  try {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 })
    if ((fs.statSync(dir).mode & 0o022) !== 0) throw new CliError(`${dir} can be written by others`, { hint: `run \`chmod 700 ${dir}\`` })
    if (!takeLock(path.join(dir, 'pid'))) throw new CliError(`a witness runs on ${dir} already`, { hint: 'give this one a folder of its own with --dir' })
    const files = witnessFiles(dir)
    const { name, key } = openKey(dir, options.name, files)
    const witnessKey = { key: cosignerKey(name, key.publicKey, nodeCryptography.sha256), sign: key.sign }
    const running = await serveWitness(new Witness(logKeys, { wallMs: nodeWallMs, crypto: nodeCryptography, files, witnessKey }), listen)
    const stopped = stopSignal()
    const vkey = formatCosignerKey(witnessKey.key)
    const policyLine = `witness ${name} ${vkey} ${running.url}`
    const origins = [...new Set(logKeys.map((log) => log.name))]
    if (options.json === true) json({ url: running.url, name, vkey, policy_line: policyLine, logs: origins })
    else {
      line(`${bold('Sealwrit')} witness ${name} is up.`)
      line(`  http     ${running.url}  ${dim('(add-checkpoint)')}`)
      line(`  key      ${vkey}`)
      for (const origin of origins) line(`  follows  ${origin}`)
      line()
      line('Put this line into the witness policy of the plane and its gates, before its quorum line:')
      line(`  ${policyLine}`)
      line(dim('Ctrl-C stops the witness; its folder is its memory: keep it, and keep no second copy running.'))
    }
    await stopped
    await running.close()
  } catch (error) {
    if (error instanceof WitnessDamaged) throw new CliError(`witness folder ${dir} is damaged: ${error.message}`, { code: 'evidence_unavailable', hint: 'restore its newest copy; a witness that forgot must begin anew with another key, in another folder' })
    if (error instanceof WitnessListenError || error instanceof KeyFileError) throw new CliError(error.message)
    throw error
  }
}

/** Key and name of the witness of this folder; both are made on a first run, and never again over what is there. */
function openKey(dir: string, given: string | undefined, files: ReturnType<typeof witnessFiles>): { name: string; key: ReturnType<typeof loadKeyFile> } {
  const file = path.join(dir, 'key.pem')
  const known = readName(files)
  if (known !== undefined && given !== undefined && given !== known) throw new CliError(`the witness of this folder is ${known}, not \`${given.slice(0, 64)}\``, { exit: EXIT.usage, hint: 'give another one a folder of its own with --dir' })
  if (known !== undefined) return { name: known, key: loadKeyFile(file, false) }
  if (fs.existsSync(path.join(dir, 'logs'))) throw new WitnessDamaged('it has records, but witness.json is missing')
  const name = given ?? `${randomBytes(8).toString('hex')}.local/witness`
  if (!isKeyName(name)) throw new CliError('--name takes a name without spaces or `+`, of up to 256 characters', { exit: EXIT.usage })
  // The key first: where a crash leaves it alone, it has signed nothing yet.
  const key = loadKeyFile(file, true)
  beginWitness(files, name)
  return { name, key }
}
