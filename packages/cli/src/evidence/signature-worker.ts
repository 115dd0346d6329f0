import { parentPort } from 'node:worker_threads'
import { nodeCryptography } from '@sealwrit/gate'
import { type Batch, parts } from './signatures.ts'

// A thread of `Signatures`: the same function as everywhere, asked ahead.
parentPort?.on('message', ({ id, keys, tokens }: Batch) => {
  const valid = Uint8Array.from(tokens, (token, i) => {
    const { message, signature } = parts(token)
    return nodeCryptography.verifyEd25519(keys[i] as Uint8Array, Buffer.from(message, 'latin1'), signature) ? 1 : 0
  })
  parentPort?.postMessage({ id, valid })
})
