import type { z } from 'zod'

/** What a schema makes of a value. */
export type Judged = { readonly isRight: true; readonly data: unknown } | { readonly isRight: false; readonly issues: readonly z.core.$ZodIssue[] }

/** Holds a value against a schema. What the schema's own checks stumble over is not right: they look at `length` also of what is no text, and of what has no text. */
export function judge(schema: z.ZodType, value: unknown): Judged {
  try {
    const { success, data, error } = schema.safeParse(value)
    return success ? { isRight: true, data } : { isRight: false, issues: error.issues }
  } catch (error) {
    if (error instanceof TypeError) return { isRight: false, issues: [] }
    throw error
  }
}
