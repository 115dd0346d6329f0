import * as fs from 'node:fs'
import * as path from 'node:path'
import { CliError } from '../errors.ts'

/** Gates of one name that may run at once. */
const MAX_SLOTS = 64

/**
 * Takes a folder for one running gate: the first whose holder is not running. Two gates never share a key, since the newer
 * session of a gate fences the older.
 */
export function takeSlot(folder: string): string {
  for (let number = 0; number < MAX_SLOTS; number++) {
    const slot = path.join(folder, String(number))
    fs.mkdirSync(slot, { recursive: true, mode: 0o700 })
    if (takeLock(path.join(slot, 'pid'))) return slot
  }
  throw new CliError(`${MAX_SLOTS} gates of this name run already`)
}

/** Holds `file` until this process ends; false while another process that runs holds it. */
export function takeLock(file: string): boolean {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: 'wx', mode: 0o600 })
      process.once('exit', () => fs.rmSync(file, { force: true }))
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      if (isRunning(Number(fs.readFileSync(file, 'utf8')))) return false
      fs.rmSync(file, { force: true })
    }
  }
  return false
}

function isRunning(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
