import { type ChildProcess, fork, spawn } from 'node:child_process'
import * as fs from 'node:fs'

/** Arguments under which Node runs this repository from its sources. */
export const fromSource: readonly string[] = ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning']

/** A line of `/proc/PID/status` in MiB: `VmRSS` (now) or `VmHWM` (the highest so far). */
export function memory(pid: number, line: 'VmRSS' | 'VmHWM'): number {
  const [, kibibytes] = new RegExp(`^${line}:\\s+(\\d+) kB$`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kibibytes) / 1_024
}
export const mebibytes = (value: number): string => `${value.toFixed(0)} MiB`

/** Processor time that a process has used, in seconds. @see proc(5) `/proc/pid/stat` */
export function processorSeconds(pid: number): number {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100 // user and system, in ticks of 10 ms
}

/**
 * Runs a program of this repository to its end; its highest memory and its processor time are as last seen, every 50 ms.
 * @param options of the runtime, none for what is built
 * @throws when it fails
 */
export async function run(file: string, args: readonly string[], options: readonly string[] = fromSource): Promise<{ seconds: number; processor: number; peak: number; stdout: string }> {
  const from = performance.now()
  const child = spawn(process.execPath, [...options, file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let [peak, processor, stdout] = [0, 0, '']
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  const timer = setInterval(() => {
    try {
      peak = Math.max(peak, memory(child.pid as number, 'VmHWM') || 0)
      processor = processorSeconds(child.pid as number)
    } catch {
      clearInterval(timer) // it has just ended
    }
  }, 50)
  const code = await new Promise((resolve) => child.once('close', resolve))
  clearInterval(timer)
  if (code !== 0) throw new Error(`${file} ${args[0] ?? ''} ended with ${code as number}`)
  return { seconds: (performance.now() - from) / 1_000, processor, peak, stdout }
}

/** A process that answers every message with one of its own. */
export class Worker {
  readonly child: ChildProcess
  private constructor(child: ChildProcess) {
    this.child = child
  }
  static async start(file: string, args: readonly string[]): Promise<Worker> {
    const worker = new Worker(fork(file, args, { execArgv: [...fromSource] }))
    await worker.#answer()
    return worker
  }
  async ask(message: number): Promise<void> {
    this.child.send(message)
    await this.#answer()
  }
  #answer(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.child.once('message', () => resolve())
      this.child.once('exit', (code) => reject(new Error(`it ended (${code})`)))
    })
  }
  stop(): void {
    this.child.removeAllListeners('exit')
    if (this.child.connected) this.child.disconnect()
  }
}
