import * as fs from 'node:fs'
import { canonicalText, formatBundle, type Bundle, type JsonObject, type JsonValue, parseEntry, utf8 } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { GATE_KEY, LOG_KEY } from '../packages/protocol/test/support/fixture.ts'
import { account, accountOf, bytesOf, richBundle, sealBundle } from './support/evidence.ts'
import { type Case, firstOpinion, noPython, secondOpinions } from './support/second-verifier.ts'
import { brokenRules } from './support/violations.ts'
import { byteEdits, lineEdits, notCanonical, otherForms, swapped } from './support/tamper.ts'

const A = richBundle('a')
const B = richBundle('b')
const given = (title: string, bytes: Uint8Array): Case => ({ title, bytes, key: LOG_KEY, gateKeys: [GATE_KEY] })

/** Another form of every line's own object: none of it signed. */
function* shapes(): Generator<{ title: string; value: Uint8Array }> {
  const lines = formatBundle(A.bundle).split('\n')
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] as string
    if (!line.startsWith('{')) continue
    const text = i === 0 ? `${line.slice(0, -1)}}` : line.replace(/,$/, '')
    const end = i === 0 ? ',' : line.endsWith(',') ? ',' : ''
    const put = (changed: string): Uint8Array => utf8([...lines.slice(0, i), (i === 0 ? changed.slice(0, -1) : changed) + end, ...lines.slice(i + 1)].join('\n'))
    if (i > 12 && i % 4 !== 0) continue
    for (const { title, value } of notCanonical(text)) if (!/space|newline|order|escape/.test(title)) yield { title: `line ${i}: ${title}`, value: put(value) }
    for (const { title, value } of otherForms(text, (object) => JSON.stringify(object))) if (!title.includes('xxxxx')) yield { title: `line ${i}: ${title}`, value: put(value) }
  }
}

function* families(): Generator<Case> {
  for (const { title, value } of swapped(A.bundle as never, B.bundle as never)) yield given(`swap ${title}`, utf8(formatBundle(value as never)))
  for (const { title, value } of brokenRules(A)) yield given(`rule ${title}`, value)
  for (const { title, value } of shapes()) yield given(`shape ${title}`, value)
  const { entries } = A.bundle
  for (let i = 0; i < entries.length; i++) for (let j = 0; j < entries.length; j++) {
    if (i === j) continue
    for (const part of ['entry', 'proof', 'bodies'] as const) {
      if (JSON.stringify(entries[i]?.[part]) === JSON.stringify(entries[j]?.[part])) continue
      yield given(`swap ${part} of ${i} and ${j}`, bytesOf({ ...A.bundle, entries: entries.map((e, k) => (k === i ? { ...e, [part]: entries[j]?.[part] } : e)) as never }))
    }
  }
  for (const { title, value } of byteEdits(bytesOf(A.bundle), 1500, 5)) yield given(`byte ${title}`, value)
  for (const { title, value } of lineEdits(bytesOf(A.bundle))) yield given(`line ${title}`, value)
  for (let i = 0; i < A.drafts.length; i++) {
    const { text } = A.drafts[i] as { text: string }
    const seal = (value: string): Uint8Array => bytesOf(sealBundle([...A.drafts.slice(0, i), { text: value, bodies: [] }]))
    const label = Object.keys(A.at).find((name) => A.at[name] === i)
    for (const { title, value } of notCanonical(text)) if (value !== text) yield given(`leaf ${label}: ${title}`, seal(value))
    for (const { title, value } of otherForms(text)) yield given(`leaf ${label}: ${title}`, seal(value))
    for (const member of ['receipt', 'denial'] as const) {
      const entry = parseEntry(text) as unknown as JsonObject
      const token = entry[member]
      if (typeof token !== 'string') continue
      const payload = Buffer.from(token.split('.')[1] as string, 'base64url').toString()
      const typ = member === 'receipt' ? 'execution-receipt+jwt' : 'execution-denial+jwt'
      const header = canonicalText({ alg: 'Ed25519', kid: GATE_KEY.kid, typ })
      const put = (changed: string): Uint8Array => seal(canonicalText({ ...entry, [member]: changed }))
      for (const { title, value } of notCanonical(payload)) if (value !== payload) yield given(`claims ${label}: ${title}`, put(accountOf(value, header)))
      for (const { title, value } of otherForms(payload)) yield given(`claims ${label}: ${title}`, put(accountOf(value, header)))
      for (const { title, value } of notCanonical(header)) yield given(`header ${label}: ${title}`, put(accountOf(payload, value)))
      for (const { title, value } of otherForms(header)) yield given(`header ${label}: ${title}`, put(accountOf(payload, value)))
    }
  }
}

describe.skipIf(noPython !== undefined)('the second verifier', () => {
  it('probe', { timeout: 900_000 }, async () => {
    const stride = Number(process.env['STRIDE'] ?? 1); const cases = [...families()].filter(({ title }, i) => title.startsWith('rule') || i % stride === 0)
    const t = performance.now()
    const first = cases.map(firstOpinion)
    const t2 = performance.now()
    const second = await secondOpinions(cases)
    console.log(cases.length, t2 - t, performance.now() - t2)
    const out: string[] = []
    const count: Record<string, number> = {}
    cases.forEach(({ title }, i) => {
      const [a, b] = [first[i], second[i]]
      const k = `${title.split(' ')[0]} ${a?.verdict}/${b?.verdict}`
      count[k] = (count[k] ?? 0) + 1
      if (a?.verdict !== b?.verdict) out.push(`DIFF ${a?.verdict}/${b?.verdict} ${title}: ${a?.contradicted[0] ?? ''} / ${b?.contradicted[0] ?? ''}`)
      else if (a?.verdict === 'established') out.push(`BOTH ${title}`)
    })
    fs.writeFileSync('/tmp/diffs.txt', out.join('\n'))
    console.log(count)
  })
})
