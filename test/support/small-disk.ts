import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { isRequired } from './scoreboard.ts'

const PAGE = 4_096

/** A file system of its own, of a few MiB, whose free space is in our hands. */
export class SmallDisk {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /** @returns why there is none where mounting needs what this user is not, or the system is not Linux */
  static make(mebibytes: number): SmallDisk | string {
    const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-disk-')))
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0700`, 'tmpfs', folder], { encoding: 'utf8' })
    if (mounted.status === 0) return new SmallDisk(folder)
    fs.rmdirSync(folder)
    const why = `void: no tmpfs can be mounted here (${mounted.error?.message ?? mounted.stderr.trim()}); run as root`
    if (isRequired('tmpfs')) throw new Error(why)
    console.error(why)
    return why
  }

  get freeBytes(): number {
    const { bavail, bsize } = fs.statfsSync(this.folder)
    return bavail * bsize
  }

  /** Takes all but `bytes` of what is free. */
  leave(bytes: number): void {
    const file = fs.openSync(path.join(this.folder, 'ballast'), 'a')
    try {
      while (this.freeBytes > bytes) fs.writeSync(file, Buffer.alloc(Math.max(PAGE, Math.min(1_048_576, this.freeBytes - bytes))))
    } finally {
      fs.closeSync(file)
    }
  }

  /** Gives the space back. */
  free(): void {
    fs.rmSync(path.join(this.folder, 'ballast'), { force: true })
  }

  /** @returns whether the system did so; it refuses while a file is open for writing */
  remount(how: 'ro' | 'rw'): boolean {
    return spawnSync('mount', ['-o', `remount,${how}`, this.folder]).status === 0
  }

  remove(): void {
    spawnSync('umount', ['-l', this.folder])
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}
