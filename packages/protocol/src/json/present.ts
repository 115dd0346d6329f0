/** Members that are `undefined` are left out: what does not apply is absent, never null. */
export function present<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  const out: Partial<T> = {}
  for (const name of Object.keys(object) as (keyof T)[]) {
    const value = object[name]
    if (value !== undefined) out[name] = value
  }
  return out as T
}
