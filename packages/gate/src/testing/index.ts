export { FakeClock, MemoryFloor, seededRng } from './fakes.ts'
export { type OnTheWire, SimulatedPlane, type SimulatedPlaneOptions } from './simulated-plane.ts'
