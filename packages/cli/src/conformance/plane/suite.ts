import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { Denied, type NoteKey } from '@sealwrit/protocol'
import { memberText } from '../../output.ts'
import { CliError, EXIT } from '../../errors.ts'
import { type PlaneRule, RUNS } from '../rules.ts'
import { broken, held, type Told, unchecked, type Verdict } from '../verdict.ts'
import { denialsRecorded, entriesSince, permitsAccounted } from './accounts.ts'
import { CANARY, type Control, PlaneSide } from './side.ts'
import { type Outcome, outcomeOf, PLANE_STEPS } from './steps.ts'
import type { PlaneWire } from './wire.ts'

/** What is found out from everything that was answered, at the end. */
export const LAST_STEPS: readonly string[] = ['seals', 'denials', 'accounts']

/** Rules in a row after which nothing is permitted any more: the rest is not tried. */
const MAX_LOST = 3

/** What a plane with the starter policies permits. */
const DOCTOR: Control = { action: { type: 'mcp.tool_call', target: CANARY.target, name: CANARY.name, arguments: {}, tool_digest: CANARY.digest }, agent: 'sealwrit-doctor' }

export interface PlaneSuiteOptions {
  readonly wire: PlaneWire
  /** What is permitted; undefined: the canary's tool, which is pinned first. */
  readonly control: Control | undefined
  /** The log's verifier key, for the origin that the plane says; undefined where it is not known. */
  readonly logKey: (origin: string) => NoteKey | undefined
  readonly told: Told
  readonly signal: AbortSignal
}

/** Asks a plane, as two gates, as an agent and as somebody who is none, for what may not be. @throws {CliError} where no plane answers */
export function runPlaneSuite(rules: readonly PlaneRule[], options: PlaneSuiteOptions): Promise<readonly Verdict[]> {
  return beside(options, (side) => new PlaneTrial(side, options.control === undefined, options.told, options.signal).all(rules))
}

/** Meets a plane, and takes back at the end what was left there. @throws {CliError} where no plane answers */
export async function beside<T>({ wire, control, logKey, signal }: Omit<PlaneSuiteOptions, 'told'>, run: (side: PlaneSide) => Promise<T>): Promise<T> {
  const status = await wire.ask('asker', 'status', {}, 0)
  if ('refused' in status) {
    wire.close()
    if (status.refused === '') throw new CliError('no plane answers there; nothing was tried', { exit: EXIT.unreachable, code: 'unavailable', hint: 'is it running, and is the address right?' })
    throw new CliError(`the plane does not let this runner in: ${status.refused}`, { exit: EXIT.denied, hint: 'name a file with the token of an admin with --token-file' })
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-conformance-'))
  const { origin, tenant, size } = status.result
  const side = new PlaneSide(wire, control ?? DOCTOR, logKey(memberText(origin)), folder)
  const stop = (): void => wire.close()
  signal.addEventListener('abort', stop, { once: true })
  try {
    side.origin = memberText(origin)
    side.tenant = memberText(tenant)
    side.firstSize = Number(size)
    return await run(side)
  } finally {
    signal.removeEventListener('abort', stop)
    await side.leave().catch(() => undefined)
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

class PlaneTrial {
  readonly #side: PlaneSide
  readonly #pins: boolean
  readonly #told: Told
  readonly #signal: AbortSignal
  /** Rules in a row after which what is permitted was refused. */
  #lost = 0

  constructor(side: PlaneSide, pins: boolean, told: Told, signal: AbortSignal) {
    this.#side = side
    this.#pins = pins
    this.#told = told
    this.#signal = signal
  }

  async all(rules: readonly PlaneRule[]): Promise<readonly Verdict[]> {
    const verdicts: Verdict[] = []
    let control = await this.#begin()
    for (const rule of [...rules.filter((one) => !isLast(one)), ...rules.filter(isLast)]) {
      if (this.#signal.aborted) break
      if (this.#lost === MAX_LOST) control = 'nothing is permitted any more'
      // What was sealed for the control is judged, also where that is why there is none.
      const verdict = control === '' || (rule.do.step === 'seals' && this.#side.problems.length > 0) ? await this.#try(rule) : unchecked(rule, `the control was not permitted: ${control}`)
      verdicts.push(verdict)
      this.#told(verdict)
    }
    return verdicts
  }

  /** Both gates enrol, and what is permitted is. @returns why not */
  async #begin(): Promise<string> {
    const side = this.#side
    return whyNot(async () => {
      await side.open('gate')
      await side.open('other gate')
      if (this.#pins) await side.pinCanary()
      await side.permit()
      await side.settle()
    })
  }

  async #try(rule: PlaneRule): Promise<Verdict> {
    const { wire } = this.#side
    if (rule.over !== undefined && rule.over !== wire.over) return unchecked(rule, rule.over === 'http' ? 'it is about HTTP: name the plane by its URL' : 'over HTTP a gate is no connection: name the plane by its socket')
    if (isLast(rule)) return this.#last(rule)
    let outcome: Outcome
    try {
      outcome = await this.#provoke(rule)
    } catch (error) {
      await this.#recover()
      if (error instanceof TypeError) return unchecked(rule, `it could not be made wrong: ${error.message}`)
      const why = reasonOf(error)
      return rule.expect.includes(RUNS) ? broken(rule, `it must be let through: ${why}`) : unchecked(rule, `what comes before it failed: ${why}`)
    }
    const lost = await this.#recover()
    if (!rule.expect.includes(outcome)) return broken(rule, outcome === RUNS ? 'it was let through' : rule.expect.includes(RUNS) ? `it must be let through: ${outcome}` : `refused, but with ${outcome} in place of ${rule.expect.join(' or ')}`)
    return lost === '' ? held(rule, outcome === RUNS ? 'let through' : outcome) : broken(rule, `${outcome}, but then what is permitted was refused too: ${lost}`)
  }

  async #provoke(rule: PlaneRule): Promise<Outcome> {
    const how = rule.do
    if (how.step !== undefined) {
      const step = PLANE_STEPS[how.step]
      if (step === undefined) throw new TypeError(`no step is called ${how.step}`)
      return step(this.#side)
    }
    const { method, params } = await this.#side.wrong(how)
    const outcome = outcomeOf(await this.#side.ask(how.as, method, params, how))
    if (how.ask === 'receipts') {
      if (outcome === RUNS) this.#side.ended.add([...this.#side.given.keys()].at(-1) ?? '')
      else this.#side.actor(how.as).receiptRefused()
    }
    return outcome
  }

  /** After each rule what is permitted must be, once more in new sessions where it is not. @returns why it is not */
  async #recover(): Promise<string> {
    const side = this.#side
    const again = (): Promise<string> =>
      whyNot(async () => {
        await side.permit()
        await side.settle()
      })
    let why = await again()
    if (why !== '') {
      why = await whyNot(async () => {
        await side.open('gate')
        await side.open('other gate')
      })
      if (why === '') why = await again()
    }
    this.#lost = why === '' ? 0 : this.#lost + 1
    return why
  }

  async #last(rule: PlaneRule): Promise<Verdict> {
    const side = this.#side
    if (rule.do.step === 'seals') {
      if (!side.judges) return unchecked(rule, 'name the log’s verifier key with --key')
      const [problem] = side.problems
      return problem === undefined ? held(rule, `${side.verified} sealed entries, each under a checkpoint that extends the one before`) : broken(rule, `${side.problems.length} of ${side.problems.length + side.verified} do not verify: ${problem}`)
    }
    try {
      const entries = await entriesSince(side)
      const found = rule.do.step === 'denials' ? denialsRecorded(side, entries) : permitsAccounted(side, entries)
      return 'problem' in found ? broken(rule, found.problem) : held(rule, found.count)
    } catch (error) {
      return unchecked(rule, reasonOf(error))
    }
  }
}

const isLast = ({ do: { step } }: PlaneRule): boolean => step !== undefined && LAST_STEPS.includes(step)

async function whyNot(act: () => Promise<void>): Promise<string> {
  try {
    await act()
    return ''
  } catch (error) {
    return reasonOf(error)
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Denied ? (error.detail ?? error.code) : error instanceof Error ? error.message : 'unknown'
}
