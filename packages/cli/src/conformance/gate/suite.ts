import * as path from 'node:path'
import * as fs from 'node:fs'
import * as os from 'node:os'
import { formatVerifierKey } from '@sealwrit/protocol'
import { CliError } from '../../errors.ts'
import { type GateRule, RUNS } from '../rules.ts'
import { broken, held, type Told, unchecked, type Verdict } from '../verdict.ts'
import { pause } from '../pause.ts'
import { Adversary } from './adversary.ts'
import { type Attempt, GateProcess, ownGate } from './gate-process.ts'
import { call, STEPS } from './steps.ts'

/** How long a stopped call may go on after its lease, and after a kill, in milliseconds. */
const STOP_MS = 2_000
/** How long a receipt is waited for, and a late answer's effect, in milliseconds. */
const RECEIPT_MS = 1_000
const AFTER_MS = 300
/** How often one rule is tried, where the gate does not ask what it has to. */
const MAX_TRIES = 3
/** Rules in a row after which nothing that is permitted runs: the rest is not tried. */
const MAX_LOST = 3
/** What the calls that are made between rules find out is looked at for itself. */
const OWN_STEPS: ReadonlySet<string> = new Set(['asks', 'accounts'])

export interface GateSuiteOptions {
  /** Words that start the gate, to which those of the canary are appended; undefined: the gate of this program. */
  readonly command: readonly string[] | undefined
  readonly told: Told
  /** Ends everything, and whatever is awaited. */
  readonly signal: AbortSignal
}

/** Asks a gate, with the runner as its plane, for what may not run. @throws {CliError} where the gate cannot be started */
export async function runGateSuite(rules: readonly GateRule[], { command, told, signal }: GateSuiteOptions): Promise<readonly Verdict[]> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-conformance-'))
  const adversary = new Adversary()
  const gate = new GateProcess(command ?? ownGate(dir), dir, path.join(dir, 'canary'))
  const stop = async (): Promise<void> => {
    adversary.close()
    await gate.end()
    fs.rmSync(dir, { recursive: true, force: true })
  }
  const aborted = (): void => void stop()
  signal.addEventListener('abort', aborted, { once: true })
  try {
    fs.writeFileSync(path.join(dir, 'log.vkey'), `${formatVerifierKey(adversary.plane.key)}\n`)
    await adversary.listen(path.join(dir, 'plane.sock'))
    await gate.start()
    return await new GateTrial(adversary, gate, told, signal).all(rules)
  } finally {
    signal.removeEventListener('abort', aborted)
    await stop()
  }
}

class GateTrial {
  readonly #adversary: Adversary
  readonly #gate: GateProcess
  readonly #told: Told
  readonly #signal: AbortSignal
  /** What went wrong with a call that must run; found out after each rule. */
  #control = ''
  /** Refusals that no plane can have written down: the gate alone saw that a signature does not hold. */
  #ownRefusals = 0

  constructor(adversary: Adversary, gate: GateProcess, told: Told, signal: AbortSignal) {
    this.#adversary = adversary
    this.#gate = gate
    this.#told = told
    this.#signal = signal
  }

  async all(rules: readonly GateRule[]): Promise<readonly Verdict[]> {
    const verdicts: Verdict[] = []
    const first = await this.#gate.call()
    let control = first.outcome === 'ran' && first.ran === 1 ? '' : `the control call did not run: ${first.outcome}`
    let lost = 0
    for (const rule of rules) {
      if (this.#signal.aborted) break
      if (lost === MAX_LOST) control = `nothing that is permitted runs any more: ${this.#control}`
      const verdict = control !== '' ? unchecked(rule, `${control}${this.#gate.said === '' ? '' : `; the gate said: ${this.#gate.said}`}`) : await this.#try(rule)
      lost = this.#control === '' ? 0 : lost + 1
      verdicts.push(verdict)
      this.#told(verdict)
    }
    return verdicts
  }

  async #try(rule: GateRule): Promise<Verdict> {
    if (OWN_STEPS.has(rule.do.step ?? '')) return rule.do.step === 'asks' ? this.#asks(rule) : this.#accounts(rule)
    let tried: { readonly attempt: Attempt; readonly isMade: boolean }
    try {
      tried = await this.#insist(rule)
    } catch (error) {
      if (error instanceof CliError) throw error
      await this.#recover(rule)
      return unchecked(rule, `it could not be tried: ${error instanceof Error ? error.message : 'unknown'}`)
    }
    const { attempt, isMade } = tried
    const found = rule.expect.includes(RUNS) ? await this.#whyNotRun(attempt) : this.#whyNotRefused(rule, attempt)
    const problem = found === '' && !isMade && attempt.ran > 0 ? 'it ran without the answer that the rule is about' : found
    await this.#recover(rule)
    const { fault } = this.#adversary
    this.#adversary.fault = undefined
    if (fault !== undefined) return unchecked(rule, `it could not be made wrong: ${fault.message}`)
    if (!isMade && attempt.ran === 0) return unchecked(rule, `the gate did not ask for what was to be answered wrong: ${attempt.outcome}`)
    if (problem !== '') return broken(rule, problem)
    if (attempt.outcome === 'signature_invalid') this.#ownRefusals++
    return this.#control === '' ? held(rule, `${attempt.outcome}, canary ${attempt.ran === 0 ? 'unchanged' : `+${attempt.ran}`}`) : broken(rule, `refused with ${attempt.outcome}, but then what is permitted did not run either: ${this.#control}`)
  }

  /** Again where the wrong answer was not asked for: a connection that has just ended can still be believed to be open. */
  async #insist(rule: GateRule): Promise<{ readonly attempt: Attempt; readonly isMade: boolean }> {
    for (let tried = 1; ; tried++) {
      const before = this.#adversary.made
      const attempt = await this.#provoke(rule)
      const isMade = rule.do.step !== undefined || rule.do.carried !== undefined || rule.do.issued !== undefined || this.#adversary.made > before
      if (isMade || attempt.ran > 0 || tried === MAX_TRIES) return { attempt, isMade }
    }
  }

  async #provoke({ do: how }: GateRule): Promise<Attempt> {
    const { plane } = this.#adversary
    const step = how.step === undefined ? undefined : STEPS[how.step]
    if (how.step !== undefined && step === undefined) throw new CliError(`no step is called ${how.step}`)
    const before = this.#gate.ran
    const from = process.hrtime.bigint()
    if (how.on === 'gates.enrol') await this.#adversary.hangUp()
    if (how.lasts !== undefined) plane.permits = { constraints: { lease_seconds: how.lasts.lease, max_runtime_seconds: how.lasts.most, obligations: [] } }
    this.#adversary.attack = how
    try {
      const attempt = await (step === undefined ? call(this.#adversary, this.#gate, how) : step(this.#adversary, this.#gate, how))
      const passed = Number((process.hrtime.bigint() - from) / 1_000_000n)
      if (how.late_ms !== undefined || (how.times ?? 1) > 1) await pause(Math.max(0, (how.late_ms ?? 0) - passed) + AFTER_MS)
      // A replay makes a call before that ran.
      return step === undefined ? { ...attempt, ran: this.#gate.ran - before } : attempt
    } finally {
      this.#adversary.attack = undefined
      this.#adversary.between = undefined
      plane.permits = {}
    }
  }

  #whyNotRefused({ expect, do: { lasts, call: made } }: GateRule, { outcome, ran, ms }: Attempt): string {
    const mayBegin = made.arguments['linger_ms'] === undefined ? 0 : 1
    if (outcome === 'ran') return `it ran: canary +${ran}`
    if (ran > mayBegin) return `refused with ${outcome}, but it ran: canary +${ran}`
    if (!expect.includes(outcome)) return `refused, but with ${outcome === 'refused' ? 'no code' : outcome} in place of ${expect.join(' or ')}`
    const most = lasts === undefined ? undefined : Math.min(lasts.lease, lasts.most) * 1_000 + STOP_MS
    return most !== undefined && ms > most ? `stopped with ${outcome}, but only after ${ms} ms` : ''
  }

  /** A call that must run runs once, was asked for, and has its receipt. */
  async #whyNotRun({ outcome, ran }: Attempt): Promise<string> {
    const { accounts, permits } = this.#adversary
    if (outcome !== 'ran' || ran !== 1) return `it must run once: ${outcome}, canary +${ran}`
    const jti = permits.at(-1)
    for (let i = 0; i < RECEIPT_MS / 20; i++) {
      if (accounts.some((account) => account.jti === jti && account.outcome === 'completed')) return ''
      await pause(20)
    }
    return jti === undefined ? 'it ran without being asked for' : 'it ran, and no receipt that verifies says so'
  }

  /** After each rule, what is permitted must run: on a new connection, and where that does not help in a new process. */
  async #recover({ expect, do: { call: made } }: GateRule): Promise<void> {
    // A gate that stops what runs may end the server to be sure, and itself with it.
    if (made.arguments['linger_ms'] !== undefined && !expect.includes(RUNS)) await this.#gate.restart().catch(() => undefined)
    await this.#adversary.hangUp()
    for (let tried = 0; tried < MAX_TRIES; tried++) {
      const { outcome, ran } = await this.#gate.call()
      this.#control = outcome === 'ran' && ran === 1 ? '' : outcome
      if (this.#control === '') return
      if (tried > 0 || outcome === 'ended') await this.#gate.restart().catch(() => undefined)
    }
  }

  async #asks(rule: GateRule): Promise<Verdict> {
    const before = this.#adversary.permits.length
    const attempt = await this.#gate.call()
    if (this.#adversary.permits.length === before) return broken(rule, attempt.ran > 0 ? 'a call ran that the plane was not asked for' : `the plane was not asked: ${attempt.outcome}`)
    const problem = await this.#whyNotRun(attempt)
    return problem === '' ? held(rule, 'asked for, ran once, receipt verified') : broken(rule, problem)
  }

  /** Everything that the gate signed verifies, and its numbers have neither gap nor double. */
  #accounts(rule: GateRule): Verdict {
    const { accounts, forgeries, denials } = this.#adversary
    if (forgeries.length > 0) return broken(rule, `${forgeries.length} of its statements do not verify: ${forgeries[0] ?? ''}`)
    const missing = firstMissing(accounts)
    if (missing !== undefined) return broken(rule, `receipt ${missing} of a session never came`)
    const untold = firstMissing(denials)
    if (untold !== undefined) return broken(rule, `denial ${untold} of a session never came`)
    if (accounts.length === 0) return broken(rule, 'it signed no receipt')
    if (denials.length === 0 && this.#ownRefusals > 0) return broken(rule, 'it refused by itself, and no denial that it signed came')
    return held(rule, `${accounts.length} receipts of ${new Set(accounts.map(({ session }) => session)).size} sessions, ${denials.length} denials`)
  }
}

/** The first number below the highest that no statement of its session has; one that was sent again, since its answer was lost, counts once. */
function firstMissing(statements: readonly { readonly session: string; readonly sequence: number }[]): number | undefined {
  const sessions = Map.groupBy(statements, ({ session }) => session)
  for (const own of sessions.values()) {
    const seen = new Set(own.map(({ sequence }) => sequence))
    for (let i = 0; i < seen.size; i++) if (!seen.has(i)) return i
  }
  return undefined
}
