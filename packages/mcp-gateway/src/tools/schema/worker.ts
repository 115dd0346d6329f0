// Runs in a thread of its own, so that whatever it hangs in can be ended. It imports nothing of the gateway.
import { parentPort } from 'node:worker_threads'
import { dereference, type Schema, type SchemaDraft, validate } from '@cfworker/json-schema'
import { type Failure, failureOf } from './outcome.ts'

/** Schemas kept here; the others are sent again. */
const MAX_KEPT = 256

export interface Job {
  readonly job: number
  readonly schema: number
  /** There where this thread may not have it yet. */
  readonly text?: { readonly root: unknown; readonly dialect: SchemaDraft }
  readonly args: unknown
}
export type Answer = { readonly isUp: true } | Done
type Done = { readonly job: number } & ({ readonly failure: Failure | undefined } | { readonly wrong: 'pattern' | 'unknown' | 'cost' })

interface Kept {
  readonly root: Schema
  readonly dialect: SchemaDraft
  readonly lookup: Record<string, Schema | boolean>
}
const schemas = new Map<number, Kept>()

/** A pattern of this thread is run as its author tried it: with `u` where it is one with `u`, and else without. */
const Real = globalThis.RegExp
class NoPattern extends Error {}
const known = new Map<string, RegExp>()
function patternOf(source: string, flags: string): RegExp {
  const before = known.get(source)
  if (before !== undefined) return before
  const made = ((): RegExp => {
    for (const these of [flags, '']) {
      try {
        return new Real(source, these)
      } catch {
        continue
      }
    }
    throw new NoPattern()
  })()
  if (known.size >= MAX_KEPT) known.clear()
  known.set(source, made)
  return made
}
globalThis.RegExp = new Proxy(Real, { construct: (_target, [source, flags]) => patternOf(String(source), String(flags ?? '')) })

function answer({ schema, text, args }: Job): { readonly failure: Failure | undefined } | { readonly wrong: 'pattern' | 'unknown' | 'cost' } {
  if (text !== undefined) {
    if (schemas.size >= MAX_KEPT) schemas.clear()
    const root = text.root as Schema
    schemas.set(schema, { root, dialect: text.dialect, lookup: dereference(root) })
  }
  const kept = schemas.get(schema)
  if (kept === undefined) return { wrong: 'unknown' }
  try {
    return { failure: failureOf(validate(args, kept.root, kept.dialect, kept.lookup)) }
  } catch (error) {
    return { wrong: error instanceof NoPattern ? 'pattern' : 'cost' }
  }
}

parentPort?.on('message', (job: Job) => parentPort?.postMessage({ job: job.job, ...answer(job) } satisfies Answer))
parentPort?.postMessage({ isUp: true } satisfies Answer)
