import { type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { end, run, sealwrit } from './support/processes.ts'
import { type Postgres, startPostgres } from './support/postgres.ts'
import { Replicas } from './support/replicas.ts'

const PASSWORD = 'correct horse battery'
const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-tenants-db-')))
const dir = path.join(root, '.sealwrit')
let postgres: Postgres
let store: string
beforeAll(async () => {
  postgres = await startPostgres()
  store = await postgres.database()
})
afterAll(async () => {
  await postgres.stop()
  fs.rmSync(root, { recursive: true, force: true })
})

function up(): Promise<{ child: ChildProcess; tenants: { tenant: string; origin: string; entries: number }[] }> {
  const child = sealwrit(['up', '--json', '--dir', dir, '--listen', '127.0.0.1:0'], { env: { SEALWRIT_STORE: store } })
  return new Promise((resolve, reject) => {
    let [out, errors] = ['', '']
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      if (!out.trimEnd().endsWith('}')) return
      const { tenants = [] } = JSON.parse(out) as { tenants?: [] }
      resolve({ child, tenants })
    })
    child.once('exit', (code) => reject(new Error(`plane ended (${code}): ${errors}`)))
  })
}
const cli = (...args: string[]): ReturnType<typeof run> => run([...args, '--dir', dir], { env: { SEALWRIT_STORE: store } })

describe('tenants in one database', () => {
  it('ATK-061: keep logs, kills and people of their own, also after a restart, and are checked each for itself', async () => {
    await end((await up()).child)
    for (const name of ['pay', 'payments']) expect((await cli('tenant', 'add', name)).exit).toBe(0)
    let plane = await up()
    expect(plane.tenants.map(({ tenant }) => tenant)).toEqual(['default', 'pay', 'payments'])
    const file = path.join(root, 'password')
    fs.writeFileSync(file, PASSWORD, { mode: 0o600 })
    expect((await cli('person', 'add', 'ann', '--role', 'admin', '--password-file', file, '--tenant', 'pay')).exit).toBe(0)
    expect((await cli('kill', 'all', '--tenant', 'pay')).exit).toBe(0)
    await end(plane.child)
    plane = await up()
    const [own, pay, payments] = plane.tenants
    expect([own?.entries, payments?.entries]).toEqual([own?.entries, own?.entries])
    expect(pay?.entries).toBe((own?.entries ?? 0) + 2)
    const killed = async (tenant: string): Promise<number> => (JSON.parse((await cli('unkill', '--tenant', tenant, '--json')).stdout) as { killed: object[] }).killed.length
    expect([await killed('default'), await killed('pay'), await killed('payments')]).toEqual([0, 1, 0])
    const people = async (tenant: string): Promise<number> => (JSON.parse((await cli('person', 'list', '--tenant', tenant, '--json')).stdout) as { people: object[] }).people.length
    expect([await people('default'), await people('pay'), await people('payments')]).toEqual([0, 1, 0])
    await end(plane.child)
    for (const tenant of ['default', 'pay', 'payments']) expect((await cli('fsck', '--tenant', tenant)).stdout, tenant).toContain('sound')
    expect(fs.existsSync(path.join(dir, 'tenants', 'pay', 'store.db'))).toBe(false)
  }, 120_000)
  it('a person added at one plane logs in at another, and is out there too when they are removed', async () => {
    const replicas = await Replicas.open(await postgres.database(), 2)
    const [a, b] = replicas.planes as [(typeof replicas.planes)[0], (typeof replicas.planes)[0]]
    await a.accounts.add({ name: 'ann', role: 'operator', password: PASSWORD }, a.sub)
    await b.log.refresh()
    const { secret } = await b.accounts.login('ann', PASSWORD)
    expect(b.accounts.signedIn(secret, true)).toMatchObject({ role: 'operator' })
    expect(a.accounts.signedIn(secret, true)).toBeUndefined() // sessions are of one process
    await a.accounts.remove('ann', a.sub)
    for (let waited = 0; b.accounts.signedIn(secret, true) !== undefined; waited += 100) {
      expect(waited, 'milliseconds until the other plane knew').toBeLessThan(5_000)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    await replicas.close()
  }, 60_000)
})
