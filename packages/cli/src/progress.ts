/** Time between two updates, milliseconds: a terminal is not flooded. */
const INTERVAL_MS = 200

/** Shows how far long work has got, on a terminal's stderr only. */
export class Progress {
  readonly #what: string
  readonly #isShown: boolean
  #shownAt = 0
  #isDirty = false

  constructor(what: string, isQuiet = false) {
    this.#what = what
    this.#isShown = !isQuiet && process.stderr.isTTY === true
  }

  /** @param total undefined where it is not known */
  at(done: number, total: number | undefined, unit: string): void {
    const now = process.hrtime.bigint()
    if (!this.#isShown || Number(now / 1_000_000n) - this.#shownAt < INTERVAL_MS) return
    this.#shownAt = Number(now / 1_000_000n)
    this.#isDirty = true
    process.stderr.write(`\r\u001b[K${this.#what} ${bar(done, total)}${done.toLocaleString('en')}${total === undefined ? '' : ` of ${total.toLocaleString('en')}`} ${unit}`)
  }

  end(): void {
    if (this.#isDirty) process.stderr.write('\r\u001b[K')
    this.#isDirty = false
  }
}

const WIDTH = 24
function bar(done: number, total: number | undefined): string {
  if (total === undefined || total === 0) return ''
  const filled = Math.round((Math.min(done, total) / total) * WIDTH)
  return `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] `
}
