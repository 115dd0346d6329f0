import { nodeCryptography } from '@sealwrit/gate'
import { type Batch, parts } from './signatures.ts'
import { answering } from './threads.ts'

// A thread of `Signatures`: the same function as everywhere, asked ahead.
answering(({ keys, tokens }: Batch) =>
  Uint8Array.from(tokens, (token, i) => {
    const { message, signature } = parts(token)
    return nodeCryptography.verifyEd25519(keys[i] as Uint8Array, Buffer.from(message, 'latin1'), signature) ? 1 : 0
  }),
)
