import { CliError } from '../errors.ts'
import { readSecret } from './folder.ts'

/**
 * The text of a file of headers that only its owner may read, with `${NAME}` replaced by that variable of the gateway's
 * environment: what a client keeps in a variable stays there.
 * @throws {CliError} naming the variable, never a value
 */
export function headerText(file: string, variables: Readonly<Record<string, string | undefined>>): string {
  return readSecret(file).replaceAll(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => {
    const value = variables[name]
    if (value === undefined || value === '') throw new CliError(`${file} needs the variable \`${name}\`, which is not set`)
    // oxlint-disable-next-line no-control-regex -- a line break would begin another header
    if (/[\u0000-\u001f\u007f]/.test(value)) throw new CliError(`${file}: the variable \`${name}\` holds control characters`)
    return value
  })
}
