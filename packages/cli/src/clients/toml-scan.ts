import { ConfigError, lineOf, MAX_CONFIG_DEPTH } from './document.ts'

/** One statement of a TOML text: the header of a table, or a key with its value. */
export interface Statement {
  /** The table that it opens, or that it stands in. */
  readonly table: readonly string[]
  /** Absent for a header. */
  readonly key?: readonly string[]
  /** Whether it is the header of one table of an array. */
  readonly isArray: boolean
  readonly start: number
  /** Where its value begins; of a header, where it ends. */
  readonly valueStart: number
  readonly end: number
}

/**
 * Says where the statements of a TOML text stand, without saying what they mean: that is read by a parser beside it.
 * @throws {ConfigError} for what cannot be TOML
 */
export function scanToml(text: string): readonly Statement[] {
  return new Scanner(text).statements()
}

class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  statements(): Statement[] {
    const out: Statement[] = []
    let [table, isArray]: [readonly string[], boolean] = [[], false]
    for (;;) {
      this.#skip(true)
      if (this.#at >= this.#text.length) return out
      const start = this.#at
      if (this.#text[start] === '[') {
        isArray = this.#text[start + 1] === '['
        this.#at += isArray ? 2 : 1
        table = this.#key()
        this.#take(']')
        if (isArray) this.#take(']')
        out.push({ table, isArray, start, valueStart: this.#at, end: this.#at })
      } else {
        const key = this.#key()
        this.#take('=')
        this.#skip(false)
        const valueStart = this.#at
        this.#value()
        out.push({ table, key, isArray, start, valueStart, end: this.#at })
      }
    }
  }

  /** Names with dots between them. */
  #key(): readonly string[] {
    const names: string[] = []
    do {
      if (names.length > 0) this.#at++
      this.#skip(false)
      const start = this.#at
      const quote = this.#text[start]
      if (quote === '"' || quote === "'") {
        this.#string()
        const raw = this.#text.slice(start + 1, this.#at - 1)
        if (quote === '"' && raw.includes('\\')) this.#fail('a name with an escape')
        names.push(raw)
      } else {
        while (/[A-Za-z0-9_-]/.test(this.#text[this.#at] ?? '')) this.#at++
        if (this.#at === start) this.#fail('a name is missing')
        names.push(this.#text.slice(start, this.#at))
      }
      this.#skip(false)
    } while (this.#text[this.#at] === '.')
    return names
  }

  /** Passes one value; brackets are counted, not called for. */
  #value(): void {
    let depth = 0
    for (;;) {
      const c = this.#text[this.#at]
      if (c === undefined) {
        if (depth > 0) this.#fail('a value does not end')
        return
      }
      if (c === '"' || c === "'") this.#string()
      else if (c === '[' || c === '{') {
        if (++depth > MAX_CONFIG_DEPTH) this.#fail('it is nested too deeply')
        this.#at++
      } else if (c === ']' || c === '}') {
        if (--depth < 0) this.#fail('a bracket too much')
        this.#at++
        if (depth === 0) return
      } else if (depth === 0 && (c === '\n' || c === '\r' || c === '#')) {
        while (/[ \t]/.test(this.#text[this.#at - 1] ?? '')) this.#at--
        return
      } else if (c === '#') this.#skip(true)
      else this.#at++
    }
  }

  #string(): void {
    const quote = this.#text[this.#at] as string
    const isLong = this.#text.startsWith(quote.repeat(3), this.#at)
    const close = isLong ? quote.repeat(3) : quote
    for (this.#at += close.length; ; this.#at++) {
      const c = this.#text[this.#at]
      if (c === undefined || (!isLong && c === '\n')) this.#fail('a string does not end')
      if (c === '\\' && quote === '"') this.#at++
      else if (this.#text.startsWith(close, this.#at)) {
        this.#at += close.length
        while (isLong && this.#text[this.#at] === quote) this.#at++ // quotes right before the end belong to the string
        return
      }
    }
  }

  #skip(lines: boolean): void {
    for (;;) {
      const c = this.#text[this.#at]
      if (c === ' ' || c === '\t' || (lines && (c === '\n' || c === '\r'))) this.#at++
      else if (lines && c === '#') {
        const end = this.#text.indexOf('\n', this.#at)
        this.#at = end < 0 ? this.#text.length : end
      } else return
    }
  }

  #take(c: string): void {
    this.#skip(false)
    if (this.#text[this.#at] !== c) this.#fail(`\`${c}\` is missing`)
    this.#at++
  }

  #fail(what: string): never {
    throw new ConfigError(`line ${lineOf(this.#text, this.#at)}: ${what}`)
  }
}
