import type { Model, Report } from '@sealwrit/assessor'
import { CliError, EXIT } from '../errors.ts'
import { PlaneSource } from '../evidence/source.ts'
import type { PlaneFolder } from '../local/folder.ts'
import { disputed } from './recompute.ts'

/** Reports that were kept, with the one of now: each is of this log, and the one that is compared with says what the entries of then give. @throws {CliError} */
export async function holdAgainst({ compared, history }: { readonly compared: Report | undefined; readonly history: readonly Report[] }, folder: PlaneFolder, now: Report, model: Model): Promise<void> {
  const other = [...(compared === undefined ? [] : [compared]), ...history].find(({ origin, tenant }) => origin !== now.origin || tenant !== now.tenant)
  const whose = other === undefined ? undefined : `one is of ${other.origin}, tenant ${other.tenant}`
  const reason = whose ?? (compared === undefined || now.size === 0 ? undefined : await disputed(compared, new PlaneSource(folder), model))
  if (reason !== undefined) throw new CliError(`what is compared with is no report of this log: ${reason}`, { exit: EXIT.unverified, hint: 'it was changed, or is of another deployment; `sealwrit assess --json` writes one' })
}
