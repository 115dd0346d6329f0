import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { type DenialCode, parseBundle, utf8 } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red } from '../output.ts'
import { selfLine } from '../self.ts'
import { breakSignature, changeEntry, replay, type Sealed } from './hostile-wire.ts'
import { Stage } from './stage.ts'

interface Condition {
  readonly name: string
  /** What is done to provoke it. */
  readonly what: string
  readonly expected: DenialCode
  readonly tool?: 'move_file'
  begin(stage: Stage, control: Sealed): void
  end?(stage: Stage): void
}

const CONDITIONS: readonly Condition[] = [
  {
    name: 'missing',
    what: 'the permit arrives without its artifact',
    expected: 'artifact_missing',
    begin: (stage) => {
      stage.wire.tampering = () => null
    },
  },
  {
    name: 'invalid',
    what: 'one bit of the log’s signature is flipped',
    expected: 'signature_invalid',
    begin: (stage) => {
      stage.wire.tampering = breakSignature
    },
  },
  {
    name: 'policy mismatch',
    what: 'the injected agent asks for a tool that a policy forbids',
    expected: 'policy_denied',
    tool: 'move_file',
    begin: () => undefined,
  },
  {
    name: 'replayed',
    what: 'the artifact of the call before is shown again, with a genuine fresh proof',
    expected: 'challenge_mismatch',
    begin: (stage, control) => {
      stage.wire.tampering = async (fresh) => {
        const leaves = parseBundle(utf8(await stage.bundle('all'))).entries.map(({ entry }) => entry)
        return replay(control, fresh, leaves, nodeCryptography.sha256)
      }
    },
  },
  {
    name: 'environment mismatch',
    what: 'the server’s entry script is rewritten after it was measured',
    expected: 'environment_mismatch',
    begin: (stage) => fs.appendFileSync(stage.serverScript, '// changed\n'),
    end: (stage) => fs.writeFileSync(stage.serverScript, fs.readFileSync(stage.serverScript, 'utf8').replace('// changed\n', '')),
  },
  {
    name: 'integrity failure',
    what: 'the permit itself is edited to allow a longer run',
    expected: 'seal_invalid',
    begin: (stage) => {
      stage.wire.tampering = changeEntry
    },
  },
  {
    name: 'expired',
    what: 'the artifact is used 61 seconds after it was issued',
    expected: 'artifact_expired',
    begin: (stage) => {
      stage.clockOffsetMs = 61_000
    },
  },
]

interface Result {
  readonly condition: string
  readonly what: string
  readonly expected: string
  readonly code: string | undefined
  readonly control: boolean
  readonly canaryUnchanged: boolean
}

/** The denial conditions, provoked for real, each after a control call that succeeded on the same path. */
export async function demo(options: GlobalOptions & { output?: string }): Promise<void> {
  if (options.output !== undefined && fs.existsSync(options.output)) throw new CliError(`${options.output} exists already`, { hint: 'choose another file with --output' })
  const stage = new Stage()
  const say = (text = ''): void => (options.json === true ? undefined : line(text))
  const stop = (): void => void stage.strike().finally(() => process.exit(130))
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    say(`${bold('Sealwrit demo')}: an injected agent works against a real MCP file server behind a gate. No network is used.`)
    say(dim('starting a plane, a gate and the server …'))
    await stage.set()
    const results: Result[] = []
    for (const condition of CONDITIONS) {
      const result = await provoke(condition, results.length, stage)
      results.push(result)
      const ok = isShown(result)
      say(`${ok ? green('✓') : red('✗')} ${condition.name.padEnd(21)} ${(result.code ?? 'it ran').padEnd(21)} ${result.canaryUnchanged ? 'canary unchanged' : red('CANARY CHANGED')}  ${dim(condition.what)}`)
    }
    const bundle = await stage.bundle('all')
    say(dim('verifying the evidence in a fresh process, in an empty folder with only the bundle and the public key …'))
    const verdict = stage.verifyElsewhere(bundle)
    for (const text of verdict.text.trimEnd().split('\n')) say(`  ${plain(text)}`)
    if (options.output !== undefined) keep(options.output, bundle, fs.readFileSync(stage.folder.verifierKey, 'utf8'), say)
    if (options.json === true) json({ conditions: results, verified: verdict.exit === 0, verdict: verdict.text.split('\n')[0] })
    if (!results.every(isShown)) throw new CliError('a condition was not denied as it must be', { exit: EXIT.fault })
    if (verdict.exit !== 0) throw new CliError('the evidence does not verify', { exit: EXIT.unverified })
    say(`${green(bold('all denied'))}: ${results.length} conditions, ${results.length} codes, 0 effects; every control call before them ran.`)
  } finally {
    process.removeListener('SIGINT', stop)
    process.removeListener('SIGTERM', stop)
    await stage.strike()
  }
}

function isShown(result: Result): boolean {
  return result.control && result.canaryUnchanged && result.code === result.expected
}

async function provoke(condition: Condition, number: number, stage: Stage): Promise<Result> {
  const { name, what, expected, tool } = condition
  const file = (prefix: string): string => path.join(stage.files, `${prefix}-${number}.txt`)
  const controlCode = await stage.session.call('write_file', { path: file('control'), content: 'written with a permit' })
  const control = controlCode === undefined && fs.existsSync(file('control'))
  const before = stage.canary()
  condition.begin(stage, stage.wire.lastSealed as Sealed)
  let code: string | undefined
  try {
    code =
      tool === undefined
        ? await stage.session.call('write_file', { path: file('attack'), content: 'written without a writ' })
        : await stage.session.call(tool, { source: file('control'), destination: file('attack') })
  } finally {
    stage.wire.tampering = undefined
    condition.end?.(stage)
  }
  return { condition: name, what, expected, code, control, canaryUnchanged: stage.canary() === before }
}

function keep(output: string, bundle: string, key: string, say: (text: string) => void): void {
  fs.writeFileSync(output, bundle, { flag: 'wx', mode: 0o600 })
  fs.writeFileSync(`${output}.vkey`, key, { mode: 0o600 })
  say('  kept; check it again with:')
  say(`  ${selfLine('verify', path.resolve(output), '--key', path.resolve(`${output}.vkey`))}`)
}
