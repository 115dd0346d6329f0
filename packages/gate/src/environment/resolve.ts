import * as fs from 'node:fs'
import * as path from 'node:path'
import { Denied, quoted } from '@sealwrit/protocol'

/** A server command in the form in which it is hashed and started: nothing is looked up after this. */
export interface ResolvedCommand {
  /** Absolute, links resolved. */
  readonly executable: string
  /** Arguments after the executable. */
  readonly args: readonly string[]
  /** The script among them, absolute, when the executable is an interpreter. */
  readonly script: string | undefined
  /** What follows executable and script: what the user passed to the server. */
  readonly serverArgs: readonly string[]
}

const INTERPRETERS = /^(node|nodejs|bun|deno|python[0-9.]*|ruby|perl|bash|sh|dash|zsh)$/
/** Packages runners resolve at run time and may download: they are never executed, only understood. */
const PACKAGE_RUNNERS = new Set(['npx', 'npm', 'pnpm', 'pnpx', 'yarn', 'bunx', 'uvx', 'pipx'])
const MAX_SHEBANG = 255

/**
 * Resolves the command that starts a server.
 * @param searchFrom folders whose `node_modules` (and those of their parents) are searched for `npx PKG`
 * @throws {Denied} `environment_unattested` when it cannot be resolved to files that can be hashed · `interpreter_unbound`
 */
export function resolveCommand(command: readonly string[], options: { cwd: string; pathVariable: string; node: string; searchFrom: readonly string[] }): ResolvedCommand {
  const [name, ...args] = command
  if (name === undefined || name === '') throw new Denied('environment_unattested', 'no server command')
  const base = path.basename(name).replace(/\.(cmd|exe)$/i, '')
  if (base === 'npx') return resolveNpx(args, options)
  if (PACKAGE_RUNNERS.has(base)) throw new Denied('environment_unattested', `${quoted(base)} decides at run time what it starts; name the program itself, or \`npx PACKAGE\` of an installed one`)
  const executable = findExecutable(name, options)
  const interpreter = shebang(executable, options)
  if (interpreter !== undefined) return { executable: interpreter, args: [executable, ...args], script: executable, serverArgs: args }
  if (!INTERPRETERS.test(path.basename(executable))) return { executable, args, script: undefined, serverArgs: args }
  return bindScript(executable, args, options.cwd)
}

/** An interpreter is only bound together with the script it runs; options that bring other code are refused. */
function bindScript(executable: string, args: readonly string[], cwd: string): ResolvedCommand {
  const first = args[0]
  if (first === undefined || first.startsWith('-')) throw new Denied('interpreter_unbound', `give the script right after ${quoted(path.basename(executable))}, without options`)
  const script = realFile(path.resolve(cwd, first))
  if (script === undefined) throw new Denied('environment_unattested', `no script ${quoted(first)}`)
  return { executable, args: [script, ...args.slice(1)], script, serverArgs: args.slice(1) }
}

/** `npx [-y] PKG args`: the installed entry script, run by this very Node. Hashing npx would say nothing. */
function resolveNpx(args: readonly string[], options: { cwd: string; node: string; searchFrom: readonly string[] }): ResolvedCommand {
  const rest = [...args]
  while (rest[0] === '-y' || rest[0] === '--yes' || rest[0] === '--no-install' || rest[0] === '--offline') rest.shift()
  const spec = rest.shift()
  if (spec === undefined || spec.startsWith('-')) throw new Denied('environment_unattested', 'npx without a package name')
  const at = spec.lastIndexOf('@')
  const name = at > 0 ? spec.slice(0, at) : spec
  const version = at > 0 ? spec.slice(at + 1) : undefined
  if (!/^(@[a-z0-9._~-]+\/)?[a-z0-9._~-]+$/i.test(name) || name.includes('..')) throw new Denied('environment_unattested', `${quoted(spec)} is not a package name`)
  for (const start of [options.cwd, ...options.searchFrom]) {
    for (let folder = start; ; folder = path.dirname(folder)) {
      const manifest = path.join(folder, 'node_modules', ...name.split('/'), 'package.json')
      const script = fs.existsSync(manifest) ? entryScript(manifest, name, version) : undefined
      if (script !== undefined) return { executable: fs.realpathSync(options.node), args: [script, ...rest], script, serverArgs: rest }
      if (folder === path.dirname(folder)) break
    }
  }
  throw new Denied('environment_unattested', `package ${quoted(spec)} is not installed here; \`npm install ${name}\` in this folder first`)
}

function entryScript(manifest: string, name: string, version: string | undefined): string | undefined {
  const pkg = JSON.parse(fs.readFileSync(manifest, 'utf8')) as { version?: string; bin?: string | Record<string, string> } // oxlint-disable-line no-restricted-properties -- an installed package is measured, not parsed as a stranger's message
  if (version !== undefined && version !== 'latest' && version !== pkg.version) return undefined
  const plain = name.split('/').at(-1) as string
  const bin = typeof pkg.bin === 'string' ? pkg.bin : (pkg.bin?.[plain] ?? Object.values(pkg.bin ?? {})[0])
  return bin === undefined ? undefined : realFile(path.resolve(path.dirname(manifest), bin))
}

function findExecutable(name: string, options: { cwd: string; pathVariable: string }): string {
  if (name.includes('/')) {
    const file = realFile(path.resolve(options.cwd, name))
    if (file !== undefined) return file
  } else {
    for (const folder of options.pathVariable.split(path.delimiter)) {
      if (!path.isAbsolute(folder)) continue // `.` and empty entries are never searched
      const file = realFile(path.join(folder, name))
      if (file !== undefined && isExecutable(file)) return file
    }
  }
  throw new Denied('environment_unattested', `no program ${quoted(name)}`)
}

function shebang(file: string, options: { cwd: string; pathVariable: string; node: string }): string | undefined {
  const head = Buffer.alloc(MAX_SHEBANG + 1)
  const descriptor = fs.openSync(file, 'r')
  let length: number
  try {
    length = fs.readSync(descriptor, head, 0, head.length, 0)
  } finally {
    fs.closeSync(descriptor)
  }
  if (length < 2 || head[0] !== 0x23 || head[1] !== 0x21) return undefined
  const end = head.subarray(0, length).indexOf(10)
  if (end < 0 || end > MAX_SHEBANG) throw new Denied('interpreter_unbound', 'over-long first line')
  const words = head.toString('utf8', 2, end).trim().split(/[ \t]+/)
  const isEnv = path.basename(words[0] ?? '') === 'env'
  if (words.length !== (isEnv ? 2 : 1)) throw new Denied('interpreter_unbound', 'an interpreter line with options')
  const name = words.at(-1) as string
  if (path.basename(name) === 'node') return fs.realpathSync(options.node)
  const interpreter = findExecutable(name, options)
  if (shebang(interpreter, options) !== undefined) throw new Denied('interpreter_unbound', 'the interpreter is itself a script')
  return interpreter
}

function realFile(file: string): string | undefined {
  try {
    const real = fs.realpathSync(file)
    return fs.statSync(real).isFile() ? real : undefined
  } catch {
    return undefined
  }
}

function isExecutable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return true
  } catch {
    return false
  }
}
