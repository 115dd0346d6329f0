import { everything, type MethodName, type PlaneMethods, PlaneUnreachable, SocketClient } from '@sealwrit/control-plane/client'
import { Denied } from '@sealwrit/protocol'
import { CliError, EXIT, fromDenied } from '../errors.ts'
import { selfLine } from '../self.ts'
import type { PlaneFolder } from './folder.ts'

/**
 * Asks the local plane one thing over its socket.
 * @throws {CliError} exit 14 when no plane answers; else what the plane refused with
 */
export async function askPlane<M extends MethodName>(folder: PlaneFolder, method: M, params: PlaneMethods[M]['params']): Promise<PlaneMethods[M]['result']> {
  const plane = new PlaneConnection(folder)
  try {
    return await plane.ask(method, params)
  } finally {
    plane.close()
  }
}

/** The local plane over one connection, for what asks many things. @throws {CliError} as {@link askPlane} */
export class PlaneConnection {
  readonly #folder: PlaneFolder
  readonly #client: SocketClient

  constructor(folder: PlaneFolder) {
    this.#folder = folder
    this.#client = new SocketClient(folder.socket)
  }
  async ask<M extends MethodName>(method: M, params: PlaneMethods[M]['params']): Promise<PlaneMethods[M]['result']> {
    try {
      return await this.#client.request(method, params)
    } catch (error) {
      throw explained(error, this.#folder)
    }
  }
  close(): void {
    this.#client.close()
  }
}

type Listing = Parameters<typeof everything>[1]

/** Everything that a list holds. @throws {CliError} as {@link askPlane} */
export async function allOf<M extends Listing>(folder: PlaneFolder, method: M, params: PlaneMethods[M]['params'] = {}): Promise<Awaited<ReturnType<ReturnType<typeof everything<M>>['next']>>['value'][]> {
  const all = []
  for await (const one of everything<M>((name, asked) => askPlane(folder, name, asked), method, params)) all.push(one)
  return all
}

function explained(error: unknown, folder: PlaneFolder): unknown {
  if (error instanceof Denied) return fromDenied(error)
  return error instanceof PlaneUnreachable ? unreachable(folder) : error
}

export function unreachable(folder: PlaneFolder): CliError {
  return new CliError(`no plane answers on ${folder.socket}; nothing ran`, { exit: EXIT.unreachable, code: 'unavailable', hint: 'start it with `npm start`, or name its folder with --dir' })
}

/** The plane's answer about `id`, or what to do when there is nothing of that name. */
export async function found<T>(id: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof CliError && error.code === 'request_malformed') throw new CliError(`the log holds no entry or execution \`${id.slice(0, 64)}\``, { hint: `list what there is: ${selfLine('log')}` })
    throw error
  }
}
