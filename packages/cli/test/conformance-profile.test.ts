import type { ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PROFILE_STEPS } from '../src/conformance/profile/steps.ts'
import { type ProfileRule, readRules } from '../src/conformance/rules.ts'
import { knownProfiles } from '../src/local/profiles.ts'
import { end, run, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-conformance-profile-')))
const dir = path.join(root, '.sealwrit')
const socket = `unix:${path.join(dir, 'plane.sock')}`
const rules = readRules().filter((rule): rule is ProfileRule => rule.suite === 'profile')
let plane: { child: ChildProcess; url: string }
/** Ids by what came of them, and the exit. */
async function tried(target: string, profile: string): Promise<{ exit: number; held: string[]; broken: string[]; unchecked: string[] }> {
  const { exit, stdout, stderr } = await run(['conformance', '--target', target, '--profile', profile, '--rule', 'profile', '--json', '--dir', dir])
  expect(stdout, stderr).not.toBe('')
  const found = (JSON.parse(stdout) as { rules: { id: string; status: string }[] }).rules
  const of = (wanted: string): string[] => found.filter(({ status }) => status === wanted).map(({ id }) => id)
  return { exit, held: of('held'), broken: of('broken'), unchecked: of('not checked') }
}
const restart = async (config: string): Promise<void> => {
  if (plane !== undefined) await end(plane.child)
  fs.writeFileSync(path.join(root, 'sealwrit.yaml'), config)
  plane = await startPlane(dir)
}

beforeAll(async () => {
  expect((await run(['init'], { cwd: root })).exit).toBe(0)
  await restart('owner: team-x\nprofile: core\n')
})
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('rules about profiles', () => {
  it('name profiles and steps that there are', () => {
    for (const { id, profile, do: { step } } of rules) {
      expect(Object.keys(PROFILE_STEPS), id).toContain(step)
      for (const name of profile) expect(knownProfiles().map((one) => one.name), id).toContain(name)
    }
  })

  it('are held by a plane that is under the profile, and try each way what it can show', async () => {
    expect(await tried(socket, 'core')).toEqual({ exit: 0, held: ['profile.named', 'profile.plane', 'profile.policies', 'profile.core.blanket', 'profile.core.observed'], broken: [], unchecked: [] })
    expect(await tried(plane.url, 'core')).toMatchObject({ exit: 0, unchecked: ['profile.core.blanket'], broken: [] })
  })

  it('are broken by a plane that is not what it asks for, rule by rule', async () => {
    expect(await tried(socket, 'defense')).toEqual({
      exit: 1, held: ['profile.core.blanket', 'profile.core.observed'], unchecked: [],
      broken: ['profile.named', 'profile.plane', 'profile.policies', 'profile.federal.agents', 'profile.federal.witness', 'profile.defense.witnesses', 'profile.defense.hybrid'],
    })
    expect((await tried(plane.url, 'health')).held).toContain('profile.health.private')
  })

  it('are broken by a plane that is under none: a set that permits everything is staged, and taken back; entries are everybody’s', async () => {
    await restart('log_entries: public\nmode: shadow\n')
    const found = await tried(socket, 'core')
    expect([found.exit, found.broken]).toEqual([1, ['profile.named', 'profile.plane', 'profile.core.blanket', 'profile.core.observed']])
    const status = await run(['policy', 'status', '--json', '--dir', dir])
    expect(JSON.parse(status.stdout)).not.toHaveProperty('staged')
    expect((await tried(plane.url, 'health')).broken).toContain('profile.health.private')
  })

  it('need a plane', async () => {
    expect(await run(['conformance', '--gate', '--profile', 'core', '--dir', dir])).toMatchObject({ exit: 2, stderr: expect.stringContaining('--profile is about a plane') as string })
  })
})
