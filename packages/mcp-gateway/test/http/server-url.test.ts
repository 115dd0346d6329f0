import { describe, expect, it } from 'vitest'
import { serverHeaders, serverUrl } from '@sealwrit/mcp-gateway/server-http'
import { loopbackLookup } from '../../src/server/server-url.ts'

describe('a name of this machine', () => {
  const look = (name: string, all: boolean): Promise<unknown> => new Promise((resolve, reject) => loopbackLookup(name, { all }, (error, address) => (error === null ? resolve(address) : reject(error))))

  it('leads nowhere else', async () => {
    expect(await look('localhost', false)).toMatch(/^(127\.|::1)/)
    expect(await look('localhost', true)).toMatchObject([{ address: expect.stringMatching(/^(127\.|::1)/) as string }])
    // Where a resolver says something else of such a name, it is not gone to.
    for (const name of ['192.0.2.1', '10.0.0.1', '::', '2001:db8::1', '::ffff:10.0.0.1']) await expect(look(name, false)).rejects.toMatchObject({ code: 'ENOTLOOPBACK' })
  })
})

describe('the address of a server (ATK-098)', () => {
  it.each(['https://mcp.example.com/mcp', 'https://mcp.example.com:8443/a/b?c=d', 'http://127.0.0.1:3000/mcp', 'http://localhost/mcp', 'http://[::1]:1/'])('may be %s', (url) => {
    expect(serverUrl(url).protocol).toMatch(/^https?:$/)
  })

  it.each([
    'http://mcp.example.com/mcp', 'http://169.254.169.254/latest', 'http://10.0.0.1/', 'http://localhost.example.com/', 'http://127.0.0.1.example.com/', 'file:///etc/passwd', 'javascript:alert(1)', 'ftp://x/', 'mcp.example.com', '',
    'https://user:secret@example.com/', 'https://example.com/#f', 'https://example.com/ a', 'https://example.com/\n', 'https://a";calc.exe"/', 'https:example.com', `https://example.com/${'x'.repeat(2_048)}`, '-o ProxyCommand=calc', 'https://',
  ])('is not %j', (url) => {
    expect(() => serverUrl(url)).toThrow(TypeError)
  })

  it('shows no secret in what it says of headers', () => {
    expect(serverHeaders('# who we are\nAuthorization: Bearer abc\r\n\nX-Key:  k  \n')).toEqual({ authorization: 'Bearer abc', 'x-key': 'k' })
    for (const text of ['Authorization', 'Authorization:', 'A b: secret-value', 'A: secret-value\u0007', 'Host: secret-value', 'Mcp-Session-Id: secret-value', 'Content-Length: 3', 'A: secret-value\na: secret-value', 'Accept: x', `A: ${'x'.repeat(8_193)}`]) {
      expect(() => serverHeaders(text)).toThrow(/^line/)
      expect(() => serverHeaders(text)).not.toThrow(/secret-value/)
    }
  })
})
