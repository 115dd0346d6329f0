import { type Agent, permissibleDigest, type PermissibleRequest, type PermissibleScope, subjectId } from '@sealwrit/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Provider, signingPair, TestAgent, token } from './support/identity.ts'
import { outcome, policySet, Rig, sha256, type TestGate, toolCall } from './support/rig.ts'

const pair = signingPair('EdDSA', 'ed')
let provider: Provider
beforeAll(async () => {
  provider = await Provider.start(pair)
})
afterAll(() => provider.stop())
const rigs: Rig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})
async function open(policies: string, identity?: Rig['identity']): Promise<{ rig: Rig; gate: TestGate; of: (scopes: readonly PermissibleScope[], agent?: Agent, change?: Partial<PermissibleRequest>) => Promise<readonly boolean[]> }> {
  const rig = new Rig('permissible')
  rig.identity = identity
  rig.policies = policySet(policies)
  await rig.start()
  rigs.push(rig)
  const gate = await rig.gate()
  return { rig, gate, of: (scopes, agent = { name: 'tester', verified: true }, change = {}) => rig.plane.permissible({ session: gate.session, agent, target: 'mcp://fs', scopes, ...change }, gate.id) }
}
const X: PermissibleScope = { type: 'mcp.tool_call', name: 'x' }
const issuer = (more: object = {}): Rig['identity'] => ({ issuers: [{ issuer: provider.url, audience: 'https://plane.example', algorithms: ['EdDSA'], jwks_uri: `${provider.url}/jwks`, ...more }] })

describe('the plane says what could be permitted', () => {
  it('to the agent that asks, under the policies of now; logs nothing', async () => {
    const { rig, of } = await open('permit (principal == Agent::"tester", action, resource == Tool::"mcp://fs/x");')
    const size = rig.plane.log.size
    expect(await of([X, { type: 'mcp.tool_call', name: 'y' }, { type: 'mcp.prompt_get', name: 'x' }, { type: 'mcp.sampling', name: 'sampling/createMessage' }])).toEqual([true, false, false, false])
    expect(await of([X], { name: 'other', verified: true })).toEqual([false])
    expect(await of([X], undefined, { target: 'mcp://db' })).toEqual([false])
    expect(rig.plane.log.size).toBe(size)
    await rig.plane.activate({ files: policySet('forbid (principal, action, resource); permit (principal, action, resource == Tool::"mcp://fs/y");').files, tests: [], how: { mode: 'enforce', urgent: false, confirm: false, rebase: false } })
    expect(await of([X])).toEqual([false])
  })
  it('knows a registered agent by the key that it will have to prove', async () => {
    const { rig, gate, of } = await open('permit (principal, action, resource) when { principal.verified };')
    expect(await of([X], { name: 'coder', verified: false })).toEqual([false])
    const agent = new TestAgent('coder')
    await rig.plane.registry.changeAgent({ agent: 'coder', event: 'added', key: agent.key, owner: 'team:payments' })
    expect(await of([X], { name: 'coder', verified: false })).toEqual([true])
    // With a proof for this very list it is known for certain; the proof of an action is none.
    const [challenge, scopes] = [rig.token(), [X]]
    const proof = (digest: string): Partial<PermissibleRequest> => ({ challenge, identity: agent.proof(rig, gate, challenge, toolCall(), { action_digest: digest }) })
    const asked = { name: 'coder', verified: false }
    expect(await of(scopes, asked, proof(permissibleDigest({ agent: asked, target: 'mcp://fs', scopes }, sha256)))).toEqual([true])
    expect(await outcome(of(scopes, asked, { challenge, identity: agent.proof(rig, gate, challenge, toolCall()) }))).toBe('proof_of_possession_failed')
    expect(await outcome(of([{ ...X, name: 'y' }], asked, proof(permissibleDigest({ agent: asked, target: 'mcp://fs', scopes }, sha256))))).toBe('proof_of_possession_failed')
  })
  it('leaves open whom an issuer could still name, until it has', async () => {
    const somebody = (sub: string): string => `permit (principal, action, resource) when { principal.user == User::"${sub}" && principal == Agent::"tester" };`
    const { rig, of } = await open(somebody('oidc:nobody'), issuer())
    const identity = (who: string): Partial<PermissibleRequest> => {
      const seconds = Math.floor(rig.clock.wallMs() / 1_000)
      return { identity: { form: 'oidc', token: token(pair, { iss: provider.url, sub: who, aud: 'https://plane.example', iat: seconds, exp: seconds + 300 }) } }
    }
    expect(await of([X])).toEqual([true])
    expect(await of([X], { name: 'other', verified: true })).toEqual([false])
    expect(await of([X], undefined, identity('somebody else'))).toEqual([false])
    expect(await outcome(of([X], undefined, { identity: { form: 'oidc', token: 'a.b.c' } }))).toBe('identity_invalid')
    const known = subjectId('oidc', provider.url, 'somebody', rig.plane.log.origin, sha256)
    await rig.plane.activate({ files: policySet(somebody(known)).files, tests: [], how: { mode: 'enforce', urgent: false, confirm: false, rebase: false } })
    expect(await of([X], undefined, identity('somebody'))).toEqual([true])
  })
  it('an issuer that names agents may verify one, and a trust domain may name any', async () => {
    const verified = 'permit (principal, action, resource) when { principal.verified };'
    expect(await (await open(verified, issuer({ agent: 'agent' }))).of([X], { name: 'tester', verified: false })).toEqual([true])
    expect(await (await open('permit (principal == Agent::"spiffe://example.org/x", action, resource);')).of([X])).toEqual([false])
    const spiffe = await open('permit (principal == Agent::"spiffe://example.org/x", action, resource);', { trust_domains: [{ name: 'example.org', bundle: '/nowhere', audience: 'x' }] } as never)
    expect(await spiffe.of([X])).toEqual([true])
  })
})
