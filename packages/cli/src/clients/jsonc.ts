import { ConfigError, lineOf, MAX_CONFIG_DEPTH, type Value } from './document.ts'

/** A value of a JSON text with comments, and where it stands. */
export interface Node {
  readonly start: number
  readonly end: number
  readonly value: Value
  /** Members of an object, in the order in which they stand. */
  readonly members: readonly Member[]
  readonly items: readonly Node[]
}
export interface Member {
  readonly name: string
  readonly start: number
  readonly node: Node
}

/**
 * Reads JSON with comments and trailing commas, as editors take it, and strictly otherwise: two members of one name are refused,
 * because readers disagree about which of them counts.
 * @throws {ConfigError} naming the line
 */
export function readJsonc(text: string): Node {
  return new Reader(text).document()
}

const NO_NODES: readonly never[] = []
const ESCAPES: Readonly<Record<string, string>> = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }
const LITERALS: readonly (readonly [string, boolean | null])[] = [['true', true], ['false', false], ['null', null]]
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  document(): Node {
    this.#skip()
    const node = this.#value(0)
    this.#skip()
    if (this.#at < this.#text.length) this.#fail('there is something after the end')
    return node
  }

  #value(depth: number): Node {
    if (depth > MAX_CONFIG_DEPTH) this.#fail('it is nested too deeply')
    const start = this.#at
    const c = this.#text[this.#at]
    if (c === '{') return this.#object(start, depth)
    if (c === '[') return this.#array(start, depth)
    const value = c === '"' ? this.#string() : this.#scalar()
    return { start, end: this.#at, value, members: NO_NODES, items: NO_NODES }
  }

  #object(start: number, depth: number): Node {
    const members: Member[] = []
    const value = new Map<string, Value>()
    this.#list('}', () => {
      const at = this.#at
      if (this.#text[at] !== '"') this.#fail('a name in quotes is missing')
      const name = this.#string()
      this.#skip()
      this.#take(':')
      this.#skip()
      const node = this.#value(depth + 1)
      if (value.has(name)) this.#fail(`\`${name.slice(0, 64)}\` is there twice`)
      value.set(name, node.value)
      members.push({ name, start: at, node })
    })
    return { start, end: this.#at, value, members, items: NO_NODES }
  }

  #array(start: number, depth: number): Node {
    const items: Node[] = []
    this.#list(']', () => items.push(this.#value(depth + 1)))
    return { start, end: this.#at, value: items.map(({ value }) => value), members: NO_NODES, items }
  }

  /** What stands between brackets, with commas; a last comma is taken, as editors do. */
  #list(close: string, item: () => void): void {
    this.#at++
    for (this.#skip(); this.#text[this.#at] !== close; this.#skip()) {
      item()
      this.#skip()
      if (this.#text[this.#at] === close) break
      this.#take(',')
    }
    this.#at++
  }

  #string(): string {
    let out = ''
    for (this.#at++; ; this.#at++) {
      const c = this.#text[this.#at]
      if (c === undefined || c < ' ') return this.#fail('a string does not end')
      if (c === '"') break
      if (c !== '\\') {
        out += c
        continue
      }
      const escape = this.#text[++this.#at] ?? ''
      if (escape === 'u') {
        const hex = this.#text.slice(this.#at + 1, this.#at + 5)
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.#fail('an escape is not one')
        out += String.fromCharCode(Number.parseInt(hex, 16))
        this.#at += 4
      } else out += ESCAPES[escape] ?? this.#fail('an escape is not one')
    }
    this.#at++
    if (!out.isWellFormed()) this.#fail('a string holds half a character')
    return out
  }

  #scalar(): Value {
    for (const [word, value] of LITERALS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length
        return value
      }
    }
    NUMBER.lastIndex = this.#at
    const number = NUMBER.exec(this.#text)?.[0]
    if (number === undefined) return this.#fail('a value is missing')
    this.#at += number.length
    return Number(number)
  }

  /** White space and comments. */
  #skip(): void {
    for (;;) {
      const c = this.#text[this.#at]
      if (c === ' ' || c === '\t' || c === '\n' || c === '\r') this.#at++
      else if (this.#text.startsWith('//', this.#at)) {
        const end = this.#text.indexOf('\n', this.#at)
        this.#at = end < 0 ? this.#text.length : end
      } else if (this.#text.startsWith('/*', this.#at)) {
        const end = this.#text.indexOf('*/', this.#at + 2)
        if (end < 0) this.#fail('a comment does not end')
        this.#at = end + 2
      } else return
    }
  }

  #take(c: string): void {
    if (this.#text[this.#at] !== c) this.#fail(`\`${c}\` is missing`)
    this.#at++
  }

  #fail(what: string): never {
    throw new ConfigError(`line ${lineOf(this.#text, this.#at)}: ${what}`)
  }
}
