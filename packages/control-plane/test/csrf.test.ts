import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TOKEN_HEADER } from '../src/http/access.ts'
import { CHROMIUM, Chromium, IS_BROWSER_REQUIRED } from '../../../test/support/chromium.ts'
import { PASSWORD, person } from './support/people.ts'
import { Rig } from './support/rig.ts'
import { listen, type Listening } from './support/tenants.ts'

/** What pages of somebody else try: each is a form that sends itself, or a request of a script, with the cookies of whoever looks at it. */
const ATTEMPTS: Readonly<Record<string, (plane: string) => string>> = {
  'a form whose text is JSON': (plane) => `<form id=f method=post enctype=text/plain action="${plane}/v1/kills"><input name='{"selector":"agent:csrf","x":"' value='"}'></form><script>f.submit()</script>`,
  'a form': (plane) => `<form id=f method=post action="${plane}/v1/kills"><input name=selector value=agent:csrf></form><script>f.submit()</script>`,
  'a form that approves': (plane) => `<form id=f method=post enctype=text/plain action="${plane}/v1/approvals"><input name='{"hold":"x","x":"' value='"}'></form><script>f.submit()</script>`,
  'a form that logs in as somebody else': (plane) => `<form id=f method=post enctype=text/plain action="${plane}/v1/session"><input name='{"name":"mallory","password":"${PASSWORD}","x":"' value='"}'></form><script>f.submit()</script>`,
  'a request without CORS': (plane) => `<script>fetch('${plane}/v1/kills', { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{"selector":"agent:csrf"}' }).then(() => document.body.append('sent'), () => document.body.append('sent'))</script>`,
  'a request with CORS': (plane) => `<script>fetch('${plane}/v1/kills', { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json', '${TOKEN_HEADER}': 'x' }, body: '{"selector":"agent:csrf"}' }).then((a) => document.body.append('read ' + a.status), () => document.body.append('sent'))</script>`,
  'a request that reads': (plane) => `<script>fetch('${plane}/v1/session', { credentials: 'include' }).then((a) => a.text()).then((t) => document.body.append('read ' + t), () => document.body.append('sent'))</script>`,
}

let rig: Rig
let plane: Listening
let evil: http.Server
let browser: Chromium
let page = ''
const evilPort = (): number => (evil.address() as AddressInfo).port

describe.skipIf(CHROMIUM === undefined && !IS_BROWSER_REQUIRED)('ATK-113: in a real browser, with a session of an admin', () => {
  beforeAll(async () => {
    rig = await Rig.open('browser')
    plane = await listen([rig])
    await person(rig, 'ann', 'admin')
    await person(rig, 'mallory', 'viewer')
    evil = http.createServer((_request, response) => void response.setHeader('content-type', 'text/html; charset=utf-8').end(`<!doctype html><body>${page}`))
    await new Promise<void>((resolve) => evil.listen(0, resolve))
    browser = await Chromium.start()
    const own = await browser.page()
    await own.send('Page.setBypassCSP', { enabled: true }) // the plane serves no page of its own yet: this one stands in for it
    await own.open(`${plane.url}/`, 'no console')
    const post = (path: string, body: object, token = ''): string => `fetch('${path}', { method: 'POST', headers: { 'content-type': 'application/json', '${TOKEN_HEADER}': '${token}' }, body: '${JSON.stringify(body)}' }).then((a) => a.text().then((t) => a.status + ' ' + t))`
    const told = String(await own.run(post('/v1/session', { name: 'ann', password: PASSWORD })))
    expect(told).toMatch(/^200 /)
    const { token } = JSON.parse(told.slice(4)) as { token: string }
    // What our own page may do: else nothing below would show anything.
    expect(await own.run(post('/v1/kills', { selector: 'agent:own' }, token))).toMatch(/^200 /)
    expect(rig.plane.log.state.killed.has('agent:own')).toBe(true)
    expect(await own.run('document.cookie')).toBe('')
  }, 120_000)
  afterAll(async () => {
    await browser?.stop()
    evil?.closeAllConnections()
    evil?.close()
    await plane?.close()
    await rig?.remove()
  })

  it('a page of another port of this host is sent along with the cookie, a page of another site is not; neither reads anything', async () => {
    const victim = await browser.page()
    page = `<a id=a href="${plane.url}/v1/session">x</a><script>a.click()</script>`
    // `origin_forbidden`: the session was there. `identity_invalid`: it was not.
    expect(await victim.open(`http://127.0.0.1:${evilPort()}/`, 'denial')).toContain('origin_forbidden')
    expect(await victim.open(`http://localhost:${evilPort()}/`, 'denial')).toContain('identity_invalid')
  }, 60_000)
  for (const host of ['127.0.0.1', 'localhost']) {
    it.each(Object.keys(ATTEMPTS))(`from ${host}: %s changes nothing`, async (name) => {
      const victim = await browser.page()
      const { size } = rig.plane.log
      page = (ATTEMPTS[name] as (plane: string) => string)(plane.url)
      const shown = await victim.open(`http://${host}:${evilPort()}/`, page.includes('<form') ? 'denial' : 'sent')
      if (page.includes('<form')) expect(shown).toContain('origin_forbidden')
      expect(shown).not.toContain('read')
      expect(rig.plane.log.size).toBe(size)
      expect(rig.plane.log.state.killed.has('agent:csrf')).toBe(false)
      // Whoever was logged in still is, as who they were.
      const own = await browser.page()
      expect(await own.open(`${plane.url}/v1/session`, 'tenant')).toContain('"role":"admin"')
    }, 60_000)
  }
  it('ATK-115: no page is shown inside one of somebody else', async () => {
    const victim = await browser.page()
    const frames = [`${plane.url}/v1/session`, `${plane.url}/docs`, `http://localhost:${evilPort()}/inner`]
    page = `${frames.map((url) => `<iframe src="${url}"></iframe>`).join('')}<p>framed</p>`
    await victim.open(`http://127.0.0.1:${evilPort()}/`, 'framed')
    await new Promise((resolve) => setTimeout(resolve, 500))
    const shown = await Promise.all(frames.map(async (url) => (await browser.frame(url)).run('location.href')))
    expect(shown).toEqual(['chrome-error://chromewebdata/', 'chrome-error://chromewebdata/', frames[2]]) // a page that allows it is shown
  }, 60_000)
})
