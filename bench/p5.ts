import * as fs from 'node:fs'
import * as path from 'node:path'
import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { loadPolicySet, nodeCryptography, PolicyEngine, type PolicySet, toCedar } from '@sealwrit/control-plane'
import { type Figure, median, micros } from './support/figure.ts'
import { fillers } from './support/plane.ts'

const schema = fs.readFileSync(path.resolve(import.meta.dirname, '../packages/cli/starter/schema.cedarschema'), 'utf8')
const PERMIT = '@id("read") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://bench/read_file") when { context.facts.paths == "inside" };'
const ROUNDS = 7

function setOf(size: number): PolicySet {
  return loadPolicySet({ 'schema.cedarschema': schema, 'p.cedar': `${PERMIT}\n${fillers(size - 1)}` }, nodeCryptography.sha256)
}

const input = (i: number) => ({
  action: { type: 'mcp.tool_call' as const, target: 'mcp://bench', name: 'read_file', arguments: { path: `/srv/reports/${i}.txt` }, tool_digest: `sha256:${'a'.repeat(64)}` },
  agent: { name: 'bench', verified: true }, sub: 'user:1', environment: { level: 'software' as const }, facts: { paths: 'inside' as const },
})

/** Milliseconds a decision, over `count` different requests. */
function decisions(engine: PolicyEngine, count: number): number {
  const from = performance.now()
  for (let i = 0; i < count; i++) if (engine.evaluate(toCedar(input(i), engine.argumentTypes)).decision !== 'permit') throw new Error('not permitted')
  return (performance.now() - from) / count
}

/** One decision among 1,000 policies, against Cedar's own stateful call over all of them. */
export async function p5(): Promise<Figure[]> {
  const set = setOf(1_000)
  const whole = { staticPolicies: Object.fromEntries(set.policies.map(({ id, text }) => [id, text])) }
  cedar.preparseSchema('bench', schema)
  cedar.preparsePolicySet('bench', whole)
  const sliced = new PolicyEngine(set, { keepAnswers: false })
  const kept = new PolicyEngine(set)
  const values = { unsliced: [] as number[], sliced: [] as number[], kept: [] as number[] }
  decisions(sliced, 200)
  for (let round = 0; round < ROUNDS; round++) {
    const from = performance.now()
    for (let i = 0; i < 40; i++) {
      const { principal, action, resource, context, entities } = toCedar(input(i), sliced.argumentTypes)
      cedar.statefulIsAuthorized({ principal, action, resource, context, entities, preparsedSchemaName: 'bench', validateRequest: true, preparsedPolicySetId: 'bench' })
    }
    values.unsliced.push((performance.now() - from) / 40)
    values.sliced.push(decisions(sliced, 500))
    values.kept.push(decisions(kept, 2_000))
  }
  const flat = [10, 100, 1_000, 10_000].map((size) => [size, median(Array.from({ length: 5 }, () => decisions(new PolicyEngine(size === 1_000 ? set : setOf(size), { keepAnswers: false }), 300)))] as const)
  const base = median(values.unsliced)
  const common = { baseline: 'cedar-wasm statefulIsAuthorized over the whole set', must: 25, stretch: 400, better: 'higher', durability: 'none: a decision writes nothing' } as const
  return [
    { id: 'P5', what: 'decision with 1,000 policies, as the plane decides: requests equal in all that their policies read share an answer', ...common, ratio: base / median(values.kept), rows: [['sliced, answers kept', micros(median(values.kept))], ['baseline', micros(base)]] },
    {
      id: 'P5b', what: 'the same, with every request evaluated by Cedar', ...common, ratio: base / median(values.sliced),
      rows: [['sliced, evaluated', micros(median(values.sliced))], ['baseline', micros(base)], ...flat.map(([size, ms]) => [`sliced, ${size} policies`, micros(ms)] as const)],
      note: 'what is left is the passage of the request into the engine, which grows with its entities and context, not with the policies',
    },
  ]
}
