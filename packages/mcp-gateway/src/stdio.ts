import type { Readable, Writable } from 'node:stream'
import { LineFront } from './client/lines.ts'
import type { ClientPort, Seat } from './client/seat.ts'
import type { Gate } from '@sealwrit/gate'
import { MAX_UNREAD_BYTES } from './server/lines.ts'

export interface StdioOptions {
  /** Records what is refused before it reaches the seat. */
  readonly gate: Gate
  readonly openSeat: (port: ClientPort) => Seat
  readonly input: Readable
  readonly output: Writable
}

/**
 * Serves one client over its streams until either side ends.
 * @returns why it ended, and whether that was the server's doing
 */
export function runStdioGateway({ gate, openSeat, input, output }: StdioOptions): Promise<{ reason: string; serverFailed: boolean }> {
  return new Promise((resolve) => {
    let ended = false
    const end = (reason: string, serverFailed: boolean): void => {
      if (ended) return
      ended = true
      input.removeAllListeners('data')
      resolve({ reason, serverFailed })
    }
    const front: LineFront = new LineFront(
      {
        write: (line) => {
          if (output.writableLength > MAX_UNREAD_BYTES) leave('the client does not read')
          else if (output.writable) output.write(`${line}\n`)
        },
        refused: (denied) => void gate.reporter.denial(denied, {}).catch(() => undefined),
        ended: (reason) => end(reason, true),
      },
      openSeat,
    )
    const leave = (reason: string): void => {
      front.close(reason)
      end(reason, false)
    }
    input.on('data', (chunk: Buffer) => front.data(chunk))
    input.once('end', () => leave('the client closed'))
    output.on('error', () => leave('the client is gone'))
  })
}
