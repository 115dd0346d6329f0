import * as nodeCrypto from 'node:crypto'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import * as path from 'node:path'
import * as vm from 'node:vm'
import { build } from 'esbuild'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { formatBundle, formatVerifierKey, sha256, toBase64Url, verifiedBy } from '@sealwrit/protocol'
import { CHROMIUM, Chromium, IS_BROWSER_REQUIRED } from '../../../test/support/chromium.ts'
import { GATE, GATE_KEY, LOG_KEY, permitBody, receiptClaims, receiptToken, TestLog, crypto as nodeSide } from './support/fixture.ts'

/** A valid bundle of one execution, and its tamperings with the verdict that each must get. */
function cases(): { text: string; verdict: string }[] {
  const log = new TestLog()
  log.add({ kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey) })
  const permit = log.add(permitBody())
  const leaf = `sha256:${Buffer.from(nodeSide.sha256(new Uint8Array([0, ...Buffer.from(log.leaves[permit] as string)]))).toString('hex')}`
  const jti = permitBody().jti
  log.add({ kind: 'receipt', jti, receipt: receiptToken(receiptClaims({ leaf_hash: leaf })) })
  const text = formatBundle({ v: 1, origin: LOG_KEY.name, tenant: 'default', checkpoint: log.note(), checkpoints: [], anchors: [], policies: [], entries: log.leaves.map((_, i) => ({ ...log.seal(i, ''), bodies: [] })) })
  const at = text.indexOf('"receipt":"') // inside the escaped entry
  expect(at).toBe(-1)
  return [
    { text, verdict: 'established' },
    { text: text.replaceAll(/(plane\.test\/default [A-Za-z0-9+/]{20})(.)/g, (_m, head: string, c: string) => `${head}${c === 'A' ? 'B' : 'A'}`), verdict: 'contradicted' },
    { text: text.replace('"risk\\":\\"low', '"risk\\":\\"high'), verdict: 'contradicted' },
  ]
}

/** What a page does with a bundle: nothing but `protocol` and the platform. */
const PAGE = `
import { BundleReader, BundleVerifier, fromBase64, parseBundle, parseVerifierKey, sha256, utf8, verifiedBy, verifyBundle } from '@sealwrit/protocol'
globalThis.check = async (text, key) => {
  const report = await verifiedBy(globalThis.crypto.subtle, (crypto) => verifyBundle(parseBundle(utf8(text)), { crypto, logKey: parseVerifierKey(key, sha256), gateKeys: [] }))
  return report.verdict
}
`
let script = ''
beforeAll(async () => {
  const result = await build({
    stdin: { contents: PAGE, resolveDir: path.resolve(import.meta.dirname, '..'), loader: 'js' }, bundle: true, format: 'iife', platform: 'browser',
    conditions: ['@sealwrit/source'], write: false, logLevel: 'silent', target: 'es2022',
  })
  script = result.outputFiles[0]?.text as string
})
const KEY = formatVerifierKey(LOG_KEY)

describe('the browser build', () => {
  it('names nothing of Node: no built-in module, process or Buffer', () => {
    expect(/["']node:|\brequire\(|\bprocess\.(?:env|argv|nextTick|versions?|platform|cwd|exit)\b|\bBuffer\b/.exec(script)?.[0]).toBeUndefined()
    expect(script.length).toBeLessThan(300_000)
  })
  it('verifies bundles with the platform alone, and refuses every tampering', async () => {
    const context = vm.createContext({ crypto: nodeCrypto.webcrypto, TextEncoder, TextDecoder, URL })
    vm.runInContext(script, context)
    for (const { text, verdict } of cases()) {
      context['text'] = text
      expect(await vm.runInContext(`check(text, ${JSON.stringify(KEY)})`, context)).toBe(verdict)
    }
  })
  it.skipIf(CHROMIUM === undefined && !IS_BROWSER_REQUIRED)('verifies bundles in a real browser', async () => {
    const texts = JSON.stringify(cases().map(({ text }) => text)).replaceAll('<', '\\u003c')
    const page = `<!doctype html><meta charset="utf-8"><script>${script.replaceAll('</script', '<\\/script')}</script><script>
      (async () => { const out = []; for (const text of ${texts}) out.push(await check(text, ${JSON.stringify(KEY)})); return out.join(' ') })()
        .catch((error) => 'failed: ' + error).then((body) => fetch('/verdicts', { method: 'POST', body }))</script>`
    let told: (verdicts: string) => void = () => undefined
    const verdicts = new Promise<string>((resolve) => (told = resolve))
    const server = http.createServer((request, response) => {
      if (request.method !== 'POST') return void response.setHeader('content-type', 'text/html; charset=utf-8').end(page)
      let body = ''
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk)).on('end', () => (response.end(), told(body)))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const browser = await Chromium.start()
    try {
      await (await browser.page()).send('Page.navigate', { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` })
      expect(await Promise.race([verdicts, new Promise((resolve) => setTimeout(() => resolve('no answer in 60 s'), 60_000))])).toBe(cases().map(({ verdict }) => verdict).join(' '))
    } finally {
      await browser.stop()
      server.close()
      server.closeAllConnections()
    }
  }, 90_000)
})

describe('SHA-256 without a platform', () => {
  it('is the platform’s for every length around its blocks, and for 500 random inputs', () => {
    for (let length = 0; length <= 260; length++) {
      const bytes = new Uint8Array(length).map((_, i) => (i * 31 + length) & 255)
      expect(Buffer.from(sha256(bytes)).toString('hex')).toBe(nodeCrypto.createHash('sha256').update(bytes).digest('hex'))
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => void expect(Buffer.from(sha256(bytes)).toString('hex')).toBe(nodeCrypto.createHash('sha256').update(bytes).digest('hex'))), { seed: 20_261_125, numRuns: 500 })
  })
  it('signatures are never taken for good in an answer: a run that relied on a false one is run again', async () => {
    const subtle = nodeCrypto.webcrypto.subtle as never
    const message = new TextEncoder().encode('m')
    const good = GATE.sign(message)
    const bad = new Uint8Array(good)
    bad[3] = (bad[3] as number) ^ 1
    let runs = 0
    const answer = await verifiedBy(subtle, (crypto) => {
      runs++
      return [crypto.verifyEd25519(GATE.publicKey, message, bad), crypto.verifyEd25519(GATE.publicKey, message, good)]
    })
    expect(answer).toEqual([false, true])
    expect(runs).toBe(2)
    await expect(verifiedBy(subtle, (crypto) => crypto.verifyEd25519(GATE.publicKey, new TextEncoder().encode(String(runs++)), bad))).rejects.toThrow('other signatures each time')
  })
})
