import * as http from 'node:http'
import * as net from 'node:net'

/** A port that was free a moment ago, for servers that take one from their command line or environment. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })
}

/** Passes requests on as they are, headers added at the end, and tells their bodies. */
export async function passThrough(to: URL, { headers = [], body = () => undefined }: { readonly headers?: readonly string[]; readonly body?: (bytes: Buffer) => void }): Promise<{ readonly url: string; close(): void }> {
  const proxy = http.createServer((incoming, outgoing) => {
    const request = http.request({ host: to.hostname, port: to.port, method: incoming.method, path: incoming.url, setHost: false, headers: [...incoming.rawHeaders, ...headers] as unknown as http.OutgoingHttpHeaders }, (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.rawHeaders)
      outgoing.flushHeaders()
      response.pipe(outgoing)
    })
    outgoing.once('close', () => request.destroy())
    request.on('error', () => outgoing.destroy())
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      body(Buffer.concat(chunks))
      request.end(Buffer.concat(chunks))
    })
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(proxy.address() as net.AddressInfo).port}${to.pathname}`,
    close: () => {
      proxy.closeAllConnections()
      proxy.close()
    },
  }
}
