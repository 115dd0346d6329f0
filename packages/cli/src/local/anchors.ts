import * as fs from 'node:fs'
import * as path from 'node:path'
import { type SinkConfig, SinkError, sinkUrl } from '@sealwrit/control-plane'
import { CliError } from '../errors.ts'
import type { Config } from './config.ts'

/**
 * The places that `config` names, checked before anything is opened: a copy that lies inside the plane's own folder would be
 * restored, lost and stolen together with it, and be no anchor at all.
 * @param store file of the embedded store; undefined where the log lives in a database
 * @throws {CliError} naming file and member
 */
export function anchorSinks({ config, file }: { config: Config; file: string }, planeDir: string, store: string | undefined): readonly SinkConfig[] {
  const seen = new Set<string>()
  return config.anchors.map((sink, i) => {
    const fail = (member: string, why: string, hint?: string): never => {
      throw new CliError(`${file}: anchors.${i}.${member}: ${why}`, hint === undefined ? {} : { hint })
    }
    const checked = sink.type === 'file' ? { type: sink.type, path: path.resolve(path.dirname(file), sink.path) } : sink
    const key = `${checked.type} ${checked.type === 'file' ? checked.path : checked.url}`
    if (seen.has(key)) fail('type', 'the same place twice')
    seen.add(key)
    if (checked.type === 'file') {
      const at = real(checked.path)
      if (isInside(at, real(planeDir))) fail('path', 'lies in the plane’s own folder', 'name a file on another disk or machine: what is lost together with the store shows nothing')
      if (fs.lstatSync(checked.path, { throwIfNoEntry: false })?.isFile() === false) fail('path', 'is not a regular file', 'nothing is kept by a device, a pipe or a folder, and no link is followed')
      if (store !== undefined && ['', '-wal', '-shm'].some((end) => at === real(`${store}${end}`))) fail('path', 'is the store itself')
    } else {
      try {
        sinkUrl(checked.url)
      } catch (error) {
        if (!(error instanceof SinkError)) throw error
        fail('url', error.message)
      }
    }
    return checked
  })
}

/** A path without links, also where its end does not exist yet. */
export function real(file: string): string {
  try {
    return fs.realpathSync(file)
  } catch {
    const folder = path.dirname(file)
    return folder === file ? file : path.join(real(folder), path.basename(file))
  }
}

export function isInside(file: string, folder: string): boolean {
  return file === folder || file.startsWith(folder.endsWith(path.sep) ? folder : `${folder}${path.sep}`)
}
