import { Denied, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import type { Reply } from '../client/seat.ts'

/** Tasks of one client that run at once, and that are remembered: the oldest that ended is forgotten first. */
export const MAX_TASKS = 256
/** Longest id of a task, in UTF-16 units. */
const MAX_TASK_ID = 1_024
/** How often a task is looked at, in milliseconds, whatever its server suggests. */
const [MIN_POLL_MS, MAX_POLL_MS] = [100, 5_000]
const ENDED: ReadonlySet<JsonValue | undefined> = new Set(['completed', 'failed', 'cancelled'])

/** What is asked of the server about a task. */
type AskTask = (method: 'tasks/get' | 'tasks/cancel', params: JsonObject) => Promise<Reply>

/**
 * The tasks that calls of this client began at the server. A call that answers with a task runs on until that ends, so its
 * execution does too: under its lease, ended with it, and recorded with how it ended.
 * @see MCP 2025-11-25, basic/utilities/tasks
 */
export class Tasks {
  /** Whether each of them still runs. */
  readonly #ids = new Map<string, boolean>()
  #places = 0

  /** Takes a place for a call that may begin one, before it is sent. @throws {Denied} `limit_exceeded` */
  enter(): void {
    if (this.#places >= MAX_TASKS) throw new Denied('limit_exceeded', 'too many tasks')
    this.#places++
  }

  /** Gives that place back: nobody follows task `id` any more, or there was none. */
  leave(id: string | undefined): void {
    this.#places--
    if (id !== undefined) this.#ids.set(id, false)
  }

  /** The id of the task that a call began; undefined for any other answer. @throws {Denied} `limit_exceeded` */
  begun(reply: Reply): string | undefined {
    const task = 'result' in reply ? reply.result['task'] : undefined
    const id = isObject(task) ? task['taskId'] : undefined
    if (typeof id !== 'string') return undefined
    if (id.length > MAX_TASK_ID) throw new Denied('limit_exceeded', 'the id of a task')
    this.#ids.delete(id)
    this.#ids.set(id, true)
    for (const [old, runs] of this.#ids) if (this.#ids.size > MAX_TASKS && !runs) this.#ids.delete(old)
    return id
  }

  /** A task is its client's: nobody else asks about it, or hears of it. */
  has(id: JsonValue | undefined): boolean {
    return typeof id === 'string' && this.#ids.has(id)
  }

  /** A list of tasks without those of others. */
  shown(result: JsonObject): JsonObject {
    const { tasks } = result as { tasks?: JsonValue }
    return Array.isArray(tasks) ? { ...result, tasks: tasks.filter((task: JsonValue) => isObject(task) && this.has(task['taskId'])) } : result
  }

  /**
   * Waits for the end of task `id`. When `signal` fires, or nothing can be learned of it, the server is told to cancel it.
   * @returns what the server said of it last
   * @throws {Denied} why `signal` fired, or what asking the server failed with
   */
  async ended(id: string, ask: AskTask, signal: AbortSignal): Promise<Reply> {
    const cancel = (): void => void ask('tasks/cancel', { taskId: id }).catch(() => undefined)
    signal.addEventListener('abort', cancel, { once: true })
    try {
      const reply = await untilEnded(id, ask, signal)
      if ('error' in reply) cancel()
      return reply
    } catch (error) {
      if (!signal.aborted) cancel()
      throw error
    } finally {
      signal.removeEventListener('abort', cancel)
    }
  }
}

async function untilEnded(id: string, ask: AskTask, signal: AbortSignal): Promise<Reply> {
  for (;;) {
    const reply = await ask('tasks/get', { taskId: id })
    if ('error' in reply || ENDED.has(reply.result['status'])) return reply
    const { pollInterval } = reply.result
    await pause(Math.min(Math.max(typeof pollInterval === 'number' ? pollInterval : MAX_POLL_MS, MIN_POLL_MS), MAX_POLL_MS), signal)
    if (signal.aborted) throw signal.reason instanceof Denied ? signal.reason : new Denied('unavailable', 'ended')
  }
}

/** Whether a server lets calls of tools be tasks. */
export function takesTasks(capabilities: JsonObject): boolean {
  const within = (value: JsonValue | undefined, name: string): JsonValue | undefined => (isObject(value) ? value[name] : undefined)
  return isObject(within(within(within(capabilities['tasks'], 'requests'), 'tools'), 'call'))
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    timer.unref()
    signal.addEventListener('abort', end, { once: true })
  })
}
