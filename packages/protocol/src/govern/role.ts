/** What a person may do, least first: each may do what those before it may. */
export const ROLES = ['viewer', 'approver', 'operator', 'admin'] as const
export type Role = (typeof ROLES)[number]

/** Whether who has `role` may do what needs `needed`. */
export function isAtLeast(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed)
}
