import { generateKeyPairSync } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { StoreFailure } from '@sealwrit/control-plane'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { type DenialCode, type JsonObject, parseEntry } from '@sealwrit/protocol'
import { afterAll, describe, expect, it } from 'vitest'
import { type GateUnderTest, pipelineGate, stdioGate } from './support/gates.ts'
import { policyFiles, World } from './support/world.ts'

interface Fault {
  readonly dependency: string
  readonly fault: string
  readonly code: DenialCode
  /** Makes the world faulty, after a control attempt ran. */
  readonly begin: (world: World, gate: GateUnderTest) => Promise<unknown> | void
  /** Makes it whole again; absent where that takes a restart or an operator. */
  readonly end?: (world: World) => Promise<unknown> | void
}

const HOUR_MS = 3_600_000
const isPermit = (answer: JsonObject): boolean => (answer['result'] as JsonObject | undefined)?.['decision'] === 'permit'
let foreign: JsonObject | undefined

/** Every dependency and how it fails. Later gates join GATES, later dependencies this list. */
const FAULTS: readonly Fault[] = [
  { dependency: 'gate clock', fault: 'one hour back', code: 'clock_rollback', begin: (w) => void (w.gateClock.offsetMs = -HOUR_MS), end: (w) => void (w.gateClock.offsetMs = 0) },
  { dependency: 'gate clock', fault: 'one hour ahead', code: 'artifact_expired', begin: (w) => void (w.gateClock.offsetMs = HOUR_MS) },
  { dependency: 'plane clock', fault: 'one hour back', code: 'clock_rollback', begin: (w) => void (w.clock.offsetMs = -HOUR_MS), end: (w) => void (w.clock.offsetMs = 0) },
  { dependency: 'plane clock', fault: 'one hour ahead', code: 'clock_rollback', begin: (w) => void (w.clock.offsetMs = HOUR_MS), end: (w) => void (w.clock.offsetMs = 0) },
  {
    dependency: 'disk of the plane', fault: 'full', code: 'evidence_unavailable',
    begin: (w) => failWrites(w, new StoreFailure('database or disk is full', true)),
    end: (w) => failWrites(w, undefined),
  },
  { dependency: 'disk of the plane', fault: 'a flush fails', code: 'evidence_unavailable', begin: (w) => failWrites(w, new StoreFailure('disk I/O error', false)) },
  {
    dependency: 'disk of the gate', fault: 'the floor cannot be written', code: 'evidence_unavailable',
    begin: async (w) => {
      w.floor.write = () => {
        throw new Error('ENOSPC')
      }
      await new Promise((resolve) => setTimeout(resolve, 1_100)) // the floor is written once a second
    },
    end: (w) => void delete (w.floor as Partial<MemoryFloor>).write,
  },
  { dependency: 'plane', fault: 'absent', code: 'unavailable', begin: (w) => w.stop(), end: (w) => w.start() },
  { dependency: 'plane', fault: 'slow: no answer in 2 s', code: 'unavailable', begin: (w) => void (w.onTheWire = (a) => (isPermit(a) ? undefined : a)), end: (w) => void (w.onTheWire = (a) => a) },
  {
    dependency: 'plane', fault: 'restarted between question and answer', code: 'unavailable',
    begin: (w) => void (w.onTheWire = (a) => {
      if (!isPermit(a)) return a
      void w.stop()
      return undefined
    }),
    end: async (w) => {
      w.onTheWire = (a) => a
      await w.start()
    },
  },
  { dependency: 'plane', fault: 'answers nonsense', code: 'unavailable', begin: (w) => void (w.onTheWire = (a) => (isPermit(a) ? '{"jsonrpc":"2.0",' : a)), end: (w) => void (w.onTheWire = (a) => a) },
  { dependency: 'plane', fault: 'answers a permit without an artifact', code: 'artifact_missing', begin: (w) => void (w.onTheWire = (a) => (isPermit(a) ? { ...a, result: { ...(a['result'] as JsonObject), sealed: null } } : a)), end: (w) => void (w.onTheWire = (a) => a) },
  {
    dependency: 'plane', fault: 'answers with another gate’s answer', code: 'audience_mismatch',
    begin: async (w) => {
      foreign = undefined
      w.onTheWire = (a) => {
        if (isPermit(a)) foreign = a
        return a
      }
      await pipelineGate(w.gate({ keys: generateKeyPairSync('ed25519'), floor: new MemoryFloor() })).attempt()
      w.onTheWire = (a) => (isPermit(a) ? resealed(w, a) : a)
    },
    end: (w) => void (w.onTheWire = (a) => a),
  },
  {
    dependency: 'store', fault: 'rolled back to a backup', code: 'store_rollback',
    begin: async (w, gate) => {
      await putBack(w, gate)
      await w.start()
      await disconnected()
    },
  },
  {
    dependency: 'store', fault: 'rolled back together with its high-water mark', code: 'store_rollback',
    begin: async (w, gate) => {
      await putBack(w, gate)
      w.highWater = new MemoryFloor() // only the gate remembers
      await w.start()
      await disconnected()
    },
  },
  {
    dependency: 'policy', fault: 'the active set is missing from the store when the plane restarts', code: 'unavailable',
    begin: (w) => refusesToStart(w, () => startOnStored(w, () => undefined)),
    end: (w) => w.start(), // with the folder at hand, which `up --activate` brings into force
  },
  {
    dependency: 'policy', fault: 'the active set is altered in the store when the plane restarts', code: 'unavailable',
    begin: (w) => refusesToStart(w, () => startOnStored(w, (text) => text.replace('forbid', 'permit'))),
    end: (w) => w.start(),
  },
  {
    dependency: 'policy', fault: 'a forbid that cannot be evaluated', code: 'policy_error',
    begin: async (w) => {
      await w.stop()
      await w.start({ ...policyFiles(), 'broken.cedar': 'forbid (principal, action, resource) when { context.lineage.depth + 9223372036854775807 + 1 > 0 };' })
      await disconnected()
    },
    end: async (w) => {
      await w.stop()
      await w.start()
      await disconnected()
    },
  },
  {
    dependency: 'log key', fault: 'another one in its place when the plane restarts', code: 'unavailable',
    begin: (w) => refusesToStart(w, () => w.start(policyFiles(), generateKeyPairSync('ed25519'))),
    end: (w) => w.start(),
  },
  {
    dependency: 'state', fault: 'stale: the machine slept while the answer was under way', code: 'challenge_mismatch',
    begin: (w) => void (w.onTheWire = (a) => {
      if (isPermit(a)) w.gateClock.sleptMs += 3_000
      return a
    }),
    end: (w) => void (w.onTheWire = (a) => a),
  },
  {
    dependency: 'environment', fault: 'changed after it was measured', code: 'environment_mismatch',
    begin: (w) => void (w.environmentVersion = 2),
    end: (w) => void (w.environmentVersion = 1),
  },
]

/** A restart as `up` makes it: the log names the active set and the store holds its texts; what else is at hand does not count. */
function startOnStored(world: World, harm: (text: string) => string | undefined): Promise<unknown> {
  const database = new DatabaseSync(world.storeFile)
  for (const { key, value } of database.prepare("SELECT key, value FROM meta WHERE key LIKE 'policy %'").all() as { key: string; value: string }[]) {
    const harmed = harm(value)
    if (harmed === undefined) database.prepare('DELETE FROM meta WHERE key = ?').run(key)
    else database.prepare('UPDATE meta SET value = ? WHERE key = ?').run(harmed, key)
  }
  database.close()
  world.policyRules = { activateAtStart: false }
  const other = { ...policyFiles(), 'other.cedar': 'permit (principal, action, resource);' }
  return world.start(other).finally(() => void (world.policyRules = {}))
}

/** The plane ends, and its next start is refused: nothing answers any more. */
async function refusesToStart(world: World, start: () => Promise<unknown>): Promise<void> {
  await world.stop()
  await expect(start()).rejects.toThrow()
  await disconnected()
}

function failWrites(world: World, failure: StoreFailure | undefined): void {
  if (world.store !== undefined) world.store.fail = failure
}

/** The gate works on after a restart: it has seen a longer log than before. */
/** Puts an older copy of the store in the place of a newer one, and leaves the plane stopped. */
async function putBack(w: World, gate: GateUnderTest): Promise<void> {
  await w.stop()
  const backup = fs.readFileSync(w.storeFile) // closed, so everything is in this one file
  await restarted(w, gate)
  await w.stop()
  fs.rmSync(`${w.storeFile}-wal`, { force: true })
  fs.writeFileSync(w.storeFile, backup)
}
async function restarted(world: World, gate: GateUnderTest): Promise<void> {
  await world.start()
  await disconnected()
  expect(await gate.attempt()).toBe('ran')
}

/** Lets a gate notice that its connection ended. */
function disconnected(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 50))
}

/** The foreign permit with a genuine proof against the checkpoint that the gate is about to meet. */
function resealed(world: World, answer: JsonObject): JsonObject {
  const text = ((foreign as JsonObject)['result'] as { sealed: { entry: string } }).sealed.entry
  const entry = parseEntry(text)
  const log = (world.plane as NonNullable<World['plane']>).log
  return { ...answer, result: { ...(answer['result'] as JsonObject), sealed: { ...log.seal({ seq: entry.seq, text, entry }, log.checkpoint) } } }
}

const GATES: readonly ((world: World) => GateUnderTest)[] = [(world) => pipelineGate(world.gate()), (world) => stdioGate(world.gate())]
const rows: string[] = []

describe.each(GATES.map((make, i) => ({ make, name: ['pipeline (gate)', 'mcp (stdio)'][i] as string })))('fault matrix: $name', ({ make, name }) => {
  it.each(FAULTS)('denies with $code when $dependency: $fault (I4)', async ({ dependency, fault, code, begin, end }) => {
    const world = new World()
    try {
      await world.start()
      const gate = make(world)
      expect(await gate.attempt()).toBe('ran') // the control: the same path works
      await begin(world, gate)
      const before = gate.effects()
      expect(await gate.attempt()).toBe(code)
      expect(gate.effects()).toBe(before)
      if (end !== undefined) {
        await end(world)
        expect(await gate.attempt()).toBe('ran') // and nothing was lost for good
      }
      rows.push(`| ${name} | ${dependency} | ${fault} | \`${code}\` | 0 | ${end === undefined ? 'no: an operator or a restart' : 'yes'} |`)
    } finally {
      await world.remove()
    }
  })

  it('denies with environment_unattested when the environment could not be measured', async () => {
    const world = new World()
    try {
      await world.start()
      const gate = name === 'mcp (stdio)' ? stdioGate(world.gate({ environment: undefined })) : pipelineGate(world.gate({ environment: undefined }))
      expect(await gate.attempt()).toBe('environment_unattested')
      expect(gate.effects()).toBe(0)
      rows.push(`| ${name} | environment | cannot be measured | \`environment_unattested\` | 0 | no: an operator or a restart |`)
    } finally {
      await world.remove()
    }
  })
})

/** The table in SECURITY.md is what this run saw; a run that saw less does not write. */
afterAll(() => {
  if (rows.length !== GATES.length * (FAULTS.length + 1)) return
  const file = path.resolve(import.meta.dirname, '../SECURITY.md')
  const [begin, end] = ['<!-- fault-matrix:begin -->', '<!-- fault-matrix:end -->']
  const text = fs.readFileSync(file, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < 0) throw new Error('SECURITY.md has lost its fault matrix')
  const table = ['| gate | dependency | fault | denied with | effects | heals by itself |', '|---|---|---|---|---|---|', ...rows].join('\n')
  const next = `${text.slice(0, from)}${begin}\n${table}\n${text.slice(to)}`
  if (next !== text) fs.writeFileSync(file, next)
})
