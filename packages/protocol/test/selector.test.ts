import { Denied, MAX_SELECTOR, parseSelector, prohibition, SELECTOR_KINDS, type Selectable, selectorsOf } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

const JTI = 'MDEyMzQ1Njc4OTo7PD0-Pw'
const PERMIT: Selectable = {
  jti: JTI, txn: JTI, tenant: 'default', sub: 'local:alice', act: { sub: 'agent:coder', verified: true }, aud: 'gate-thumbprint', cnf: 'client-thumbprint',
  scope: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'delete_file' }, policy: { digest: `sha256:${'0'.repeat(64)}`, epoch: 1, determining: ['dev/one', 'dev/two'] },
} as unknown as Selectable
const code = (text: string): string => {
  try {
    return parseSelector(text).kind
  } catch (error) {
    return error instanceof Denied ? error.code : 'not a denial'
  }
}

describe('a selector', () => {
  it('is read back as it was written, for every kind', () => {
    const selectors = selectorsOf(PERMIT)
    expect(new Set(selectors.map(code))).toEqual(new Set(SELECTOR_KINDS))
    expect(parseSelector('tool:mcp://fs/delete_file')).toEqual({ kind: 'tool', value: 'mcp://fs/delete_file' })
  })
  it.each(['', 'all ', 'all:', 'all:x', ' all', 'ALL', 'agent', 'agent:', 'Agent:x', 'agents:x', ':x', 'artifact:short', `artifact:${JTI}=`, 'lineage:x', 'agent:a\nb', 'agent:\ud800', 'agent:\u0085', `agent:${'x'.repeat(MAX_SELECTOR)}`])(
    '%j is refused', (text) => expect(code(text)).toBe('request_malformed'),
  )
  it('is refused or named, never thrown over, whatever the text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => ([...SELECTOR_KINDS, 'request_malformed'] as string[]).includes(code(text))))
  })
})

describe('what a selector meets', () => {
  const only = (selector: string): { revoked: Set<string>; killed: Set<string> } => ({ revoked: new Set(), killed: new Set([selector]) })
  it.each(selectorsOf(PERMIT))('%s meets the permit', (selector) => expect(prohibition(PERMIT, only(selector))).toBe('killed'))
  it.each(['artifact:AAAAAAAAAAAAAAAAAAAAAA', 'agent:code', 'agent:coder2', 'subject:alice', 'tool:mcp://fs/delete', 'tool:delete_file', 'target:mcp://f', 'policy:dev', 'key:other', 'tenant:defaul'])(
    '%s does not', (selector) => expect(prohibition(PERMIT, only(selector))).toBeUndefined(),
  )
  it('a revocation is told before a kill', () => {
    expect(prohibition(PERMIT, { revoked: new Set(['all']), killed: new Set(['agent:coder']) })).toBe('revoked')
  })
})
