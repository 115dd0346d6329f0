import * as nodeCrypto from 'node:crypto'
import * as fs from 'node:fs'
import { Denied, readCertificates, tsaCryptoFrom, type TsaTrust } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'

/** Largest file of certificates that is read, in bytes. */
const MAX_CERTIFICATE_FILE = 1_048_576

/** Whose timestamps count: the authorities whose certificates the files hold. @throws {CliError} */
export function readTsaTrust(files: readonly string[]): TsaTrust {
  const certificates = files.flatMap((file) => {
    try {
      return readCertificates(readBounded(file, MAX_CERTIFICATE_FILE))
    } catch (error) {
      if (error instanceof Denied) throw new CliError(`--tsa-cert ${file}: ${error.message}`, { exit: EXIT.usage, hint: 'give the authority’s certificate, or that of an authority above it, in PEM or DER' })
      throw error
    }
  })
  return { certificates, crypto: tsaCryptoFrom(nodeCrypto) }
}

/** A whole file, or stdin for `-`. @throws {CliError} when it is larger than `maxBytes` */
export function readBounded(file: string, maxBytes: number): Uint8Array {
  let bytes: Uint8Array
  try {
    if (file !== '-' && fs.statSync(file).size > maxBytes) throw new CliError(`${file} is larger than ${maxBytes} bytes`)
    bytes = fs.readFileSync(file === '-' ? 0 : file)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
  return bytes
}
