import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { Denied, formatVerifierKey, isQuorumMet, MAX_COSIGNATURE_AGE_SECONDS, MAX_POLICY_FILE_BYTES, NO_WITNESSES, parseWitnessPolicy, type WitnessPolicy, WitnessQuorum } from '@sealwrit/protocol'
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
export function configuredWitnesses(folder: PlaneFolder): { policy: WitnessPolicy; maxAgeSeconds: number } | undefined {
  const found = readConfig(folder)
  if (found?.config.witnesses === undefined) return undefined
  const policy = readWitnessPolicy(path.resolve(path.dirname(found.file), found.config.witnesses))
  return { policy, maxAgeSeconds: found.config.witness_max_age_seconds ?? MAX_COSIGNATURE_AGE_SECONDS }
}

/**
 * The witness policy of a local gate: the file that it was given, or the one of `sealwrit.yaml`. It never comes from a plane.
 * @throws {CliError} where it lists logs, but not this gate's
 */
export function gateWitnesses(folder: PlaneFolder, file: string | undefined): WitnessQuorum {
  const configured = configuredWitnesses(folder)
  const policy = file === undefined ? (configured?.policy ?? NO_WITNESSES) : readWitnessPolicy(path.resolve(file))
  checkLog(policy, folder)
  return new WitnessQuorum(policy, configured?.maxAgeSeconds)
}

/** What the plane of this folder asks its witnesses for; undefined where none are configured. @throws {CliError} */
export function planeWitnesses(folder: PlaneFolder): ReturnType<typeof configuredWitnesses> {
  const configured = configuredWitnesses(folder)
  if (configured === undefined) return undefined
  const { policy } = configured
  checkLog(policy, folder)
  for (const { name, url } of policy.witnesses) if (url !== undefined && !/^https?:\/\/[^@]+$/.test(url)) throw new CliError(`witness ${name} has a URL that is not http or https`)
  if (!isQuorumMet(policy.quorum, new Set(policy.witnesses.filter(({ url }) => url !== undefined)))) throw new CliError('the witnesses that have a URL cannot make the quorum', { hint: 'the plane asks witnesses by their URL: add it to their lines' })
  return configured
}

function checkLog(policy: WitnessPolicy, folder: PlaneFolder): void {
  const own = formatVerifierKey(readVerifierKey(folder.verifierKey))
  if (policy.logs.length > 0 && !policy.logs.some(({ key }) => formatVerifierKey(key) === own)) throw new CliError('the witness policy lists logs, but not the one of this plane', { code: 'key_unknown', hint: `add the line: log ${own}` })
}
