import { answering } from '../evidence/threads.ts'
import { readTile } from './tile.ts'

// A thread of `readLog`.
answering(readTile)
