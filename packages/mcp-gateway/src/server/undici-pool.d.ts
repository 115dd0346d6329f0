// The pool alone: the package's own entry loads its fetch, cache and WebSocket too, which doubles the time to start and costs 14 MB.
declare module 'undici/lib/dispatcher/pool.js' {
  import type { Pool as PoolType } from 'undici'
  const Pool: { new (...args: ConstructorParameters<typeof PoolType>): PoolType }
  export default Pool
}
