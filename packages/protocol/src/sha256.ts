const BLOCK_BYTES = 64

/** The first 32 bits of the fractional parts of the square or cube roots of the first primes. @see FIPS 180-4 sections 4.2.2, 5.3.3 */
function fractions(count: number, root: (n: number) => number): Uint32Array {
  const out = new Uint32Array(count)
  for (let n = 2, found = 0; found < count; n++) {
    if (!isPrime(n)) continue
    out[found++] = (root(n) % 1) * 2 ** 32
  }
  return out
}
function isPrime(n: number): boolean {
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false
  return true
}
const START = fractions(8, Math.sqrt)
const ROUND = fractions(64, Math.cbrt)

/** SHA-256 where there is no synchronous one: in browsers. Elsewhere the platform's is faster. @see FIPS 180-4 section 6.2 */
export function sha256(data: Uint8Array): Uint8Array {
  const state = new Uint32Array(START)
  const words = new Uint32Array(64)
  const padded = pad(data)
  const view = new DataView(padded.buffer)
  for (let at = 0; at < padded.length; at += BLOCK_BYTES) compress(state, words, view, at)
  const out = new Uint8Array(32)
  const outView = new DataView(out.buffer)
  state.forEach((word, i) => outView.setUint32(4 * i, word))
  return out
}

function pad(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil((data.length + 9) / BLOCK_BYTES) * BLOCK_BYTES)
  out.set(data)
  out[data.length] = 0x80
  const view = new DataView(out.buffer)
  view.setUint32(out.length - 8, Math.floor(data.length / 2 ** 29))
  view.setUint32(out.length - 4, (data.length << 3) >>> 0)
  return out
}

const turn = (x: number, by: number): number => (x >>> by) | (x << (32 - by))

function compress(state: Uint32Array, w: Uint32Array, view: DataView, at: number): void {
  for (let i = 0; i < 16; i++) w[i] = view.getUint32(at + 4 * i)
  for (let i = 16; i < 64; i++) {
    const [x, y] = [w[i - 15] as number, w[i - 2] as number]
    w[i] = (w[i - 16] as number) + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (w[i - 7] as number) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10))
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
  for (let i = 0; i < 64; i++) {
    const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + (ROUND[i] as number) + (w[i] as number)) | 0
    const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0
    ;[h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0]
  }
  for (const [i, add] of [a, b, c, d, e, f, g, h].entries()) state[i] = (state[i] as number) + add
}
