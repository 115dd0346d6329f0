import { type JsonObject, LEAST_ASSURANCE } from '@sealwrit/protocol'
import { type ActivePolicy, decide, type Decision } from './decide.ts'
import type { DecisionInput } from './mapping.ts'

/**
 * Decides, and records beside the decision what a set in shadow mode would have decided. The shadow governs nothing: whatever
 * becomes of it, the decision is the one of the active set.
 */
export function decideBeside(input: DecisionInput, active: ActivePolicy, shadow: ActivePolicy | undefined): Decision {
  const decision = decide(input, active)
  return shadow === undefined ? decision : { ...decision, shadow: verdictOf(input, shadow) }
}

function verdictOf(input: DecisionInput, shadow: ActivePolicy): JsonObject {
  const { digest } = shadow.engine.set
  try {
    return { mode: 'shadow', digest, ...verdict(decide(input, shadow)) }
  } catch {
    return { mode: 'shadow', digest, decision: 'deny', code: 'policy_error', determining: [] } // a fault of the shadow is its own
  }
}

/** A decision as data: what policy said, without what it was said of. */
export function verdict(decision: Decision): JsonObject {
  const { determining } = decision.policy
  switch (decision.kind) {
    case 'permit': {
      const { obligations, ...constraints } = decision.constraints
      return { decision: 'permit', determining, risk: decision.risk, obligations: { ...constraints, ...(obligations.length === 0 ? {} : { obligations }), ...(decision.assurance === LEAST_ASSURANCE ? {} : { assurance: decision.assurance }), ...redactions(decision) } }
    }
    case 'hold':
      return { decision: 'hold', determining, obligations: { approval: { ...decision.approval }, ...redactions(decision) } }
    case 'deny':
      return { decision: 'deny', code: decision.code, determining }
  }
}

function redactions({ redact }: Decision): JsonObject {
  return redact.length === 0 ? {} : { redact: [...new Set(redact.map((path) => path.join('.')))].sort() }
}
