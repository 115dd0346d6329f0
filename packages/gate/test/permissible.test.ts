import { generateKeyPairSync, sign } from 'node:crypto'
import { agentKeyIdentity, nodeCryptography } from '@sealwrit/gate'
import { FakeClock, seededRng, SimulatedPlane } from '@sealwrit/gate/testing'
import { Denied, MAX_PERMISSIBLE, type PermissibleScope, permissibleDigest, peekClaims, type Possession, type Scope } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Rig } from './support/rig.ts'

const agent = { name: 'coder', verified: true }
const target = 'mcp://fs'
const scope = (name: string, type: PermissibleScope['type'] = 'mcp.tool_call'): PermissibleScope => ({ type, name })
function gateOf(permissible?: (scope: Scope) => boolean): Rig {
  const rig = new Rig()
  const plane = new SimulatedPlane({ clock: new FakeClock(), rng: seededRng('lists'), crypto: nodeCryptography, ...(permissible === undefined ? {} : { permissible }) })
  ;(rig as { plane: SimulatedPlane }).plane = plane
  rig.gate = rig.openGate()
  return rig
}

describe('a gate that asks what could be permitted', () => {
  it('has an answer for each, in their order, however many pages it takes', async () => {
    const { gate, plane } = gateOf(({ type, target: at, name }) => at === target && (type === 'mcp.prompt_get' || Number(name) % 3 === 0))
    for (const count of [0, 1, MAX_PERMISSIBLE - 1, MAX_PERMISSIBLE, MAX_PERMISSIBLE + 1, 3 * MAX_PERMISSIBLE + 7]) {
      const scopes = Array.from({ length: count }, (_, i) => scope(String(i)))
      expect(await gate.permissible({ agent, target, scopes })).toEqual(scopes.map(({ name }) => Number(name) % 3 === 0))
    }
    expect(await gate.permissible({ agent, target, scopes: [scope('1', 'mcp.prompt_get'), scope('1')] })).toEqual([true, false])
    expect(plane.entries.filter(({ kind }) => kind !== 'gate')).toEqual([])
  })
  it('is told that everything could be by a simulated plane that says nothing else', async () => {
    expect(await gateOf().gate.permissible({ agent, target, scopes: [scope('x'), scope('y')] })).toEqual([true, true])
  })
  it('has the agent sign for this list, this gate and a challenge of its own, and never for an action', async () => {
    const rig = gateOf()
    const keys = generateKeyPairSync('ed25519')
    const asked: Omit<Possession, 'iat'>[] = []
    const proofs: string[] = []
    const signer = agentKeyIdentity({ kid: 'k', sign: (message) => sign(null, message, keys.privateKey) }, () => 7)
    const scopes = Array.from({ length: MAX_PERMISSIBLE + 1 }, (_, i) => scope(String(i)))
    await rig.gate.permissible({ agent, target, scopes, identify: async (about) => {
      asked.push(about)
      const identity = await signer(about)
      if (identity?.form === 'agent-key') proofs.push(identity.proof)
      return identity
    } })
    expect(asked.map(({ action_digest: digest }) => digest)).toEqual([scopes.slice(0, MAX_PERMISSIBLE), scopes.slice(MAX_PERMISSIBLE)].map((some) => permissibleDigest({ agent, target, scopes: some }, nodeCryptography.sha256)))
    expect(new Set(asked.map(({ challenge }) => challenge)).size).toBe(2)
    expect(asked.every(({ aud, gate, agent: name }) => aud === rig.plane.key.name && gate === rig.gate.id && name === 'coder')).toBe(true)
    expect(proofs.map((proof) => (peekClaims(proof) as { challenge?: string }).challenge)).toEqual(asked.map(({ challenge }) => challenge))
  })
  it.each([['too few answers', [true]], ['too many', [true, true, true]], ['what is no boolean', [true, 1]], ['no list', true]])('believes nothing of %s', async (_what, permissible) => {
    const rig = gateOf()
    rig.plane.onTheWire = (method, answer) => (method === 'tools.permissible' ? { ...answer, result: { permissible } } : answer)
    const denied = await rig.gate.permissible({ agent, target, scopes: [scope('x'), scope('y')] }).catch((error: unknown) => error)
    expect(denied).toBeInstanceOf(Denied)
  })
})
