import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { expect, it } from 'vitest'
import { run } from '../../test/support/processes.ts'

it('the day happens as it is told, and its evidence holds for the second verifier too', { timeout: 120_000 }, async () => {
  const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-day-')))
  try {
    const day = spawn(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', path.join(import.meta.dirname, 'day.ts'), root], { stdio: ['ignore', 'pipe', 'pipe'] })
    let told = ''
    for (const stream of [day.stdout, day.stderr]) stream.on('data', (chunk: Buffer) => (told += chunk.toString()))
    expect(await new Promise((resolve) => day.once('close', resolve)), told).toBe(0)
    for (const chapter of ['Morning', 'A deletion is held', 'Noon', 'The planner is revoked', 'Afternoon', 'it is killed everywhere', 'Evening']) expect(told).toContain(chapter)
    const key = path.join(root, '.sealwrit', 'log.vkey')
    const verified = await run(['verify', path.join(root, 'day.json'), '--key', key, '--replay', '--json'])
    expect(verified.exit, verified.stderr).toBe(0)
    expect(JSON.parse(verified.stdout)).toMatchObject({ verdict: 'established' })
    const second = spawn('python3', [path.resolve(import.meta.dirname, '../../spec/verifier/verify.py'), path.join(root, 'day.json'), '--key', key], { stdio: ['ignore', 'pipe', 'pipe'] })
    let opinion = ''
    second.stdout.on('data', (chunk: Buffer) => (opinion += chunk.toString()))
    expect(await new Promise((resolve) => second.once('close', resolve)), opinion).toBe(0)
  } finally {
    fs.rmSync(root, { recursive: true, force: true })
  }
})
