import { isDenialCode, type JsonObject, type JsonValue, parseEntry, parseProof, toBase64Url } from '@sealwrit/protocol'
import type { GateDo } from '../rules.ts'
import { pause } from '../pause.ts'
import type { Adversary } from './adversary.ts'
import type { Attempt, GateProcess } from './gate-process.ts'

/** How long after its begin a call is stopped, in milliseconds. */
const RUNNING_MS = 400

type Step = (adversary: Adversary, gate: GateProcess, how: GateDo) => Promise<Attempt>

/** What cannot be said as a change of one answer. */
export const STEPS: Readonly<Record<string, Step>> = {
  /** The permit of the call before, with a true proof under the newest checkpoint. */
  replay: async (adversary, gate, how) => {
    const { plane } = adversary
    let old: { seq: number; salt: string } | undefined
    adversary.between = (result) => {
      old ??= placeOf(result)
      return result
    }
    await call(adversary, gate, how)
    adversary.between = (result) => ({ ...result, sealed: { ...plane.seal(old?.seq ?? 0, old?.salt) } })
    return call(adversary, gate, how)
  },
  /** The answer of the call before, byte for byte. */
  'replay whole': async (adversary, gate, how) => {
    let old: JsonObject | undefined
    adversary.between = (result) => (old ??= result)
    await call(adversary, gate, how)
    return call(adversary, gate, how)
  },
  /** The first entry was another one, and everything else as it was. */
  fork: (adversary, gate, how) => elsewhere(adversary, ([, ...rest]) => [FORGED, ...rest], () => call(adversary, gate, how)),
  /** A tree that is smaller than one that was shown. */
  older: (adversary, gate, how) => elsewhere(adversary, (leaves) => leaves.slice(0, 2), () => call(adversary, gate, how)),
  /** The gate starts again, and is shown an older world than it knew. */
  'older after a restart': (adversary, gate, how) =>
    elsewhere(adversary, (leaves) => leaves.slice(0, 2), async () => {
      const before = gate.ran
      try {
        await gate.restart()
      } catch {
        return { outcome: gate.said.split(/[^a-z_]+/).find(isDenialCode) ?? 'ended', ran: gate.ran - before, ms: 0 }
      }
      return call(adversary, gate, how)
    }),
  /** The permit is revoked, or killed, and the gate is told so before it gets the permit. */
  'revoked meanwhile': (adversary, gate, how) => stoppedMeanwhile('revocation', adversary, gate, how),
  'killed meanwhile': (adversary, gate, how) => stoppedMeanwhile('kill', adversary, gate, how),
  'revoked while it runs': (adversary, gate, how) => stoppedWhileRunning('revocation', adversary, gate, how),
  'killed while it runs': (adversary, gate, how) => stoppedWhileRunning('kill', adversary, gate, how),
  /** Everything that runs may not go on. */
  'renewed without it': async (adversary, gate, how) => {
    adversary.plane.renews = () => []
    try {
      return await call(adversary, gate, how)
    } finally {
      adversary.plane.renews = (jtis) => jtis
    }
  },
  /** What was redeemed is presented again. */
  'carried twice': async (adversary, gate, how) => {
    const artifact = adversary.issue(how)
    await call(adversary, gate, how, artifact)
    return call(adversary, gate, how, artifact)
  },
  /** Nobody answers on the socket. */
  'no plane': async (adversary, gate, how) => {
    adversary.plane.isUp = false
    await adversary.hangUp()
    try {
      return await call(adversary, gate, how)
    } finally {
      adversary.plane.isUp = true
    }
  },
}

const FORGED = '{"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","kind":"tool","name":"tool-0","seq":0,"target":"mcp://before","tenant":"default","time":1,"v":1}'

/** The call that the rule makes; about a redemption, with an artifact that was issued for it. */
export function call(adversary: Adversary, gate: GateProcess, how: GateDo, carried: JsonValue | undefined = how.on === 'redeem' ? adversary.issue(how) : undefined): Promise<Attempt> {
  const { tool, arguments: args } = how.call
  return gate.call(tool, args, carried === undefined ? undefined : { 'sealwrit/artifact': carried })
}

/** Where a permit stands, and its salt. */
function placeOf(result: JsonObject): { seq: number; salt: string } {
  const { entry, proof } = result['sealed'] as unknown as { entry: string; proof: string }
  return { seq: parseEntry(entry).seq, salt: toBase64Url(parseProof(proof).extra ?? new Uint8Array(0)) }
}

/** The log has another history for a while; its proofs are those of that one. */
async function elsewhere(adversary: Adversary, other: (leaves: readonly string[]) => readonly string[], during: () => Promise<Attempt>): Promise<Attempt> {
  const { plane } = adversary
  const truth = plane.leaves
  plane.become(other(truth))
  try {
    return await during()
  } finally {
    plane.become(truth)
  }
}

function stop(kind: 'revocation' | 'kill', adversary: Adversary, isAhead = false): void {
  const { plane, permits } = adversary
  const selector = `artifact:${permits.at(-1) ?? ''}`
  plane.tell(plane.append(kind === 'kill' ? { kind, selector, event: 'killed', by: plane.sub } : { kind, selector, by: plane.sub }), isAhead)
}

function stoppedMeanwhile(kind: 'revocation' | 'kill', adversary: Adversary, gate: GateProcess, how: GateDo): Promise<Attempt> {
  adversary.between = (result) => {
    const { seq, salt } = placeOf(result)
    stop(kind, adversary, true)
    return { ...result, sealed: { ...adversary.plane.seal(seq, salt) }, consistency: [] }
  }
  return call(adversary, gate, how)
}

async function stoppedWhileRunning(kind: 'revocation' | 'kill', adversary: Adversary, gate: GateProcess, how: GateDo): Promise<Attempt> {
  const from = adversary.permits.length
  const running = call(adversary, gate, how)
  for (let i = 0; adversary.permits.length === from && i < 50; i++) await pause(10)
  await pause(RUNNING_MS)
  stop(kind, adversary)
  return running
}
