import { nodeNet, type Net } from '@sealwrit/gate'
import { formatProof, inclusionProof, isObject, type JsonObject, leafHash, nodeHash, parseProof, parseStrict, type Sha256, utf8, WIRE_LIMITS } from '@sealwrit/protocol'

/** The sealed part of a permit as it travels. */
export interface Sealed {
  readonly entry: string
  readonly proof: string
}

/** Changes the plane's permit on its way to the gate; undefined lets it pass. */
export type Tampering = (sealed: Sealed) => Promise<Sealed | null> | Sealed | null

/** A connection to the plane with somebody in the middle of it. */
export class HostileWire {
  /** What is done to the next permits. */
  tampering: Tampering | undefined
  /** The last permit that came from the plane, as it was. */
  lastSealed: Sealed | undefined

  readonly net: Net = {
    connect: (path, maxLineBytes, events) =>
      nodeNet.connect(path, maxLineBytes, {
        closed: (reason) => events.closed(reason),
        line: (bytes) => void this.#pass(bytes).then((line) => events.line(line)),
      }),
  }

  async #pass(bytes: Uint8Array): Promise<Uint8Array> {
    const message = parseStrict(bytes, WIRE_LIMITS) as JsonObject
    const result = message['result']
    if (!isObject(result) || result['decision'] !== 'permit') return bytes
    const sealed = result['sealed'] as unknown as Sealed
    this.lastSealed = sealed
    if (this.tampering === undefined) return bytes
    const changed = await this.tampering(sealed)
    return utf8(JSON.stringify({ ...message, result: { ...result, sealed: changed } }))
  }
}

/** Flips one bit of the first signature in the proof's checkpoint. */
export function breakSignature({ entry, proof }: Sealed): Sealed {
  const end = proof.length - 8
  const other = proof[end] === 'A' ? 'B' : 'A'
  return { entry, proof: proof.slice(0, end) + other + proof.slice(end + 1) }
}

/** Changes what the entry authorizes, and leaves everything else as it was. */
export function changeEntry({ entry, proof }: Sealed): Sealed {
  return { entry: entry.replace('"max_runtime_seconds":300', '"max_runtime_seconds":900'), proof }
}

/**
 * A replay by somebody who knows the whole log: the old permit, with a genuine proof against the newest checkpoint.
 * @param leaves every leaf of the log up to the checkpoint in `fresh`
 */
export function replay(old: Sealed, fresh: Sealed, leaves: readonly string[], sha256: Sha256): Sealed {
  const { checkpoint } = parseProof(fresh.proof)
  const { index, extra } = parseProof(old.proof)
  const size = Number(checkpoint.split('\n')[1])
  const hashes = leaves.map((leaf) => leafHash(utf8(leaf), sha256))
  const subtree = (level: number, at: number): Uint8Array =>
    level === 0 ? (hashes[at] as Uint8Array) : nodeHash(subtree(level - 1, 2 * at), subtree(level - 1, 2 * at + 1), sha256)
  return { entry: old.entry, proof: formatProof({ ...(extra === undefined ? {} : { extra }), index, hashes: inclusionProof(index, size, subtree, sha256), checkpoint }) }
}

