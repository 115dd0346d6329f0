import { type Action, besideArguments, Denied, type GrantArguments, type ArgumentBound, type JsonObject, type JsonValue, MAX_GRANT_SECONDS, MAX_GRANT_USES, parseGrantArguments, parseStrictText } from '@sealwrit/protocol'
import { seconds } from '../duration.ts'
import { CliError, EXIT } from '../errors.ts'

export interface Grant {
  readonly uses: number
  /** Seconds since 1970. */
  readonly until: number
  readonly bounds: GrantArguments
}

const HINT = 'a grant looks like uses=5,until=1h,path=prefix:/srv/ — bounds are equals:VALUE, oneof:A|B, prefix:FOLDER/ and range:1..10'

/**
 * Reads `uses=5,until=1h,path=prefix:/srv/`. An argument that is not named must stay as it is in the held action.
 * @throws {CliError} exit 2
 */
export function parseGrant(text: string, action: Action, nowSeconds: number): Grant {
  const refuse = (what: string): never => {
    throw new CliError(`--grant: ${what}`, { exit: EXIT.usage, hint: HINT })
  }
  const bounds: Record<string, ArgumentBound> = Object.create(null) as Record<string, ArgumentBound>
  for (const [name, value] of Object.entries(action.arguments as JsonObject)) bounds[name] = { equals: value }
  if (Object.keys(besideArguments(action)).length > 0) refuse('it covers no request that carries more than arguments, as the held one does')
  let uses: number | undefined
  let until: number | undefined
  for (const part of text.split(',')) {
    const at = part.indexOf('=')
    const [name, value] = [part.slice(0, at), part.slice(at + 1)]
    if (at <= 0) refuse(`\`${part.slice(0, 32)}\` is not NAME=VALUE`)
    if (name === 'uses') uses = /^[1-9]\d{0,3}$/.test(value) && Number(value) <= MAX_GRANT_USES ? Number(value) : refuse(`uses takes a number from 1 to ${MAX_GRANT_USES}`)
    else if (name === 'until') until = nowSeconds + (duration(value) ?? refuse('until takes a duration of at most 30 days, as in 30m, 1h or 7d'))
    else {
      const argument = name.replace(/^arguments\./, '')
      if (!Object.hasOwn(bounds, argument)) refuse(`the held action has no argument \`${argument.slice(0, 32)}\``)
      bounds[argument] = bound(value) ?? refuse(`\`${value.slice(0, 32)}\` is no bound`)
    }
  }
  if (uses === undefined || until === undefined) return refuse('uses and until are needed')
  try {
    return { uses, until, bounds: parseGrantArguments({ ...bounds } as unknown as JsonValue) }
  } catch (error) {
    return refuse(error instanceof Denied ? error.message : 'not valid')
  }
}

function duration(text: string): number | undefined {
  const given = seconds(text)
  return given !== undefined && given <= MAX_GRANT_SECONDS ? given : undefined
}

function bound(text: string): ArgumentBound | undefined {
  const [, kind, value = ''] = /^(equals|oneof|prefix|range):([\s\S]+)$/.exec(text) ?? []
  if (kind === 'equals') return { equals: literal(value) }
  if (kind === 'oneof') return { one_of: value.split('|').map(literal) }
  if (kind === 'prefix') return { prefix: value }
  const [, min, max] = kind === 'range' ? (/^(-?\d{1,16})\.\.(-?\d{1,16})$/.exec(value) ?? []) : []
  return min === undefined ? undefined : { range: { min: Number(min), max: Number(max) } }
}

/** JSON where it is JSON, else the text itself. */
function literal(text: string): JsonValue {
  try {
    return parseStrictText(text)
  } catch {
    return text
  }
}
