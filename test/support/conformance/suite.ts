import { execFile } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { parse } from 'yaml'

const SUITE = path.resolve(import.meta.dirname, '../../../node_modules/@modelcontextprotocol/conformance')
/** Longest run of one part, in milliseconds. */
const MAX_RUN_MS = 300_000

/** What the suite says of one check. */
export interface Check {
  readonly id: string
  readonly name: string
  readonly status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO'
  readonly errorMessage?: string
}
/** The checks of each scenario that was run. */
export type Results = ReadonlyMap<string, readonly Check[]>

export type Leg = 'server' | 'client'
export interface Required {
  readonly server: readonly string[]
  readonly client: readonly string[]
  /** Run and told, and never counted by the suite, with its reason. */
  readonly unscored: readonly { readonly scenario: string; readonly leg: Leg; readonly reason: string }[]
}

/** What conforming to `revision` requires, as the suite has frozen it. */
export function requiredBy(revision: string): Required {
  const { server, client, not_scored: unscored } = parse(fs.readFileSync(path.join(SUITE, 'requirements', `${revision}.yaml`), 'utf8')) as { server: string[]; client: string[]; not_scored: Required['unscored'] }
  return { server, client, unscored }
}

/** Runs one part of the suite. @param words after the program's own name; where its results go is added here */
export async function runSuite(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Results> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-conformance-'))
  try {
    // Its exit status says whether a scenario failed, which the checks tell in full.
    const said = await new Promise<string>((resolve) => {
      execFile(process.execPath, [path.join(SUITE, 'dist', 'index.js'), ...words, '--output-dir', folder], { env: { ...process.env, ...env }, timeout: MAX_RUN_MS, maxBuffer: 2 ** 26 }, (_error, stdout, stderr) => resolve(stdout + stderr))
    })
    const results = new Map<string, readonly Check[]>()
    for (const file of fs.readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      const scenario = /^(?:server-)?(.+)-\d{4}-\d\d-\d\dT[\d-]+Z[\\/]checks\.json$/.exec(file)?.[1]
      if (scenario !== undefined) results.set(scenario, JSON.parse(fs.readFileSync(path.join(folder, file), 'utf8')) as Check[])
    }
    if (results.size === 0) throw new Error(`the suite ran nothing: ${said.slice(-2_000)}`)
    return results
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
