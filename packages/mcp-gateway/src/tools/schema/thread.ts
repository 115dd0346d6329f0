import { Worker } from 'node:worker_threads'
import { type Clock, Denied } from '@sealwrit/protocol'
import type { Dialect } from './keywords.ts'
import type { Failure } from './outcome.ts'
import type { Subschema } from './read.ts'
import type { Answer, Job } from './worker.ts'

/** Time for one validation in the thread, and for one to begin, in milliseconds. */
export const VALIDATION_MS = 500
export const THREAD_START_MS = 5_000
/** Validations that may wait for the thread, and for how long, in milliseconds. */
export const MAX_WAITING_VALIDATIONS = 64
export const VALIDATION_WAIT_MS = 2_000
/** How long the thread is kept when nothing is asked of it, in milliseconds. */
export const THREAD_IDLE_MS = 10_000
/** Memory of the thread, in MiB. */
const THREAD_MEMORY = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 16 }
/** Built files stand beside this one as it does itself. */
const FILE = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

interface Waiting {
  readonly schema: number
  readonly text: NonNullable<Job['text']>
  readonly args: unknown
  readonly resolve: (failure: Failure | undefined) => void
  readonly reject: (denied: Denied) => void
  readonly giveUp: () => void
}

interface Running extends Waiting {
  readonly job: number
  stop: () => void
}

/**
 * Validates what cannot be bounded beforehand, one after another, in a thread that is ended when its time is over: nothing that an author of a
 * schema writes can hold the gateway up (ATK-105). It is started when it is needed first, and keeps no process alive.
 */
export class ValidationThread {
  readonly #clock: Clock
  readonly #waiting: Waiting[] = []
  #worker: Worker | undefined
  /** Whether the thread has said that it listens. */
  #isUp = false
  #running: Running | undefined
  /** Schemas that the present thread was sent. */
  readonly #sent = new Set<number>()
  #jobs = 0
  #schemas = 0
  #closed = false
  #stopResting: () => void = () => undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A number for one schema, which the thread may know it by. */
  nextSchema(): number {
    return this.#schemas++
  }

  /**
   * @returns what does not fit; undefined where all does
   * @throws {Denied} `limit_exceeded` where it took too long, `overloaded` where too much waits
   */
  run(schema: number, root: Subschema, dialect: Dialect, args: unknown): Promise<Failure | undefined> {
    if (this.#closed) return Promise.reject(new Denied('unavailable', 'closed'))
    if (this.#waiting.length >= MAX_WAITING_VALIDATIONS) return Promise.reject(new Denied('overloaded', 'too many validations wait'))
    return new Promise((resolve, reject) => {
      const giveUp = this.#clock.after(VALIDATION_WAIT_MS, () => {
        const at = this.#waiting.findIndex((one) => one.resolve === resolve)
        if (at !== -1) this.#waiting.splice(at, 1)[0]?.reject(new Denied('overloaded', 'other validations took too long'))
      })
      this.#waiting.push({ schema, text: { root, dialect }, args, resolve, reject, giveUp })
      this.#next()
    })
  }

  close(): void {
    this.#closed = true
    for (const one of this.#waiting.splice(0)) {
      one.giveUp()
      one.reject(new Denied('unavailable', 'closed'))
    }
    this.#fail(new Denied('unavailable', 'closed'))
  }

  #next(): void {
    if (this.#running !== undefined) return
    const next = this.#waiting.shift()
    if (next === undefined) return this.#rest()
    this.#stopResting()
    next.giveUp()
    const stop = this.#limit(this.#isUp ? VALIDATION_MS : THREAD_START_MS)
    this.#running = { ...next, job: this.#jobs++, stop }
    this.#worker ??= this.#start()
    this.#worker.ref() // somebody waits for its answer
    if (this.#isUp) this.#send(this.#running)
  }

  /** Each client at each server has one: it does not stay where nobody needs it. */
  #rest(): void {
    this.#worker?.unref()
    this.#stopResting()
    if (this.#worker !== undefined) this.#stopResting = this.#clock.after(THREAD_IDLE_MS, () => this.#end())
  }

  #limit(ms: number): () => void {
    return this.#clock.after(ms, () => this.#fail(new Denied('limit_exceeded', 'the arguments could not be validated in time')))
  }

  #send({ schema, text, args, job }: Running): void {
    const isKnown = this.#sent.has(schema)
    this.#sent.add(schema)
    this.#worker?.postMessage({ job, schema, args, ...(isKnown ? {} : { text }) } satisfies Job)
  }

  #start(): Worker {
    const worker = new Worker(FILE, { resourceLimits: THREAD_MEMORY, execArgv: [], env: {} })
    worker.on('message', (answer: Answer) => this.#take(answer, worker))
    const ended = (): void => {
      if (this.#worker === worker) this.#fail(new Denied('limit_exceeded', 'the arguments could not be validated'))
    }
    worker.on('error', ended) // as when its memory is used up
    worker.on('exit', ended)
    worker.on('messageerror', ended)
    return worker
  }

  #take(answer: Answer, from: Worker): void {
    const running = this.#running
    if (from !== this.#worker || running === undefined) return
    if ('isUp' in answer) {
      // Its time counts from when the thread listens: what a start takes is nobody's fault.
      this.#isUp = true
      running.stop()
      running.stop = this.#limit(VALIDATION_MS)
      return this.#send(running)
    }
    if (answer.job !== running.job) return
    if ('wrong' in answer && answer.wrong === 'unknown') {
      this.#sent.delete(running.schema)
      return this.#send(running)
    }
    running.stop()
    this.#running = undefined
    if ('failure' in answer) running.resolve(answer.failure)
    else running.reject(new Denied('limit_exceeded', answer.wrong === 'pattern' ? 'input schema: a pattern that is no regular expression' : 'the arguments could not be validated'))
    this.#next()
  }

  /** Ends the thread with what it does, and goes on with a new one. */
  #fail(denied: Denied): void {
    const running = this.#running
    this.#running = undefined
    this.#end()
    running?.stop()
    running?.reject(denied)
    if (!this.#closed) this.#next()
  }

  #end(): void {
    const worker = this.#worker
    this.#worker = undefined
    this.#isUp = false
    this.#sent.clear()
    this.#stopResting()
    void worker?.terminate()
  }
}
