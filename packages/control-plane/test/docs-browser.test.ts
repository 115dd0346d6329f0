import * as fs from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHROMIUM, Chromium, IS_BROWSER_REQUIRED } from '../../../test/support/chromium.ts'
import { Served, TOKEN } from './support/http.ts'
import { Rig } from './support/rig.ts'

describe.skipIf(CHROMIUM === undefined && !IS_BROWSER_REQUIRED)('/docs in a real browser', () => {
  let rig: Rig
  let served: Served
  let browser: Chromium
  beforeAll(async () => {
    rig = await Rig.open('docs')
    served = await Served.open(rig.plane, { version: '1.2.3' })
    browser = await Chromium.start()
  }, 120_000)
  afterAll(async () => {
    await browser?.stop()
    await served?.close()
    await rig?.remove()
  })

  it('shows every group of routes under a policy that it never breaks, and asks the plane from the page', async () => {
    const page = await browser.page()
    await page.send('Page.addScriptToEvaluateOnNewDocument', { source: "window.broken = []; document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => window.broken.push(violatedDirective + ' ' + blockedURI)); window.addEventListener('error', ({ message }) => window.broken.push(message))" })
    const text = await page.open(`http://127.0.0.1:${served.port}/docs`, '/v1/executions')
    for (const one of ['Sealwrit control plane', '1.2.3', 'authzen', 'evidence', '/v1/authorize', '/access/v1/evaluation']) expect(text).toContain(one)
    await page.run("[...document.querySelectorAll('.opblock-summary-path')].find((one) => one.textContent.replaceAll('\\u200b', '') === '/v1/status').click()")
    await page.shows('identity_invalid') // the codes of its refusals
    expect(await page.run(`fetch('/v1/status', { headers: { authorization: 'Bearer ${TOKEN}' } }).then(({ status }) => status)`)).toBe(200)
    const { data } = await page.send<{ data: string }>('Page.captureScreenshot')
    if (process.env['SEALWRIT_SCREENSHOT'] !== undefined) fs.writeFileSync(process.env['SEALWRIT_SCREENSHOT'], Buffer.from(data, 'base64'))
    expect(await page.run('window.broken')).toEqual([])
  }, 120_000)
})
