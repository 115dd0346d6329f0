import { parentPort, Worker } from 'node:worker_threads'

/** Threads that can be asked for. */
export const MAX_JOBS = 64
/** Memory of one thread, in MiB: what it is asked about is small, and it keeps nothing. */
const LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 } as const

/** A module of its own next to the one at `url`: built, or from source. */
export function siblingModule(url: string, name: string): URL {
  return new URL(`./${name}${url.endsWith('.ts') ? '.ts' : '.js'}`, url)
}

/**
 * Threads that all answer the same kind of question, started with the first one. They are help and no more: where there is none, or one
 * has gone, nothing is answered, and whoever asked does the work.
 */
export class Threads<Q, A> {
  readonly #module: URL
  readonly #count: number
  readonly #asked = new Map<number, (answer: A | undefined) => void>()
  #workers: Worker[] | undefined
  #nextId = 0

  /** @param module calls {@link answering} */
  constructor(module: URL, count: number) {
    this.#module = module
    this.#count = Math.min(count, MAX_JOBS)
  }

  get count(): number {
    return this.#count
  }

  ask(question: Q): Promise<A | undefined> {
    this.#workers ??= Array.from({ length: this.#count }, () => this.#start())
    const id = this.#nextId++
    const worker = this.#workers[id % this.#workers.length]
    if (worker === undefined) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      this.#asked.set(id, resolve)
      worker.postMessage({ id, question })
    })
  }

  async close(): Promise<void> {
    await Promise.all((this.#workers ?? []).map((worker) => worker.terminate()))
  }

  #start(): Worker {
    const worker = new Worker(this.#module, { resourceLimits: LIMITS })
    worker.on('message', ({ id, answer }: { id: number; answer: A }) => {
      this.#asked.get(id)?.(answer)
      this.#asked.delete(id)
    })
    worker.once('error', () => this.#giveUp())
    worker.once('exit', () => this.#giveUp())
    return worker
  }

  #giveUp(): void {
    for (const resolve of this.#asked.values()) resolve(undefined)
    this.#asked.clear()
    for (const worker of this.#workers ?? []) void worker.terminate()
    this.#workers = []
  }
}

/** What a thread of {@link Threads} does: it answers each question as it comes. */
export function answering<Q, A>(answer: (question: Q) => A): void {
  parentPort?.on('message', ({ id, question }: { id: number; question: Q }) => parentPort?.postMessage({ id, answer: answer(question) }))
}
