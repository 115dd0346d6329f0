export { withIds } from './ids.ts'
export { buildProgram } from './program.ts'
