const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

/** A time as people write it, in seconds: `30m`, `1h`, `7d`; undefined for another text. */
export function seconds(text: string): number | undefined {
  const [, count, unit] = /^([1-9]\d{0,6})([smhd])$/.exec(text) ?? []
  return unit === undefined ? undefined : Number(count) * (UNITS[unit] as number)
}
