import { type Clock, type DenialCode, type Entry, OUTCOMES } from '@sealwrit/protocol'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Metrics } from '../ports.ts'

/** What is looked up when somebody asks, and counted by nobody. */
export interface Gauges {
  readonly logEntries: number
  /** Leaves that the newest durable checkpoint covers. */
  readonly checkpointEntries: number
  readonly openPermits: number
  readonly gates: number
  readonly sessions: number
  readonly isReady: boolean
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
const GROUP_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096]

/**
 * Counts for Prometheus. Every label takes its values from a closed list of this project: kinds, denial codes, outcomes. No
 * name that an agent, a client or a server chose gets here, so neither secrets nor ever more series can come of one (I8).
 */
export class PrometheusMetrics implements Metrics {
  readonly #registry = new Registry()
  readonly #clock: Clock
  #signedMs: number
  readonly #decisions = this.#counter('decisions_total', 'Decisions in the log, by decision and denial code; by says who refused.', ['decision', 'code', 'by'])
  readonly #promptsSaved = this.#counter('approval_prompts_saved_total', 'Permits that a grant covered, so that nobody was asked.')
  readonly #receipts = this.#counter('receipts_total', 'Receipts of gates, by outcome.', ['outcome'])
  readonly #endings = this.#counter('endings_total', 'Endings that the plane wrote itself, by outcome.', ['outcome'])
  readonly #entries = this.#counter('entries_total', 'Entries that this process wrote, by kind.', ['kind'])
  readonly #groups = this.#counter('commit_groups_total', 'Commit groups that became durable.')
  readonly #groupSize = this.#histogram('commit_group_entries', 'Entries in a commit group.', GROUP_SIZES)
  readonly #commitSeconds = this.#histogram('commit_duration_seconds', 'Time to sign a group and make it durable.', SECONDS)
  readonly #authorizeSeconds = this.#histogram('authorize_duration_seconds', 'Time to decide, log and seal.', SECONDS)
  readonly #refusals = this.#counter('refusals_total', 'Requests refused without an entry, by denial code.', ['code'])
  readonly #storeFailures = this.#counter('store_failures_total', 'Writes that the store did not confirm.', ['recoverable'])
  readonly #failOpen = this.#counter('fail_open_total', 'Permits that would have left without their evidence. Anything but 0 is a defect: the writer stopped.')
  readonly #logEntries = this.#gauge('log_entries', 'Entries in the log.')
  readonly #checkpointEntries = this.#gauge('checkpoint_entries', 'Entries that the newest checkpoint covers.')
  readonly #checkpointAge = this.#gauge('checkpoint_age_seconds', 'Time since this process last signed a checkpoint, or started.')
  readonly #openPermits = this.#gauge('open_permits', 'Permits without an ending.')
  readonly #gates = this.#gauge('gates', 'Gates that enrolled.')
  readonly #sessions = this.#gauge('gate_sessions', 'Gate sessions that are open.')
  readonly #ready = this.#gauge('ready', '1 while the plane can write.')

  constructor(version: string, clock: Clock) {
    this.#clock = clock
    this.#signedMs = clock.monotonicMs()
    this.#gauge('build_info', 'The version that runs.', ['version']).set({ version }, 1)
    for (const decision of ['permit', 'hold']) this.#decisions.inc({ decision, code: 'none', by: 'plane' }, 0)
    for (const outcome of OUTCOMES) this.#receipts.inc({ outcome }, 0)
    for (const recoverable of ['true', 'false']) this.#storeFailures.inc({ recoverable }, 0)
  }

  committed({ entries, isSigned, durationMs }: Parameters<Metrics['committed']>[0]): void {
    if (isSigned) this.#signedMs = this.#clock.monotonicMs()
    this.#groups.inc()
    this.#commitSeconds.observe(durationMs / 1_000)
    if (entries.length > 0) this.#groupSize.observe(entries.length)
    for (const entry of entries) this.#count(entry)
  }

  authorized(durationMs: number): void {
    this.#authorizeSeconds.observe(durationMs / 1_000)
  }
  refused(code: DenialCode): void {
    this.#refusals.inc({ code })
  }
  storeFailed(isRecoverable: boolean): void {
    this.#storeFailures.inc({ recoverable: String(isRecoverable) })
  }
  failedOpen(): void {
    this.#failOpen.inc()
  }

  /** The text exposition format, and its content type. @see https://prometheus.io/docs/instrumenting/exposition_formats/ */
  async expose(now: Gauges): Promise<{ contentType: string; text: string }> {
    this.#logEntries.set(now.logEntries)
    this.#checkpointEntries.set(now.checkpointEntries)
    this.#checkpointAge.set((this.#clock.monotonicMs() - this.#signedMs) / 1_000)
    this.#openPermits.set(now.openPermits)
    this.#gates.set(now.gates)
    this.#sessions.set(now.sessions)
    this.#ready.set(now.isReady ? 1 : 0)
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() }
  }

  #count(entry: Entry): void {
    this.#entries.inc({ kind: entry.kind })
    switch (entry.kind) {
      case 'permit':
        if (entry.approvals.some((ref) => ref.startsWith('grant:'))) this.#promptsSaved.inc()
        return this.#decisions.inc({ decision: entry.kind, code: 'none', by: 'plane' })
      case 'hold':
        return this.#decisions.inc({ decision: entry.kind, code: 'none', by: 'plane' })
      case 'deny':
        return this.#decisions.inc({ decision: 'deny', code: entry.code, by: entry.denial === undefined ? 'plane' : 'gate' })
      case 'receipt':
        return this.#receipts.inc({ outcome: outcomeOf(entry.receipt) })
      case 'expiry':
        return this.#endings.inc({ outcome: entry.outcome })
      default:
    }
  }

  #counter<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name: `sealwrit_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] })
  }
  #gauge<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge({ name: `sealwrit_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] })
  }
  #histogram(name: string, help: string, buckets: readonly number[]): Histogram {
    return new Histogram({ name: `sealwrit_${name}`, help, buckets: [...buckets], registers: [this.#registry] })
  }
}

/**
 * The outcome in a receipt that was verified when it was logged: its claims are canonical and closed, and a quotation mark
 * inside a string would be escaped, so these bytes stand in them exactly once. Parsing it all again would cost 10 times more.
 */
function outcomeOf(token: string): string {
  const found = /"outcome":"([a-z_]+)"/.exec(Buffer.from(token.split('.', 2)[1] ?? '', 'base64url').toString('latin1'))?.[1]
  return OUTCOMES.find((outcome) => outcome === found) ?? 'unreadable'
}
