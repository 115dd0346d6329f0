import * as fs from 'node:fs'
import { nodeCryptography } from '@sealwrit/gate'
import { type Checkpoint, Denied, equalBytes, type ForkProof, forkProof, fromUtf8, openCheckpoint, type NoteKey, parseForkProof, parseStrictText, verifyFork } from '@sealwrit/protocol'
import { CliError, EXIT, fromDenied } from '../errors.ts'
import { findFolder, readVerifierKey } from '../local/folder.ts'
import { bold, type GlobalOptions, green, json, line, plain, red } from '../output.ts'

/** Largest file that is looked at: a fork proof with two notes. */
const MAX_FILE_BYTES = 262_144

type Evidence = { readonly proof: ForkProof } | { readonly note: string; readonly head: Checkpoint }

/** `verify --fork`: whether two checkpoints, or a fork proof, show that one log key signed two histories. */
export function verifyForkFiles(names: readonly string[], options: GlobalOptions & { key?: string }): void {
  if (names.length < 1 || names.length > 2) throw new CliError('--fork takes two checkpoints, or one fork proof', { exit: EXIT.usage })
  const folder = findFolder(options.dir)
  if (options.key === undefined && !fs.existsSync(folder.verifierKey)) throw new CliError('no key to verify against', { exit: EXIT.usage, hint: 'give the log’s verifier key with --key KEY-OR-FILE' })
  const logKey = readVerifierKey(options.key ?? folder.verifierKey)
  const found = names.map((name) => readEvidence(name, logKey))
  const proof = found.find((one) => 'proof' in one)
  if (proof !== undefined) return report('fork', proved(proof.proof, logKey), options)
  const [a, b] = found.flatMap((one) => ('note' in one ? [one] : [])).sort((x, y) => x.head.size - y.head.size)
  if (a === undefined || b === undefined) throw new CliError('one checkpoint alone shows no fork', { exit: EXIT.usage, hint: 'name two checkpoints, or a fork proof' })
  if (a.head.size === b.head.size && equalBytes(a.head.root, b.head.root)) return report('none', `both checkpoints are of one tree of ${a.head.size} leaves`, options)
  if (a.head.size === b.head.size) return report('fork', proved(forkProof(logKey.name, a.note, b.note, []), logKey), options)
  if (a.head.size === 0) return report('none', 'every tree extends the empty one', options)
  report('unknown', `checkpoints of ${a.head.size} and ${b.head.size} leaves do not show by themselves whether one extends the other`, options)
}

function proved(proof: ForkProof, logKey: NoteKey): string {
  try {
    return verifyFork(proof, logKey, nodeCryptography)
  } catch (error) {
    throw unverified(error, 'no fork is proved')
  }
}

function readEvidence(name: string, logKey: NoteKey): Evidence {
  let text: string
  try {
    if (fs.statSync(name).size > MAX_FILE_BYTES) throw new CliError(`${name} is larger than ${MAX_FILE_BYTES} bytes`)
    text = fromUtf8(fs.readFileSync(name))
  } catch (error) {
    if (error instanceof CliError) throw error
    if (error instanceof Denied) throw fromDenied(error)
    throw new CliError(`${name} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  try {
    if (text.startsWith('{')) return { proof: parseForkProof(parseStrictText(text)) }
    return { note: text, head: openCheckpoint(text, logKey, nodeCryptography) }
  } catch (error) {
    throw unverified(error, `${name} is not evidence about ${logKey.name}`)
  }
}

function unverified(error: unknown, what: string): unknown {
  if (!(error instanceof Denied)) return error
  return new CliError(`${what}: ${error.message}`, { exit: EXIT.unverified, code: error.code })
}

/** A proved fork contradicts what the log signed: 13, like evidence that does not verify. So does what cannot be told. */
function report(result: 'fork' | 'none' | 'unknown', sentence: string, options: GlobalOptions): void {
  const hint = result === 'unknown' ? 'a fork proof needs the hashes between the two trees; a witness gives one in its answer and keeps it under forks/' : undefined
  if (options.json === true) json({ fork: result === 'fork' ? 'proved' : result === 'none' ? 'none' : 'not established', detail: sentence, ...(hint === undefined ? {} : { hint }) })
  else {
    line(result === 'fork' ? `${red('fork proved')}: ${plain(sentence)}` : result === 'none' ? `${green('no fork')}: ${plain(sentence)}` : `${bold('not established')}: ${plain(sentence)}`)
    if (hint !== undefined) line(`  hint: ${hint}`)
  }
  process.exitCode = result === 'none' ? EXIT.done : EXIT.unverified
}
