import { evidenceLines as linesOf } from '@sealwrit/control-plane/client'
import { askPlane } from '../local/client.ts'
import type { PlaneFolder } from '../local/folder.ts'

/** The lines of an evidence bundle of the local plane, as `evidenceLines` of its client. */
export function evidenceLines(folder: PlaneFolder, selector: string, since?: string, told?: (entries: number, of: number | undefined) => void): AsyncGenerator<string> {
  return linesOf((method, params) => askPlane(folder, method, params), selector, since, told)
}
