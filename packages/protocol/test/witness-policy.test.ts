import { cosignerKey, Denied, formatCosignerKey, formatVerifierKey, isQuorumMet, MAX_POLICY_FILE_BYTES, MAX_POLICY_GROUPS, MAX_POLICY_LOGS, MAX_POLICY_WITNESSES, noteKey, parseWitnessPolicy, utf8, type WitnessPolicy } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { keyPair, sha256 } from './support/fixture.ts'

const vkey = (n: number): string => formatCosignerKey(cosignerKey(`w${n}.test/w`, keyPair(`w${n}`).publicKey, sha256))
const logKey = (n: number): string => formatVerifierKey(noteKey(`log${n}.test/x`, keyPair(`log${n}`).publicKey, sha256))
const VKEYS = Array.from({ length: MAX_POLICY_WITNESSES + 1 }, (_, i) => vkey(i))
const parse = (text: string | Uint8Array): WitnessPolicy => parseWitnessPolicy(typeof text === 'string' ? utf8(text) : text, sha256)
/** What is said of a file that is refused. */
const refused = (text: string | Uint8Array): string => {
  try {
    parse(text)
    return 'accepted'
  } catch (error) {
    if (error instanceof Denied && error.code === 'request_malformed') return error.message.replace(/^.*witness policy, /, '')
    throw error
  }
}
const [A, B, C] = [`witness A ${VKEYS[0]}\n`, `witness B ${VKEYS[1]}\n`, `witness C ${VKEYS[2]}\n`]

describe('a witness policy', () => {
  it('reads the example of c2sp.org/tlog-policy with its keys filled in', () => {
    const lines = [
      `log ${logKey(0)}`, '', ...[0, 1, 2].map((i) => `witness X${i + 1} ${VKEYS[i]}`), 'group X-witnesses 2 X1 X2 X3', '',
      ...[3, 4, 5].map((i) => `witness Y${i - 2} ${VKEYS[i]}`), 'group Y-witnesses any Y1 Y2 Y3', '', 'group X-and-Y all X-witnesses Y-witnesses', 'quorum X-and-Y', '',
    ]
    const policy = parse(lines.join('\n'))
    const by = (...names: string[]): boolean => isQuorumMet(policy.quorum, new Set(policy.witnesses.filter(({ name }) => names.includes(name))))
    expect([by('X1', 'X2', 'Y3'), by('X1', 'X2', 'X3'), by('X1', 'Y1', 'Y2', 'Y3'), by()]).toEqual([true, false, false, false])
    expect([policy.logs.length, policy.witnesses.length]).toEqual([1, 6])
  })
  it('takes spaces, tabs, comments, empty lines, URLs and any order', () => {
    const policy = parse(`\t # a comment\n \t \nwitness\t é \t${VKEYS[0]}  https://w.test/ \nlog ${logKey(0)} http://l.test \n  quorum é\n`)
    expect(policy.witnesses[0]).toMatchObject({ name: 'é', url: 'https://w.test/' })
    expect(policy.logs[0]?.url).toBe('http://l.test')
    expect(policy.quorum.kind).toBe('witness')
  })
  it('compares names as octets: a Kelvin sign is no K, a composed letter no decomposed one', () => {
    expect(refused(`${A.replace(' A ', ' K ')}quorum \u212a\n`)).toBe('line 2: the quorum is not defined on a line before')
    expect(refused(`${A.replace(' A ', ' \u00e9 ')}quorum e\u0301\n`)).toBe('line 2: the quorum is not defined on a line before')
    const bytes = Buffer.concat([Buffer.from('witness '), Buffer.from([0xff]), Buffer.from(` ${VKEYS[0]}\nquorum `), Buffer.from([0xff, 10])])
    expect(parse(bytes).quorum.kind).toBe('witness')
  })
  it('`quorum none` is a policy', () => expect(parse('quorum none\n')).toEqual({ logs: [], witnesses: [], quorum: { kind: 'none' } }))

  it.each<[string, string, string]>([
    ['empty', '', 'line 1: there is no quorum line'],
    ['no quorum', A, 'line 2: there is no quorum line'],
    ['no final newline', 'quorum none', 'line 1: the last line does not end in a newline'],
    ['two quorums', 'quorum none\nquorum none\n', 'line 2: a second quorum line'],
    ['quorum without name', 'quorum\n', 'line 1: a quorum has one name'],
    ['quorum of two names', `${A}${B}quorum A B\n`, 'line 3: a quorum has one name'],
    ['quorum defined later', `quorum A\n${A}`, 'line 1: the quorum is not defined on a line before'],
    ['CRLF', 'quorum none\r\n', 'line 1: a control character'],
    ['a NUL in a comment', '# \0\nquorum none\n', 'line 1: a control character'],
    ['DEL', 'quorum none\x7f\n', 'line 1: a control character'],
    ['another keyword', 'threshold 2\n', 'line 1: not log, witness, group or quorum'],
    ['a keyword in capitals', 'Quorum none\n', 'line 1: not log, witness, group or quorum'],
    ['a comment after items', `${A}quorum A # it\n`, 'line 2: a quorum has one name'],
    ['a witness without key', 'witness A\n', 'line 1: a witness has a name, a key and perhaps a URL'],
    ['a witness with too much', `witness A ${VKEYS[0]} http://a x\n`, 'line 1: a witness has a name, a key and perhaps a URL'],
    ['a log with too much', `log ${logKey(0)} http://a x\n`, 'line 1: a log has a key and perhaps a URL'],
    ['a log key for a witness', `witness A ${logKey(0)}\n`, 'line 1: the signing key or log is not a trusted one: not an Ed25519 verifier key of type 4'],
    ['a witness key for a log', `log ${VKEYS[0]}\n`, 'line 1: the signing key or log is not a trusted one: not an Ed25519 verifier key of type 1'],
    ['no key at all', 'witness A b\n', 'line 1: the signing key or log is not a trusted one: not a verifier key (NAME+ID+KEY)'],
    ['a witness named none', `witness none ${VKEYS[0]}\n`, 'line 1: the name none is taken'],
    ['a group named none', `${A}group none any A\n`, 'line 2: the name none is taken'],
    ['a name twice', `${A}witness A ${VKEYS[1]}\n`, 'line 2: this name is taken'],
    ['a group named as a witness', `${A}${B}group A any B\n`, 'line 3: this name is taken'],
    ['one key under two names', `${A}witness B ${VKEYS[0]}\n`, 'line 2: this witness stands here twice'],
    ['one public key under two key names', `${A}witness B ${formatCosignerKey(cosignerKey('other.test/w', keyPair('w0').publicKey, sha256))}\n`, 'line 2: this witness stands here twice'],
    ['a log twice', `log ${logKey(0)}\nlog ${formatVerifierKey(noteKey('other.test/x', keyPair('log0').publicKey, sha256))}\n`, 'line 2: this log stands here twice'],
    ['a group of nothing', 'group G any\n', 'line 1: a group has a name, a threshold and members'],
    ['none in a group', `${A}group G any none A\n`, 'line 2: a member is not defined on a line before'],
    ['a member defined later', `${A}group G any A B\n${B}`, 'line 2: a member is not defined on a line before'],
    ['a group in itself', `${A}group G any A G\n`, 'line 2: a member is not defined on a line before'],
    ['a member twice in a group', `${A}group G 2 A A\n`, 'line 2: a member stands in a group already'],
    ['a member in two groups', `${A}${B}${C}group G any A B\ngroup H any B C\n`, 'line 5: a member stands in a group already'],
    ...['0', '3', '-1', '+1', '01', '1.0', '1e0', 'ANY', '', '99999999999'].map((k): [string, string, string] => [`threshold \`${k}\``, `${A}${B}group G ${k} A B\n`, k === '' ? 'line 3: the threshold is not any, all or 1 to 1' : 'line 3: the threshold is not any, all or 1 to 2']),
    ['a fault on a later line', `${A}\n# comment\n\nquorum X\n`, 'line 5: the quorum is not defined on a line before'],
  ])('is refused with %s', (_name, text, wanted) => expect(refused(text)).toBe(wanted))

  it('has named limits, each of at least 32', () => {
    const witnesses = (n: number): string => VKEYS.slice(0, n).map((key, i) => `witness W${i} ${key}\n`).join('')
    const logs = (n: number): string => Array.from({ length: n }, (_, i) => `log ${logKey(i)}\n`).join('')
    const groups = (n: number): string => `${A}${Array.from({ length: n }, (_, i) => `group G${i} any ${i === 0 ? 'A' : `G${i - 1}`}\n`).join('')}quorum G${n - 1}\n`
    expect(Math.min(MAX_POLICY_LOGS, MAX_POLICY_WITNESSES, MAX_POLICY_GROUPS)).toBeGreaterThanOrEqual(32)
    expect(refused(`${logs(MAX_POLICY_LOGS)}${witnesses(MAX_POLICY_WITNESSES)}quorum none\n`)).toBe('accepted')
    expect(refused(`${witnesses(MAX_POLICY_WITNESSES + 1)}quorum none\n`)).toContain('more than 32 witnesses')
    expect(refused(`${logs(MAX_POLICY_LOGS + 1)}quorum none\n`)).toContain('more than 32 logs')
    expect(isQuorumMet(parse(groups(MAX_POLICY_GROUPS)).quorum, new Set())).toBe(false)
    expect(refused(groups(MAX_POLICY_GROUPS + 1))).toContain('more than 64 groups')
    expect(refused(`#${'x'.repeat(MAX_POLICY_FILE_BYTES)}\nquorum none\n`)).toContain('more than 65536 bytes')
  })

  it('says of 2,000 random policies and cosigners what counting by hand says', () => {
    interface Node { readonly witness?: number; readonly k?: number; readonly of?: readonly Node[] }
    let next = 0
    const leaf = fc.constant(null).map((): Node => ({ witness: next++ }))
    const { tree } = fc.letrec<{ tree: Node }>((tie) => ({
      tree: fc.oneof({ maxDepth: 3, withCrossShrink: true }, leaf, fc.tuple(fc.nat(), fc.array(tie('tree'), { minLength: 1, maxLength: 4 })).map(([k, of]): Node => ({ k: 1 + (k % of.length), of }))),
    }))
    const numbered = (node: Node, counter: { n: number }): Node => (node.of === undefined ? { witness: counter.n++ } : { k: node.k as number, of: node.of.map((one) => numbered(one, counter)) })
    /** By enumeration: some set of k members is met entirely. */
    const met = (node: Node, bits: number): boolean => {
      if (node.of === undefined) return ((bits >> (node.witness as number)) & 1) === 1
      const members = node.of
      for (let choice = 0; choice < 1 << members.length; choice++) {
        const chosen = members.filter((_, i) => ((choice >> i) & 1) === 1)
        if (chosen.length === node.k && chosen.every((one) => met(one, bits))) return true
      }
      return false
    }
    const written = (root: Node): string => {
      const lines: string[] = []
      let groups = 0
      const write = (node: Node): string => {
        if (node.of === undefined) {
          lines.push(`witness W${node.witness} ${VKEYS[node.witness as number]}`)
          return `W${node.witness}`
        }
        const names = node.of.map(write)
        lines.push(`group G${groups} ${node.k === 1 ? 'any' : node.k === names.length ? 'all' : node.k} ${names.join(' ')}`)
        return `G${groups++}`
      }
      lines.push(`quorum ${write(root)}`)
      return `${lines.join('\n')}\n`
    }
    let yes = 0
    fc.assert(
      fc.property(tree, fc.nat(2 ** 30), (shape, bits) => {
        const counter = { n: 0 }
        const root = numbered(shape, counter)
        fc.pre(counter.n <= 24)
        const policy = parse(written(root))
        const by = new Set(policy.witnesses.filter(({ name }) => ((bits >> Number(name.slice(1))) & 1) === 1))
        const wanted = met(root, bits)
        if (wanted) yes++
        expect(isQuorumMet(policy.quorum, by)).toBe(wanted)
      }),
      { numRuns: 2_000, seed: 20_261_125 },
    )
    expect(yes).toBeGreaterThan(200)
    expect(yes).toBeLessThan(1_800)
  }, 30_000)
})
