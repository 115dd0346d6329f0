import { isObject, type JsonObject, type JsonValue, type Note, parseNote, parseSealed, type Profile, unmet } from '@sealwrit/protocol'
import { knownProfiles } from '../../local/profiles.ts'
import { memberText } from '../../output.ts'
import { token } from '../plane/actor.ts'
import type { PlaneSide } from '../plane/side.ts'
import { outcomeOf } from '../plane/steps.ts'
import { RUNS } from '../rules.ts'

/** What a plane showed: `runs` where it is as it must be, a code where it refused; undefined where that cannot be said, and why. */
export interface Shown {
  readonly outcome: string | undefined
  readonly detail: string
}

/** A set that no profile takes, and how far off it would be staged: a plane that takes it gives it back long before. */
const BLANKET: JsonObject = {
  'conformance.cedar': 'permit (principal, action, resource);\n',
  'schema.cedarschema': 'entity User; entity Agent { user: User, verified: Bool }; entity Server; entity Tool in [Server] { name: String, server: Server };\ntype Situation = { args: { path?: String }, environment: { level: String }, facts: { paths: String } };\naction "mcp.tool_call" appliesTo { principal: [Agent], resource: [Tool], context: Situation };\n',
}
const FAR_MS = 365 * 86_400_000

/** What shows that a plane is under a profile. */
export const PROFILE_STEPS: Readonly<Record<string, (side: PlaneSide, profiles: readonly Profile[]) => Promise<Shown>>> = {
  named: async (side, profiles) => {
    const told = await facts(side)
    if (told === undefined) return { outcome: undefined, detail: 'the plane does not tell its profiles' }
    const names = Array.isArray(told['profiles']) ? told['profiles'].map(String) : []
    const all = withExtended(names)
    const missing = profiles.filter(({ name }) => !all.includes(name)).map(({ name }) => name)
    return missing.length === 0 ? { outcome: RUNS, detail: names.join(', ') } : { outcome: 'another', detail: `it runs under ${names.length === 0 ? 'none' : names.join(', ')}, and not under ${missing.join(', ')}` }
  },
  'plane told': (side, profiles) => told(side, profiles, 'plane'),
  'policies told': (side, profiles) => told(side, profiles, 'policy'),
  /** Nothing is left of it: what was taken is withdrawn. */
  'blanket staged': async (side) => {
    const { staged } = await side.must('asker', 'policies.status', {})
    if (staged !== undefined) return { outcome: undefined, detail: 'a policy set is staged already, and would be replaced' }
    const reply = await side.ask('asker', 'policies.activate', { files: BLANKET, from: Number(side.values('now')) * 1_000 + FAR_MS })
    if ('refused' in reply) return { outcome: reply.refused, detail: '' }
    if (reply.result['outcome'] === 'refused') return { outcome: 'policy_error', detail: memberText(reply.result['reason']) }
    await side.must('asker', 'policies.withdraw', { what: 'staged' })
    return { outcome: RUNS, detail: 'it was staged; it is withdrawn again' }
  },
  /** What no policy can know of, from a gate that would run it all the same. */
  observed: async (side) => {
    await side.open('gate')
    const { params } = await side.request('authorize', 'gate')
    return { outcome: outcomeOf(await side.ask('gate', 'authorize', { ...params, agent: { name: `nobody-${token().replaceAll('_', '-')}`, verified: true }, observe: true })), detail: '' }
  },
  'unregistered agent': async (side) => {
    await side.open('gate')
    const { params } = await side.request('authorize', 'gate')
    return { outcome: outcomeOf(await side.ask('gate', 'authorize', { ...params, agent: { name: `nobody-${token().replaceAll('_', '-')}`, verified: true } })), detail: '' }
  },
  'entries without token': async (side) => {
    const size = Number((await side.must('asker', 'status', {}))['size'])
    const tile = size >= 256 ? '000' : `000.p/${size}`
    return { outcome: outcomeOf(await side.ask('asker', 'status', {}, { http: { path: `/t/${side.tenant}/tile/entries/${tile}`, headers: { authorization: null } } })), detail: '' }
  },
  'one witness': (side) => witnesses(side, 1),
  'two witnesses': (side) => witnesses(side, 2),
  'hybrid signature': async (side) => {
    const own = (await checkpoint(side)).signatures.filter(({ name }) => name === side.origin).length
    return own >= 2 ? { outcome: RUNS, detail: `${own} signatures of the log` } : { outcome: 'another', detail: `the checkpoint carries ${own} signature of the log` }
  },
}

/** Profiles by name, with what they extend. */
export function withExtended(names: readonly string[]): readonly string[] {
  const known = new Map(knownProfiles().map((one) => [one.name, one]))
  const all: string[] = []
  for (let name: string | undefined, left = [...names]; (name = left.pop()) !== undefined; ) {
    all.push(name)
    left.push(...[known.get(name)?.extends].filter((above) => above !== undefined))
  }
  return all
}

async function facts(side: PlaneSide): Promise<JsonObject | undefined> {
  const reply = await side.ask('asker', 'profiles.facts', {})
  return 'result' in reply ? reply.result : undefined
}

async function told(side: PlaneSide, profiles: readonly Profile[], of: 'plane' | 'policy'): Promise<Shown> {
  const found: JsonValue | undefined = (await facts(side))?.[of]
  if (!isObject(found)) return { outcome: undefined, detail: 'the plane does not tell it' }
  const numbers = Object.fromEntries(Object.entries(found).flatMap(([name, value]) => (typeof value === 'number' ? [[name, value]] : [])))
  const missing = unmet(profiles, of, numbers)
  return missing.length === 0 ? { outcome: RUNS, detail: `${Object.keys(numbers).length} facts` } : { outcome: 'another', detail: missing.map(({ id, says }) => `${says} (${id})`).join('; ') }
}

/** The note under which the plane seals now. */
async function checkpoint(side: PlaneSide): Promise<Note> {
  const { method, params } = await side.wrong({ ask: 'gates.enrol', as: 'gate' })
  const { sealed } = await side.must('gate', method, params)
  return parseNote(parseSealed(sealed as JsonValue).proof.checkpoint)
}

/** Cosignatures are counted, and not verified: who the witnesses are the runner cannot know. */
async function witnesses(side: PlaneSide, least: number): Promise<Shown> {
  const others = new Set((await checkpoint(side)).signatures.filter(({ name }) => name !== side.origin).map(({ name }) => name)).size
  return others >= least ? { outcome: RUNS, detail: `${others} cosignatures` } : { outcome: 'another', detail: `the checkpoint carries ${others} cosignatures` }
}
