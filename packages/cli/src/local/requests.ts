import type { Recorded } from '@sealwrit/control-plane'
import type { JsonObject } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { Progress } from '../progress.ts'
import { askPlane } from './client.ts'
import type { PlaneFolder } from './folder.ts'

/** A recorded request, with what a set in shadow mode would have decided. */
export type RecordedRequest = Recorded & { readonly entry: { readonly code?: string; readonly observed?: string; readonly scope?: { readonly target: string; readonly name: string } }; readonly shadow?: JsonObject }

/** Requests that the local plane recorded, oldest first. @param since a leaf index or a time @throws {CliError} */
export async function* recordedRequests(folder: PlaneFolder, since: string, what: string, isQuiet: boolean): AsyncGenerator<RecordedRequest> {
  const progress = new Progress(what, isQuiet)
  try {
    for (let from = since; ; ) {
      const page = (await ask(folder, from)) as { requests: RecordedRequest[]; next: number; size: number }
      yield* page.requests
      progress.at(page.next, page.size, 'entries')
      if (page.next >= page.size) return
      from = String(page.next)
    }
  } finally {
    progress.end()
  }
}

async function ask(folder: PlaneFolder, since: string): Promise<unknown> {
  try {
    return await askPlane(folder, 'policies.requests', { since })
  } catch (error) {
    if (error instanceof CliError && error.code === 'request_malformed') throw new CliError(`--since takes an index of the log or a time, not \`${since.slice(0, 32)}\``, { exit: EXIT.usage, hint: 'such as 120, 2030-01-31 or 2030-01-31T08:00:00Z' })
    throw error
  }
}

/** The texts of a recorded policy set; undefined where the plane does not keep them. */
export async function policyTexts(folder: PlaneFolder, digest: string): Promise<Readonly<Record<string, string>> | undefined> {
  try {
    return (await askPlane(folder, 'policies.text', { digest })).files as Readonly<Record<string, string>>
  } catch (error) {
    if (error instanceof CliError && error.code === 'request_malformed') return undefined
    throw error
  }
}
