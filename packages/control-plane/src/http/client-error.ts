import type { Socket } from 'node:net'
import { type DenialCode, DENIALS } from '@sealwrit/protocol'

/** What the parser of HTTP refuses never becomes a request: answered here, and the connection ends (ATK-085). */
export function clientError(error: { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const [status, reason, code] = refusalOf(error.code)
  const { meaning, hint } = DENIALS[code]
  const body = JSON.stringify({ type: `urn:sealwrit:denial:${code}`, title: meaning, status, code, hint })
  socket.end(`HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`)
}

function refusalOf(code: string | undefined): readonly [status: number, reason: string, code: DenialCode] {
  if (code === 'HPE_HEADER_OVERFLOW') return [431, 'Request Header Fields Too Large', 'limit_exceeded']
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return [408, 'Request Timeout', 'limit_exceeded']
  return [400, 'Bad Request', 'request_malformed']
}
