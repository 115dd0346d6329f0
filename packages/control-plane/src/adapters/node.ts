import * as nodeCrypto from 'node:crypto'
import * as os from 'node:os'
import { type Crypto, cryptoFrom, type Rng, toBase64Url } from '@sealwrit/protocol'
import type { PlaneClock } from '../ports.ts'

export const nodeClock: PlaneClock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  bootMs: () => os.uptime() * 1_000,
  after: (ms, run) => {
    const timer = setTimeout(run, ms)
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** Random bytes drawn ahead, so that one call into the system serves many ids. */
const POOL_BYTES = 8_192
let pool: Uint8Array = new Uint8Array(0)
let used = 0

export const nodeRng: Rng = {
  bytes: (count) => {
    if (used + count > pool.length) {
      pool = nodeCrypto.randomBytes(Math.max(POOL_BYTES, count))
      used = 0
    }
    const out = new Uint8Array(pool.subarray(used, used + count)) // a copy: `slice` of a Buffer would share its memory
    pool.fill(0, used, used + count)
    used += count
    return out
  },
}

export const nodeCryptography: Crypto = cryptoFrom(nodeCrypto, toBase64Url)
