import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { formatVerifierKey, parseNote, verifyCosignature } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/witness'
import { afterAll, describe, expect, it } from 'vitest'
import { LOG_KEY, logOf, submission, WITNESS_KEY } from './support/rig.ts'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-killed-'))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

function start(killAt: number): Promise<{ url: string; child: ChildProcess; ended: Promise<NodeJS.Signals | null> }> {
  const child = spawn(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', path.join(import.meta.dirname, 'support/killed.ts'), folder, formatVerifierKey(LOG_KEY), String(killAt)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once('exit', (_code, signal) => resolve(signal)))
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', (chunk: Buffer) => resolve({ url: chunk.toString().trim(), child, ended }))
    child.once('exit', () => reject(new Error('the witness ended early')))
  })
}

describe('a witness that is killed between its record and its answer', () => {
  it('ATK-071, I5: knows after each of 6 kills what it may have cosigned, and never cosigns less or other', async () => {
    const log = logOf(64)
    const other = logOf(64, (i) => `other ${i}`)
    let known = 0
    for (let kill = 0; kill < 6; kill++) {
      const { url, ended } = await start(2)
      const post = (body: string): Promise<Response> => fetch(`${url}/add-checkpoint`, { method: 'POST', body })
      const first = await post(submission(log, known, known + 3))
      expect(first.status).toBe(200)
      await expect(post(submission(log, known + 3, known + 7))).rejects.toThrow() // its record is durable, its answer never left
      expect(await ended).toBe('SIGKILL')
      known += 7

      const again = await start(0)
      const ask = async (body: string): Promise<[number, string]> => {
        const response = await fetch(`${again.url}/add-checkpoint`, { method: 'POST', body })
        return [response.status, await response.text()]
      }
      expect(await ask(submission(log, known - 4, known))).toEqual([409, `${known}\n`])
      const [status, line] = await ask(submission(log, known, known))
      expect(status).toBe(200)
      expect(verifyCosignature(parseNote(log.note(known) + line), WITNESS_KEY, Number.MAX_SAFE_INTEGER, nodeCryptography)).toBeGreaterThan(0)
      if (kill === 5) expect((await ask(submission(other, known, known)))[0]).toBe(409)
      again.child.kill('SIGKILL')
      await again.ended
    }
  }, 60_000)
})
