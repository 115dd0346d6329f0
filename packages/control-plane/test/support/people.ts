import { seededRng } from '@sealwrit/gate/testing'
import type { Role } from '@sealwrit/protocol'
import { type PasswordCost, Passwords } from '../../src/identify/password.ts'
import type { Rig } from './rig.ts'

export const PASSWORD = 'correct horse battery'
/** As little as Argon2id takes. */
export const CHEAP: PasswordCost = { memoryKib: 16, passes: 1 }
export const cheap = (): Passwords => new Passwords(seededRng('passwords'), CHEAP)

/** Adds a person by the owner's word. @returns the id */
export async function person(rig: Pick<Rig, 'plane'>, name: string, role: Role, password: string = PASSWORD): Promise<string> {
  return (await rig.plane.accounts.add({ name, role, password }, rig.plane.sub)).person
}
