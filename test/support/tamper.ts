import { canonicalText, type JsonObject, type JsonValue } from '@sealwrit/protocol'

/** A small generator: the same places in every run. */
export function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
}

export interface Tampered<T> {
  readonly title: string
  readonly value: T
}

/** Every part of `own` replaced by the same part of `other`, at every depth, where the two differ. */
export function* swapped(own: JsonValue, other: JsonValue, path = ''): Generator<Tampered<JsonValue>> {
  if (own === other || other === undefined || JSON.stringify(own) === JSON.stringify(other)) return
  yield { title: `${path || 'everything'} of another`, value: other }
  if (own === null || other === null || typeof own !== 'object' || typeof other !== 'object') return
  for (const name of Object.keys(own)) {
    for (const { title, value } of swapped((own as JsonObject)[name] as JsonValue, (other as JsonObject)[name] as JsonValue, `${path}/${name}`)) {
      yield { title, value: Array.isArray(own) ? own.map((item: JsonValue, i) => (String(i) === name ? value : item)) : { ...(own as JsonObject), [name]: value } }
    }
  }
}

/** One byte changed, at `count` places spread over all of it. */
export function* byteEdits(bytes: Uint8Array, count: number, seed: number): Generator<Tampered<Uint8Array>> {
  const next = random(seed)
  for (let n = 0; n < count; n++) {
    const at = Math.floor(((n + next(1_000) / 1_000) * bytes.length) / count)
    const value = bytes.slice()
    const to = n % 3 === 0 ? (bytes[at] as number) ^ (1 << next(7)) : (Buffer.from('0a "{}[],:\\e1Z')[next(15)] as number)
    if (to === value[at]) continue
    value[at] = to
    yield { title: `byte ${at} is ${JSON.stringify(String.fromCharCode(to))} for ${JSON.stringify(String.fromCharCode(bytes[at] as number))}, after ${JSON.stringify(Buffer.from(bytes.slice(Math.max(0, at - 60), at)).toString('latin1'))}`, value }
  }
}

/** Every line dropped, doubled, moved down by one, and to the end. */
export function* lineEdits(bytes: Uint8Array): Generator<Tampered<Uint8Array>> {
  const lines = Buffer.from(bytes).toString('utf8').split('\n')
  const text = (changed: readonly string[]): Uint8Array => new Uint8Array(Buffer.from(changed.join('\n')))
  for (let i = 0; i < lines.length; i++) {
    const [before, line, after] = [lines.slice(0, i), lines[i] as string, lines.slice(i + 1)]
    yield { title: `line ${i} dropped`, value: text([...before, ...after]) }
    yield { title: `line ${i} doubled`, value: text([...before, line, line, ...after]) }
    yield { title: `line ${i} moved down`, value: text([...before, ...after.slice(0, 1), line, ...after.slice(1)]) }
    yield { title: `line ${i} moved to the end`, value: text([...before, ...after, line]) }
    yield { title: `the file cut before line ${i}`, value: text(before) }
    // The same with the commas put right.
    const items = lines.map((one) => (one.startsWith('{') ? one.replace(/,$/, '') : one))
    const list = (changed: readonly string[]): Uint8Array => text(changed.map((one, k) => (k > 0 && one.startsWith('{') && (changed[k + 1] ?? '').startsWith('{') ? `${one},` : k === 0 ? `${one},` : one)))
    if (!line.startsWith('{') || i === 0) continue
    yield { title: `item ${i} left out`, value: list([...items.slice(0, i), ...items.slice(i + 1)]) }
    yield { title: `item ${i} twice`, value: list([...items.slice(0, i), items[i] as string, ...items.slice(i)]) }
    if ((lines[i + 1] ?? '').startsWith('{')) yield { title: `items ${i} and ${i + 1} exchanged`, value: list([...items.slice(0, i), items[i + 1] as string, items[i] as string, ...items.slice(i + 2)]) }
  }
}

/** Texts of the same object that are not its canonical form. */
export function* notCanonical(text: string): Generator<Tampered<string>> {
  const object = JSON.parse(text) as JsonObject
  const names = Object.keys(object)
  const first = names[0] as string
  const member = (name: string): string => `${JSON.stringify(name)}:${canonicalText(object[name] as JsonValue)}`
  yield { title: 'a space', value: text.replace('{', '{ ') }
  yield { title: 'a space after a colon', value: text.replace('":', '": ') }
  yield { title: 'a space at the end', value: `${text} ` }
  yield { title: 'a newline', value: `${text}\n` }
  yield { title: 'a byte order mark', value: `\ufeff${text}` }
  yield { title: 'members in another order', value: `{${[...names].reverse().map(member).join(',')}}` }
  yield { title: 'a member twice', value: text.replace('{', `{${member(first)},`) }
  yield { title: 'a member twice, spelled otherwise', value: text.replace('{', `{"\\u00${first.charCodeAt(0).toString(16)}${first.slice(1)}":${canonicalText(object[first] as JsonValue)},`) }
  yield { title: 'an escape', value: text.replace(/":"(\w)/, (_, c: string) => `":"\\u00${c.charCodeAt(0).toString(16)}`) }
  yield { title: 'a comma at the end', value: text.replace(/\}$/, ',}') }
  yield { title: 'something after it', value: `${text}{}` }
  yield { title: 'an array around it', value: `[${text}]` }
  yield { title: 'nothing', value: '' }
  for (const name of names.filter((one) => typeof object[one] === 'number')) {
    for (const number of ['.0', 'e0', 'E+0']) yield { title: `${name} with ${number}`, value: text.replace(member(name), `${member(name)}${number}`) }
    for (const number of ['-0', 'NaN', 'Infinity', '-Infinity', '9007199254740993', '9007199254740992', '1e17', '1e21', '1e400', '1.5', '-1', '01', '+1', '0.1e1', `1${'0'.repeat(1_100)}`, '٣']) yield { title: `${name} is ${number}`, value: text.replace(member(name), `${JSON.stringify(name)}:${number}`) }
  }
}

/** Canonical texts of objects that have another form: each member left out, or of another type; members that nobody knows. */
export function* otherForms(text: string, change: (object: JsonObject) => string = canonicalText): Generator<Tampered<string>> {
  const object = JSON.parse(text) as JsonObject
  yield { title: 'an unknown member', value: change({ ...object, zz: 1 }) }
  yield { title: '`__proto__`', value: change(JSON.parse(text.replace('{', '{"__proto__":{},')) as JsonObject) }
  yield { title: 'an empty object', value: '{}' }
  for (const [name, own] of Object.entries(object)) {
    const { [name]: _, ...rest } = object
    yield { title: `no ${name}`, value: change(rest) }
    const others: JsonValue[] = [null, true, {}, [], '', 'x', 7, 1.5, -1, 2 ** 53 - 1, 1e21, ['x'], 'x'.repeat(40_000), 'x'.repeat(1_025), '\u0000', typeof own === 'string' ? `${own}x` : 'y', typeof own === 'string' ? own.toUpperCase() : 'Z', typeof own === 'string' ? own.slice(0, -1).toWellFormed() : 'z']
    for (const value of others) if (JSON.stringify(value) !== JSON.stringify(own)) yield { title: `${name} is ${JSON.stringify(value).slice(0, 30)}`, value: change({ ...object, [name]: value }) }
    if (own !== null && typeof own === 'object' && !Array.isArray(own)) {
      for (const { title, value } of otherForms(JSON.stringify(own), (inner) => JSON.stringify(inner))) yield { title: `${name}: ${title}`, value: change({ ...object, [name]: JSON.parse(value) as JsonValue }) }
    }
    if (Array.isArray(own)) {
      for (const value of [...others, { from: 0, to: 0 }, { from: 3, to: 2 }]) yield { title: `${name} has ${JSON.stringify(value).slice(0, 30)} too`, value: change({ ...object, [name]: [...own, value] }) }
    }
  }
}
