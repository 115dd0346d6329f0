import { type Anchor, parseAnchor } from '../anchor/anchor.ts'
import type { SealedEntry } from '../artifact/seal.ts'
import { Denied } from '../denial.ts'
import type { Digest, Purpose } from '../digest.ts'
import { asCode, Fields } from '../json/fields.ts'
import { parseStrict } from '../json/parse.ts'
import { isObject, type JsonLimits, type JsonObject, type JsonValue, MAX_DEPTH } from '../json/value.ts'
import { MAX_ENTRY } from '../log/entry.ts'
import { present } from '../json/present.ts'
import { MAX_KEY_ENTRIES } from '../log/keys.ts'
import { MAX_PROOF_HASHES } from '../log/merkle.ts'
import { MAX_PROOF_LENGTH } from '../log/proof.ts'

/** Longest line of a bundle, in bytes: a policy set in one piece, or an entry with its bodies. */
export const MAX_BUNDLE_LINE = 67_108_864
const LINE_LIMITS: JsonLimits = Object.freeze({ maxBytes: MAX_BUNDLE_LINE, maxDepth: MAX_DEPTH, maxMembers: 100_000 })
/** Bodies of one entry. */
const MAX_BODIES = 8
const PURPOSES: readonly Purpose[] = ['action', 'environment', 'inputs', 'result', 'directory', 'grant', 'reason', 'shadow', 'redacted', 'delegation', 'foreign', 'purpose', 'attestation', 'definition']

/** What stands behind a commitment; `body` is absent when only its digest was kept. */
export interface Body {
  readonly purpose: Purpose
  readonly commit: Digest
  readonly salt: string
  readonly digest: Digest
  readonly body?: JsonValue
}

export interface BundleHead {
  readonly v: 1
  readonly origin: string
  readonly tenant: string
  /** The signed checkpoint that every proof in this bundle leads to. */
  readonly checkpoint: string
  /** What the log says of its own key and of revoked keys of gates, where it says more than which key it began with; in its order. */
  readonly keys?: readonly SealedEntry[]
}

/** An earlier checkpoint of the same log, with the proof that the one of the bundle extends it. */
export interface LinkedCheckpoint {
  readonly checkpoint: string
  /** Hashes in base64. @see RFC 6962 section 2.1.2 */
  readonly consistency: readonly string[]
}

/** A policy set: file name to text. */
export interface PolicyTexts {
  readonly digest: Digest
  readonly files: JsonObject
}

/** An entry with its proof and the bodies that stand behind its commitments. */
export interface BundleEntry extends SealedEntry {
  readonly bodies: readonly Body[]
}

/** Entries, proofs and bodies in one file, for a stranger to check offline. @see spec/bundle.md */
export interface Bundle extends BundleHead {
  readonly checkpoints: readonly LinkedCheckpoint[]
  /** Each of a checkpoint that the bundle links, or of its own. */
  readonly anchors: readonly Anchor[]
  readonly policies: readonly PolicyTexts[]
  /** In the order of the log. */
  readonly entries: readonly BundleEntry[]
}

/** Whom {@link BundleReader} tells what it read, in the order of the file. */
export interface BundleListener {
  head(head: BundleHead): void
  checkpoint(linked: LinkedCheckpoint): void
  anchor(anchor: Anchor): void
  policies(set: PolicyTexts): void
  entry(entry: BundleEntry): void
}

const SECTIONS = ['checkpoints', 'anchors', 'policies', 'entries'] as const
type Section = (typeof SECTIONS)[number]

/** The lines of a bundle: one item a line, so that it can be written and read without being held. Together they are one JSON document. */
export function* bundleLines(bundle: BundleHead & { readonly [S in Section]: Iterable<Bundle[S][number]> }): Generator<string> {
  yield headLine(bundle)
  for (const section of SECTIONS) {
    yield openLine(section)
    let last: string | undefined
    for (const item of bundle[section]) {
      if (last !== undefined) yield `${last},`
      last = JSON.stringify(item)
    }
    if (last !== undefined) yield last
    yield closeLine(section)
  }
}

export function headLine({ v, origin, tenant, checkpoint, keys }: BundleHead): string {
  return `${JSON.stringify({ v, origin, tenant, checkpoint, keys }).slice(0, -1)},`
}
export function openLine(section: Section): string {
  return `"${section}":[`
}
export function closeLine(section: Section): string {
  return section === 'entries' ? ']}' : '],'
}

const decoder = new TextDecoder('utf-8', { fatal: true })

/**
 * Reads a bundle line by line, each strictly, and holds none of it. The layout is part of the format: what another
 * layout would hide (a member twice, a section twice) cannot be written in this one.
 */
export class BundleReader {
  readonly #listener: BundleListener
  #section: Section | undefined
  #next = 0
  #isHeaded = false
  /** What the line before asks for: an item after a comma, the end of the section after none. */
  #wants: 'item' | 'end' | 'either' = 'either'
  #isDone = false

  constructor(listener: BundleListener) {
    this.#listener = listener
  }

  /** One line without its newline. @throws {Denied} `artifact_malformed`, `encoding_invalid` */
  line(bytes: Uint8Array): void {
    asCode('artifact_malformed', () => {
      if (this.#isDone) refuse('something follows the end')
      if (!this.#isHeaded) return this.#head(bytes)
      if (this.#section === undefined) return this.#open(text(bytes))
      if (bytes.length <= 2 && bytes[0] === BRACKET) return this.#close(text(bytes), this.#section)
      this.#item(bytes, this.#section)
    })
  }

  /** @throws {Denied} `artifact_malformed` when the bundle is cut short */
  end(): void {
    if (!this.#isDone) refuse('it is cut short')
  }

  #head(bytes: Uint8Array): void {
    if (bytes.at(-1) !== COMMA) refuse('the first line is not its head')
    const whole = new Uint8Array(bytes)
    whole[whole.length - 1] = BRACE
    const fields = new Fields(parseStrict(whole, LINE_LIMITS), 'artifact_malformed', 'bundle')
    const keys = fields.optional('keys', () => readSealedList(fields))
    const head = { v: fields.literal('v', 1), origin: fields.text('origin'), tenant: fields.text('tenant', 63), checkpoint: fields.text('checkpoint', MAX_PROOF_LENGTH), ...(keys === undefined ? {} : { keys }) } as const
    fields.end()
    this.#isHeaded = true
    this.#listener.head(head)
  }

  #open(line: string): void {
    const section = SECTIONS[this.#next] as Section
    if (line !== openLine(section)) refuse(`${section} is not where it belongs`)
    this.#section = section
    this.#wants = 'either'
  }

  #close(line: string, section: Section): void {
    if (line !== closeLine(section) || this.#wants === 'item') refuse(`${section} ends in an unexpected way`)
    this.#section = undefined
    this.#isDone = ++this.#next === SECTIONS.length
  }

  #item(bytes: Uint8Array, section: Section): void {
    if (this.#wants === 'end') refuse(`${section}: a comma is missing`)
    const isFollowed = bytes.at(-1) === COMMA
    this.#wants = isFollowed ? 'item' : 'end'
    const value = parseStrict(isFollowed ? bytes.subarray(0, -1) : bytes, LINE_LIMITS)
    if (section === 'anchors') return this.#listener.anchor(parseAnchor(value))
    const fields = new Fields(value, 'artifact_malformed', section)
    switch (section) {
      case 'checkpoints':
        this.#listener.checkpoint(readLinked(fields))
        break
      case 'policies':
        this.#listener.policies(readPolicies(fields))
        break
      case 'entries':
        this.#listener.entry(readEntry(fields))
        break
    }
  }
}

const COMMA = 0x2c
const BRACE = 0x7d
const BRACKET = 0x5d
const refuse = (what: string): never => {
  throw new Denied('artifact_malformed', `bundle: ${what}`)
}

function text(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new Denied('encoding_invalid', 'bundle: not well-formed UTF-8')
  }
}

function readLinked(fields: Fields): LinkedCheckpoint {
  const linked = { checkpoint: fields.text('checkpoint', MAX_PROOF_LENGTH), consistency: fields.strings('consistency', 2 * MAX_PROOF_HASHES, 44) }
  fields.end()
  return linked
}

function readSealedList(fields: Fields): readonly SealedEntry[] {
  const list = fields.value('keys')
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_KEY_ENTRIES) return refuse('keys is not a list of allowed length')
  return list.map((item: JsonValue) => {
    const sealed = new Fields(item, 'artifact_malformed', 'keys')
    const entry = { entry: sealed.text('entry', MAX_ENTRY), proof: sealed.text('proof', MAX_PROOF_LENGTH) }
    sealed.end()
    return entry
  })
}

function readPolicies(fields: Fields): PolicyTexts {
  const files = fields.value('files')
  if (!isObject(files) || !Object.values(files).every((file) => typeof file === 'string')) return refuse('a policy set is not file names and texts')
  const set = { digest: fields.digest('digest'), files }
  fields.end()
  return set
}

function readEntry(fields: Fields): BundleEntry {
  const bodies = fields.value('bodies')
  if (!Array.isArray(bodies) || bodies.length > MAX_BODIES) return refuse('bodies is not a list of allowed length')
  const entry = { entry: fields.text('entry', MAX_ENTRY), proof: fields.text('proof', MAX_PROOF_LENGTH), bodies: bodies.map(readBody) }
  fields.end()
  return entry
}

function readBody(value: JsonValue): Body {
  const fields = new Fields(value, 'artifact_malformed', 'body')
  const body = present<Body>({
    purpose: fields.oneOf('purpose', PURPOSES),
    commit: fields.digest('commit'),
    salt: fields.token('salt'),
    digest: fields.digest('digest'),
    body: fields.optional('body', (name) => fields.value(name)),
  })
  fields.end()
  return body
}

/** A whole bundle as text. */
export function formatBundle(bundle: Bundle): string {
  let out = ''
  for (const line of bundleLines(bundle)) out += `${line}\n`
  return out
}

/** Reads a whole bundle into memory; {@link BundleReader} does without. @throws {Denied} `artifact_malformed`, `encoding_invalid` */
export function parseBundle(bytes: Uint8Array): Bundle {
  let head: BundleHead | undefined
  const [checkpoints, anchors, policies, entries]: [LinkedCheckpoint[], Anchor[], PolicyTexts[], BundleEntry[]] = [[], [], [], []]
  const reader = new BundleReader({
    head: (given) => (head = given),
    checkpoint: (given) => checkpoints.push(given),
    anchor: (given) => anchors.push(given),
    policies: (given) => policies.push(given),
    entry: (given) => entries.push(given),
  })
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, start)
    if (end < 0) refuse('the last line has no end')
    reader.line(bytes.subarray(start, end))
    start = end + 1
  }
  reader.end()
  return { ...(head as BundleHead), checkpoints, anchors, policies, entries }
}

const NEWLINE = 0x0a
