import * as fs from 'node:fs'
import { builtinModules } from 'node:module'
import * as path from 'node:path'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '..')

/** Who may import whom. References alone do not stop an undeclared import by package name: npm links every workspace. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  gate: ['node:', '@sealwrit/protocol'],
  'control-plane': ['node:', '@sealwrit/protocol', '@cedar-policy/cedar-wasm', '@fastify/helmet', '@fastify/rate-limit', '@fastify/swagger', '@fastify/swagger-ui', '@opentelemetry/api', '@sigstore/bundle', '@sigstore/protobuf-specs', '@sigstore/verify', 'fastify', 'fastify-type-provider-zod', 'pg', 'prom-client', 'zod'],
  'mcp-gateway': ['node:', '@sealwrit/gate', '@sealwrit/protocol', '@cfworker/json-schema', '@opentelemetry/api', 'undici'],
  witness: ['node:', '@sealwrit/protocol'],
  assessor: ['@sealwrit/protocol'],
  cli: ['node:', '@sealwrit/protocol', '@sealwrit/assessor', '@sealwrit/gate', '@sealwrit/mcp-gateway', '@sealwrit/control-plane', '@sealwrit/witness', 'commander', 'smol-toml', 'yaml', 'zod'],
}

/** Stages never import each other; `plane.ts` composes them. */
const STAGES = ['identify', 'decide', 'authorize', 'redeem', 'prove', 'govern']
/** Types of the stage before: what a stage is handed, never code that it runs. */
const HANDED_ON: readonly string[] = ['authorize → decide', 'govern → decide']

interface Source {
  readonly file: string
  readonly pkg: string
  readonly text: string
  readonly imports: readonly { readonly from: string; readonly isType: boolean }[]
}

function sources(): Source[] {
  return Object.keys(mayImport).flatMap((pkg) => {
    const folder = path.join(root, 'packages', pkg, 'src')
    return (fs.readdirSync(folder, { recursive: true }) as string[])
      .filter((name) => name.endsWith('.ts'))
      .map((name) => {
        const text = fs.readFileSync(path.join(folder, name), 'utf8')
        const imports = [...text.matchAll(/^(?:import|export)\s+(type\s+)?[^'"]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|^import\s+'([^']+)'/gm)].map((m) => ({ from: (m[2] ?? m[3] ?? m[4]) as string, isType: m[1] !== undefined }))
        return { file: `packages/${pkg}/src/${name}`, pkg, text, imports }
      })
  })
}

const all = sources()

describe('the architecture', () => {
  it('finds every package', () => {
    expect(fs.readdirSync(path.join(root, 'packages')).sort()).toEqual(Object.keys(mayImport).sort())
    expect(all.length).toBeGreaterThan(60)
  })

  it.each(Object.keys(mayImport))('%s imports only what its trust zone allows', (pkg) => {
    const allowed = mayImport[pkg] as readonly string[]
    const wrong = all
      .filter((source) => source.pkg === pkg)
      .flatMap(({ file, imports }) => imports.filter(({ from }) => !from.startsWith('.') && !allowed.some((a) => from === a || from.startsWith(a === 'node:' ? a : `${a}/`))).map(({ from }) => `${file} imports ${from}`))
    expect(wrong).toEqual([])
  })

  it('declares every package that it imports', () => {
    for (const pkg of Object.keys(mayImport)) {
      const manifest = JSON.parse(fs.readFileSync(path.join(root, 'packages', pkg, 'package.json'), 'utf8')) as { dependencies?: Record<string, string>; optionalDependencies?: Record<string, string> }
      const used = new Set(all.filter((s) => s.pkg === pkg).flatMap(({ imports }) => imports.map(({ from }) => from)).filter((from) => !from.startsWith('.') && !from.startsWith('node:')).map((from) => from.split('/').slice(0, from.startsWith('@') ? 2 : 1).join('/')))
      expect([...used].sort(), pkg).toEqual(Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }).sort())
    }
  })

  it('gives protocol, gate, witness and assessor no dependency from outside', () => {
    const outside = ['protocol', 'gate', 'witness', 'assessor'].flatMap((pkg) => all.filter((s) => s.pkg === pkg)).flatMap(({ imports }) => imports.map(({ from }) => from)).filter((from) => !from.startsWith('.') && !from.startsWith('node:') && !from.startsWith('@sealwrit/'))
    expect(outside).toEqual([])
    expect(builtinModules).toContain('crypto')
  })

  it('keeps the stages of the plane apart', () => {
    const wrong: string[] = []
    for (const { file, pkg, imports } of all) {
      const stage = file.split('/')[3] as string
      if (pkg !== 'control-plane' || !STAGES.includes(stage)) continue
      for (const { from, isType } of imports) {
        const target = from.startsWith('../') ? (from.split('/')[1] as string) : ''
        if (!STAGES.includes(target) || target === stage) continue
        if (!(HANDED_ON.includes(`${stage} → ${target}`) && (isType || stage === 'govern'))) wrong.push(`${file} imports ${from}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('pins the rooms of the plane', () => {
    const rooms = fs.readdirSync(path.join(root, 'packages/control-plane/src'), { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => e.name).sort()
    expect(rooms).toEqual(['adapters', 'anchor', 'authorize', 'client', 'decide', 'govern', 'http', 'identify', 'log', 'prove', 'redeem', 'rpc', 'store', 'testing'])
  })

  it('takes time and randomness as arguments: only adapters and the command line know the real ones', () => {
    const real = /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bperformance\.now\(/
    expect(all.filter(({ file, text }) => real.test(text) && !file.includes('/adapters/')).map(({ file }) => file)).toEqual([])
  })

  it('starts no shell, evaluates no text and parses no stranger’s bytes with JSON.parse', () => {
    const bans: readonly [RegExp, string][] = [[/shell:\s*true/, 'shell'], [/\beval\(|new Function\(/, 'eval'], [/\bexecSync\(|\bexec\(\s*[`'"]/, 'exec']]
    for (const { file, text } of all) for (const [ban, what] of bans) if (!file.includes('/sqlite/')) expect(ban.test(text), `${file}: ${what}`).toBe(false)
    const parses = all.filter(({ text }) => text.split('\n').some((line) => line.includes('JSON.parse(') && !line.includes('oxlint-disable-line'))).map(({ file }) => file)
    expect(parses).toEqual([])
  })

  it('turns the unknown into `unavailable` in the pipeline of the gate in exactly one catch (I4)', () => {
    const enforce = all.find(({ file }) => file === 'packages/gate/src/enforce.ts') as Source
    expect(enforce.text.match(/new Denied\('unavailable'/g)).toHaveLength(1)
  })

  it('holds no file that is too long to be read', () => {
    expect(all.filter(({ text }) => text.split('\n').length > 400).map(({ file }) => file)).toEqual([])
  })

  it('keeps files of one version', () => {
    const versions = Object.keys(mayImport).map((pkg) => (JSON.parse(fs.readFileSync(path.join(root, 'packages', pkg, 'package.json'), 'utf8')) as { version: string }).version)
    expect(new Set(versions).size).toBe(1)
  })
})
