import { type Model, parseModel } from '@sealwrit/assessor'
import maturity from '@sealwrit/assessor/maturity.json' with { type: 'json' }

/** The maturity model of this version. */
export function maturityModel(): Model {
  return parseModel(maturity as never)
}
