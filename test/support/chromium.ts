import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'

/** A browser of this machine; undefined where there is none. */
export const CHROMIUM: string | undefined = ['chromium', 'chromium-browser', 'google-chrome'].find((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0)
export const IS_BROWSER_REQUIRED: boolean = process.env['SEALWRIT_TEST_REQUIRE']?.split(',').includes('browser') === true

/** How long the browser may take to start, and a page to do what it is told, in milliseconds. */
const START_MS = 60_000
const STEP_MS = 20_000

type Message = { readonly id?: number; readonly method?: string; readonly params?: unknown; readonly result?: unknown; readonly error?: { readonly message: string }; readonly sessionId?: string }

/** A real browser with a profile of its own, told what to do over its debugging protocol. @see https://chromedevtools.github.io/devtools-protocol/ */
export class Chromium {
  readonly #process: ChildProcess
  readonly #profile: string
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  #next = 1

  private constructor(process_: ChildProcess, profile: string, socket: WebSocket) {
    this.#process = process_
    this.#profile = profile
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(String(data)) as Message
      const waiting = this.#waiting.get(message.id ?? 0)
      this.#waiting.delete(message.id ?? 0)
      if (message.error === undefined) waiting?.resolve(message.result as never)
      else waiting?.reject(new Error(message.error.message))
    })
  }

  static async start(): Promise<Chromium> {
    const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-browser-'))
    const child = spawn(CHROMIUM as string, ['--headless', '--disable-gpu', '--no-first-run', `--user-data-dir=${profile}`, '--remote-debugging-port=0', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), 'about:blank'], { stdio: 'ignore' })
    const file = path.join(profile, 'DevToolsActivePort')
    for (let waited = 0; !(fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes('\n')); waited += 100) {
      if (waited > START_MS) throw new Error('the browser does not start')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    const [port, at] = fs.readFileSync(file, 'utf8').trim().split('\n')
    const socket = new WebSocket(`ws://127.0.0.1:${port}${at}`)
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve, { once: true })
      socket.addEventListener('error', () => reject(new Error('the browser does not answer')), { once: true })
    })
    return new Chromium(child, profile, socket)
  }

  send<T>(method: string, params: object = {}, sessionId?: string): Promise<T> {
    const id = this.#next++
    this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }))
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  async page(): Promise<Page> {
    const { targetId } = await this.send<{ targetId: string }>('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.send<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true })
    await this.send('Page.enable', {}, sessionId)
    return new Page(this, sessionId)
  }

  /** The frame that was told to show `url`, from inside. */
  async frame(url: string): Promise<Page> {
    const { targetInfos } = await this.send<{ targetInfos: { targetId: string; type: string; url: string }[] }>('Target.getTargets')
    const found = targetInfos.find((one) => one.type === 'iframe' && one.url === url)
    if (found === undefined) throw new Error(`no frame ${url}`)
    const { sessionId } = await this.send<{ sessionId: string }>('Target.attachToTarget', { targetId: found.targetId, flatten: true })
    return new Page(this, sessionId)
  }

  async stop(): Promise<void> {
    this.#socket.close()
    const gone = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.kill('SIGKILL')
    await gone
    fs.rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

export class Page {
  readonly #browser: Chromium
  readonly #session: string

  constructor(browser: Chromium, session: string) {
    this.#browser = browser
    this.#session = session
  }

  send<T>(method: string, params: object = {}): Promise<T> {
    return this.#browser.send<T>(method, params, this.#session)
  }

  /** Opens an address, and waits until `text` stands on the page that is shown then. @returns all that stands there */
  async open(url: string, text: string): Promise<string> {
    await this.send('Page.navigate', { url })
    return this.shows(text)
  }

  async shows(text: string): Promise<string> {
    let shown = ''
    for (let waited = 0; waited < STEP_MS; waited += 100) {
      shown = String(await this.run('document.body === null ? "" : document.body.innerText').catch(() => ''))
      if (shown.includes(text)) return shown
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`the page shows ${JSON.stringify(shown.slice(0, 500))} and not ${text}`)
  }

  /** What an expression gives, awaited. */
  async run(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = await this.send<{ result: { value: unknown }; exceptionDetails?: { text: string } }>('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.text)
    return result.value
  }
}
