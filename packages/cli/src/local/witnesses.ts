import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { Denied, formatVerifierKey, MAX_COSIGNATURE_AGE_SECONDS, MAX_POLICY_FILE_BYTES, NO_WITNESSES, parseWitnessPolicy, type WitnessPolicy, WitnessQuorum } from '@sealwrit/protocol'
import { CliError } from '../errors.ts'
import { readConfig } from './config.ts'
import { type PlaneFolder, readVerifierKey } from './folder.ts'

/** Reads a tlog-policy file. @throws {CliError} naming file and line */
export function readWitnessPolicy(file: string): WitnessPolicy {
  let bytes: Uint8Array
  try {
    if (fs.statSync(file).size > MAX_POLICY_FILE_BYTES) throw new CliError(`${file} is larger than ${MAX_POLICY_FILE_BYTES} bytes`)
    bytes = fs.readFileSync(file)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`witness policy ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  try {
    return parseWitnessPolicy(bytes, nodeCryptography.sha256)
  } catch (error) {
    if (error instanceof Denied) throw new CliError(`${file}: ${error.message}`, { code: 'witness_quorum_not_met', hint: 'the format is c2sp.org/tlog-policy; `sealwrit witness` prints the line of a witness' })
    throw error
  }
}

/** What `sealwrit.yaml` says of witnesses; undefined where it names none. @throws {CliError} */
export function configuredWitnesses(planeDir: string): { policy: WitnessPolicy; maxAgeSeconds: number } | undefined {
  const found = readConfig(planeDir)
  if (found?.config.witnesses === undefined) return undefined
  const policy = readWitnessPolicy(path.resolve(path.dirname(found.file), found.config.witnesses))
  return { policy, maxAgeSeconds: found.config.witness_max_age_seconds ?? MAX_COSIGNATURE_AGE_SECONDS }
}

/**
 * The witness policy of a local gate: the file that it was given, or the one of `sealwrit.yaml`. It never comes from a plane.
 * @throws {CliError} where it lists logs, but not this gate's
 */
export function gateWitnesses(folder: PlaneFolder, file: string | undefined): WitnessQuorum {
  const configured = configuredWitnesses(folder.dir)
  const policy = file === undefined ? (configured?.policy ?? NO_WITNESSES) : readWitnessPolicy(path.resolve(file))
  const own = formatVerifierKey(readVerifierKey(folder.verifierKey))
  if (policy.logs.length > 0 && !policy.logs.some(({ key }) => formatVerifierKey(key) === own)) throw new CliError('the witness policy lists logs, but not the one of this plane', { code: 'key_unknown', hint: `add the line: log ${own}` })
  return new WitnessQuorum(policy, configured?.maxAgeSeconds)
}
