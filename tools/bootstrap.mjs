#!/usr/bin/env node
// Finds the pinned Node, installs what is missing, and runs one job of this repository. Valid on Node 18; no dependency.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const MIN_NODE = [24, 15, 0]
const [job, ...args] = process.argv.slice(2)

/** Everything said here goes to stderr: stdout may be a protocol. */
const say = (text) => process.stderr.write(`${text}\n`)

function fail(text) {
  say(text)
  process.exit(1)
}

function isNewEnough(version) {
  const parts = version.replace(/^v/, '').split('.').map(Number)
  for (let i = 0; i < 3; i++) if (parts[i] !== MIN_NODE[i]) return parts[i] > MIN_NODE[i]
  return true
}

function install() {
  const lock = path.join(root, 'package-lock.json')
  const done = path.join(root, 'node_modules', '.package-lock.json')
  if (existsSync(done) && statSync(done).mtimeMs >= statSync(lock).mtimeMs) return
  say('sealwrit: installing dependencies (npm ci, about 500 MB with the pinned Node; done once) …')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const result = spawnSync(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
  if (result.status !== 0) fail('sealwrit: npm ci failed; is the package registry reachable? run `npm ci` here to see why')
}

function findNode() {
  if (isNewEnough(process.version)) return process.execPath
  const pinned = path.join(root, 'node_modules', '.bin', 'node')
  if (existsSync(pinned)) return pinned
  return fail(`sealwrit: Node ${MIN_NODE.join('.')} or later is needed, this is ${process.version}; no pinned build exists for ${process.platform}-${process.arch}, so install one from nodejs.org`)
}

function command(node) {
  const bin = (name, file) => path.join(root, 'node_modules', name, file)
  const source = ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning']
  const cli = path.join(root, 'packages', 'cli', 'src', 'main.ts')
  switch (job) {
    case 'start':
      return [node, [...source, cli, 'up', ...args]]
    case 'cli':
      return [node, [...source, cli, ...args]]
    case 'test':
      return [node, [bin('vitest', 'vitest.mjs'), 'run', '--root', root, ...args]]
    case 'conformance': // writes what it saw into CONFORMANCE.md
      process.env.SEALWRIT_UPDATE = '1'
      return [node, [bin('vitest', 'vitest.mjs'), 'run', '--root', root, path.join('test', 'conformance.test.ts'), ...args]]
    case 'corpus': // decides the corpus, and writes what came of it into corpus/RESULTS.md
      process.env.SEALWRIT_UPDATE = '1'
      return [node, [bin('vitest', 'vitest.mjs'), 'run', '--root', root, path.join('test', 'corpus.test.ts'), ...args]]
    case 'typecheck':
      return [node, [bin('typescript', 'bin/tsc'), '-p', path.join(root, 'tsconfig.test.json'), ...args]]
    case 'build':
      return [node, [path.join(root, 'tools', 'build.mjs'), ...args]]
    case 'bench':
      return [node, [...source, path.join(root, 'bench', 'run.ts'), ...args]]
    case 'example':
      return [node, [...source, path.join(root, 'examples', args[0] ?? '', `${args[0] ?? ''}.ts`), ...args.slice(1)]]
    case 'soak':
      return [node, [path.join(root, 'tools', 'scoreboard.mjs'), ...args]]
    default:
      return fail('usage: node tools/bootstrap.mjs start|cli|test|typecheck|build|bench|soak|conformance|corpus|example [arguments]')
  }
}

install()
const node = findNode()
const [program, programArgs] = command(node)
// What is started from its sources is compiled once, and kept where the sources are: a third of the time to start.
const cache = path.join(root, 'node_modules', '.cache', 'sealwrit')
const env = { NODE_COMPILE_CACHE: cache, ...process.env, PATH: `${path.dirname(node)}${path.delimiter}${process.env.PATH ?? ''}` }
const atRoot = job !== 'cli' && job !== 'start'
const child = spawn(program, programArgs, { stdio: 'inherit', env, cwd: atRoot ? root : (job === 'start' ? (process.env.INIT_CWD ?? process.cwd()) : process.cwd()) })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.once('error', (error) => fail(`sealwrit: cannot run ${program}: ${error.message}`))
child.once('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + 15))
