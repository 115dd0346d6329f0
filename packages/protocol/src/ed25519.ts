/**
 * Refuses what no honest signer produces and verifiers disagree about: keys and signatures of a wrong length, a scalar that is not
 * reduced, points that are not canonical or of small order (ATK-004). What is left every verifier judges alike.
 * @see RFC 8032 section 5.1.7
 */
export function isStrictEd25519(publicKey: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  return isCanonicalScalar(signature) && !isWeakPoint(publicKey) && !isWeakPoint(signature.subarray(0, 32))
}

/** Order of the Ed25519 base point, little endian: a signature whose S is not below it is malleable. */
const ORDER = [0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14]

/** S < L. @see RFC 8032 section 5.1.7 */
function isCanonicalScalar(signature: Uint8Array): boolean {
  const s = signature.subarray(32)
  // L = 2^252 + ORDER: compare from the most significant byte.
  const order = (i: number): number => (i === 31 ? 0x10 : i >= 16 ? 0 : (ORDER[i] as number))
  for (let i = 31; i >= 0; i--) {
    const difference = (s[i] as number) - order(i)
    if (difference !== 0) return difference < 0
  }
  return false
}

/**
 * Encodings that no honest signer produces: y ≥ 2^255 − 19 (not canonical), and the points of small order, under which
 * one signature verifies for many messages.
 */
function isWeakPoint(point: Uint8Array): boolean {
  const top = (point[31] as number) & 0x7f
  let highOnes = top === 0x7f
  for (let i = 30; i >= 1 && highOnes; i--) highOnes = point[i] === 0xff
  if (highOnes && (point[0] as number) >= 0xec) return true // y = −1 (order 2) and every y ≥ p
  let highZeros = top === 0
  for (let i = 30; i >= 1 && highZeros; i--) highZeros = point[i] === 0
  if (highZeros && (point[0] as number) <= 1) return true // y = 0 (order 4) and y = 1 (order 1)
  return SMALL_ORDER.some((small) => small.every((byte, i) => (i === 31 ? top === byte : point[i] === byte)))
}

/** The y coordinates of the points of order 8, sign bit cleared. */
const SMALL_ORDER: readonly (readonly number[])[] = [
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
].map((hex) => Array.from({ length: 32 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16)))
