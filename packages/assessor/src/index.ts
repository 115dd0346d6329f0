export { type Criterion, type Dimension, DIMENSIONS, MAX_LEVEL, type Model, parseModel } from './criteria.ts'
export { type DimensionGrade, gap, type Grade, grade, type Point } from './grade.ts'
export { LogMeasures, WINDOW_DAYS } from './log.ts'
export { isMeasure, type Measure, type Measured, type Measurements, MEASURES } from './measure.ts'
