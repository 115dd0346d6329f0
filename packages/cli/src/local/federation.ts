import * as fs from 'node:fs'
import * as path from 'node:path'
import type { FederationTrust } from '@sealwrit/control-plane'
import { Denied, type ForeignPlane, trustList } from '@sealwrit/protocol'
import { CliError } from '../errors.ts'
import { type FederatedPlane, readConfig } from './config.ts'
import { type PlaneFolder, readVerifierKey } from './folder.ts'
import { readWitnessPolicy } from './witnesses.ts'

/** Which other planes `sealwrit.yaml` trusts, and for which something is made; undefined where it names none. @throws {CliError} naming the plane */
export function configuredFederation(folder: PlaneFolder): FederationTrust | undefined {
  const found = readConfig(folder)
  if (found === undefined) return undefined
  const { federation, federation_audiences: audiences } = found.config
  if (federation.length === 0 && audiences.length === 0) return undefined
  const origin = readVerifierKey(folder.verifierKey).name
  const planes = federation.map((one) => readPlane(one, found.file))
  try {
    return { trusted: trustList(planes, origin), audiences }
  } catch (error) {
    if (error instanceof Denied) throw new CliError(`${found.file}: ${error.message}`, { code: error.code, hint: 'what a plane must name: spec/federation.md' })
    throw error
  }
}

function readPlane({ origin, key: text, witnesses, max_age_seconds: maxAgeSeconds, accepts, groups, scopes }: FederatedPlane, config: string): ForeignPlane {
  const base = path.dirname(config)
  const file = path.resolve(base, text)
  const key = readVerifierKey(fs.existsSync(file) ? file : text)
  if (key.name !== origin) throw new CliError(`${config}: federation: the key is that of ${key.name}, not of ${origin}`, { code: 'key_unknown', hint: 'the origin of a log is the name in its verifier key' })
  return { key, witnesses: readWitnessPolicy(path.resolve(base, witnesses)), maxAgeSeconds, accepts, groups, scopes }
}
