import { type ChildProcess, spawn } from 'node:child_process'
import * as path from 'node:path'

/** Words after Node's own path that start the program from source. */
export const PROGRAM: readonly string[] = ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', path.resolve(import.meta.dirname, '../../packages/cli/src/main.ts')]

/** The real program, from source, as a process of its own. */
export function sealwrit(args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): ChildProcess {
  return spawn(process.execPath, [...PROGRAM, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { ...process.env, NO_COLOR: '1', ...options.env },
  })
}

/** Runs the program to its end. */
export function run(args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv; input?: string } = {}): Promise<{ exit: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = sealwrit(args, options)
    let [stdout, stderr] = ['', '']
    child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.stdin?.end(options.input ?? '')
    child.once('close', (code) => resolve({ exit: code ?? -1, stdout, stderr }))
  })
}

/** Starts a plane and waits until it serves. */
export function startPlane(dir: string, listen = '127.0.0.1:0', env: NodeJS.ProcessEnv = {}): Promise<{ child: ChildProcess; url: string; origin: string }> {
  const child = sealwrit(['up', '--json', '--activate', '--dir', dir, '--listen', listen], { env })
  return new Promise((resolve, reject) => {
    let [out, errors] = ['', '']
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      if (!out.trimEnd().endsWith('}')) return
      const { url, origin } = JSON.parse(out) as { url: string; origin: string }
      resolve({ child, url, origin })
    })
    child.once('exit', (code) => reject(new Error(`plane ended (${code}): ${errors}`)))
  })
}

/** Ends one process by its own id and waits until it is gone. */
export function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.kill(signal)
  })
}

/** Starts a witness of the logs whose keys are in `logs`. */
export function startWitness(dir: string, ...logs: readonly string[]): Promise<{ child: ChildProcess; name: string; policy_line: string }> {
  const child = sealwrit(['witness', '--json', '--dir', dir, '--listen', '127.0.0.1:0', '--log', ...logs])
  child.stderr?.resume()
  return new Promise((resolve, reject) => {
    let out = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      if (out.trimEnd().endsWith('}')) resolve({ child, ...(JSON.parse(out) as { name: string; policy_line: string }) })
    })
    child.once('exit', (code) => reject(new Error(`witness ended (${code})`)))
  })
}
