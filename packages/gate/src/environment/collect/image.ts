import { type Digest, isDigest } from '@sealwrit/protocol'
import { type Look, NotTold } from './look.ts'

/** Where whoever starts the container may say which image it is: `sha256:…`, or a name and `@sha256:…`. */
export const IMAGE_VARIABLE = 'SEALWRIT_IMAGE'
export const IMAGE_FILE = '/run/sealwrit/image'
/** Written by podman; holds the id of the image in containers that may know it. */
export const CONTAINER_FILE = '/run/.containerenv'
const MAX_IMAGE_BYTES = 8_192

/** Files that only containers have. */
const CONTAINER_SIGNS = [CONTAINER_FILE, '/.dockerenv'] as const

export interface ImagePlaces {
  readonly variable: string | undefined
  readonly file: string
  readonly containerFile: string
}

/**
 * The container image, as the orchestrator says it. A process cannot see the image that it runs in: where nobody tells it, it is absent.
 * @throws {NotTold}
 */
export function collectImage({ variable, file, containerFile }: ImagePlaces, look: Look): { digest: Digest; from: 'file' | 'variable' } {
  if (variable !== undefined && variable !== '') return { digest: digestIn(variable), from: 'variable' }
  const text = look.text(file, MAX_IMAGE_BYTES)
  if (text !== undefined) return { digest: digestIn(text.trim()), from: 'file' }
  const id = /^imageid="([0-9a-f]{64})"$/m.exec(look.text(containerFile, MAX_IMAGE_BYTES) ?? '')?.[1]
  if (id !== undefined) return { digest: `sha256:${id}`, from: 'file' }
  throw new NotTold(CONTAINER_SIGNS.some((sign) => look.kind(sign) !== 'nothing') ? 'not_told' : 'none')
}

function digestIn(text: string): Digest {
  const digest = text.slice(text.lastIndexOf('@') + 1)
  if (!isDigest(digest)) throw new NotTold('malformed')
  return digest
}
