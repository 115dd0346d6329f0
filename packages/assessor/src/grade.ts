import { isWithin } from '@sealwrit/protocol'
import { type Criterion, type Dimension, DIMENSIONS, MAX_LEVEL, type Model } from './criteria.ts'
import type { Measured, Measurements } from './measure.ts'

/** One point, and what decided it. */
export interface Point {
  readonly criterion: Criterion
  readonly isMet: boolean
  /** Undefined: nothing showed it. */
  readonly measured: Measured | undefined
}

export interface DimensionGrade {
  readonly dimension: Dimension
  readonly level: number
  readonly points: readonly Point[]
}

export interface Grade {
  readonly model: string
  /** The least of the dimensions. */
  readonly level: number
  readonly dimensions: readonly DimensionGrade[]
  /** Why nothing above 0 can be said, where that is so. */
  readonly invalid: readonly string[]
}

/**
 * Grades what was measured. A level is reached when every point of it and of all below it is met; what was not shown is not met,
 * and evidence that does not verify shows nothing at all.
 * @param invalid what does not verify
 */
export function grade(model: Model, measurements: Measurements, invalid: readonly string[] = []): Grade {
  const dimensions = DIMENSIONS.map((dimension): DimensionGrade => {
    const points = model.criteria.filter((criterion) => criterion.dimension === dimension).map((criterion): Point => {
      const measured = measurements.get(criterion.measure)
      return { criterion, measured, isMet: invalid.length === 0 && isWithin(criterion, measured?.value) }
    })
    return { dimension, level: levelOf(points), points }
  })
  return { model: model.version, level: Math.min(...dimensions.map(({ level }) => level)), dimensions, invalid }
}

function levelOf(points: readonly Point[]): number {
  for (let level = 1; level <= MAX_LEVEL; level++) if (points.some(({ criterion, isMet }) => criterion.level === level && !isMet)) return level - 1
  return MAX_LEVEL
}

/** What stands between a deployment and the next level, each with its step, lowest level first. */
export function gap({ level, dimensions }: Grade): readonly Point[] {
  return dimensions.flatMap(({ points }) => points.filter(({ criterion, isMet }) => !isMet && criterion.level <= level + 1)).sort((a, b) => a.criterion.level - b.criterion.level)
}
