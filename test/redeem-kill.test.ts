import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { nodeClock, nodeRng, openSqliteStore } from '@sealwrit/control-plane'
import { type AuthorizeReply, Denied, parseEntry, type RedeemReply, toBase64Url } from '@sealwrit/protocol'
import { pinOver } from '../packages/control-plane/test/support/pins.ts'
import { afterAll, describe, expect, it } from 'vitest'
import { type CarriedArtifact, carriedOf, issueRequest, SocketClient } from '../packages/control-plane/test/support/push.ts'
import { TestGate, TOOL_DIGEST, toolCall } from '../packages/control-plane/test/support/rig.ts'
import { end, startPlane } from './support/processes.ts'
import { score, sized } from './support/scoreboard.ts'

const KILLS = sized(15, 300)
const SEED = Number(process.env['SEALWRIT_SEED'] ?? 20_261_123)
const IN_FLIGHT = 100
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-redeem-kill-'))
const dir = path.join(root, '.sealwrit')
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))

const POLICY = '@id("touch") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://fs/read_file");\n'
const token = (): string => toBase64Url(nodeRng.bytes(16))

interface Attempt {
  readonly artifact: CarriedArtifact
  readonly challenge: string
  /** The redemption, when its answer arrived before the kill. */
  answer: string | undefined
}

/** A connection of the one gate. */
async function connect(gate: TestGate): Promise<SocketClient> {
  const client = await SocketClient.connect(path.join(dir, 'plane.sock'))
  await gate.enrolOver(client)
  return client
}
const redeem = async (client: SocketClient, gate: TestGate, { artifact }: Attempt, challenge: string): Promise<string> => {
  const reply = await client.request<RedeemReply>('redeem', { session: gate.session, artifact: artifact.sealed, challenge })
  return reply.redemption.entry
}
const outcome = async (asked: Promise<string>): Promise<string> => asked.catch((error: unknown) => (error instanceof Denied ? error.code : Promise.reject(error)))

describe('kill -9 of the plane between a redemption and its answer', () => {
  it(`ATK-042, S1, I2: ${KILLS} kills, everything replayed: what was redeemed is artifact_spent, its own challenge gets the same answer, nothing is redeemed twice`, async () => {
    await end((await startPlane(dir)).child) // the first run writes the folder
    fs.writeFileSync(path.join(dir, 'policies', 'touch.cedar'), POLICY)
    let plane = await startPlane(dir)
    const gate = new TestGate({ plane: undefined as never, rng: nodeRng, clock: nodeClock, token })
    let client = await connect(gate)
    const tools = [{ name: 'read_file', digest: TOOL_DIGEST }]
    await client.request('tools.record', { session: gate.session, target: 'mcp://fs', tools })
    await pinOver(path.join(dir, 'plane.sock'), 'mcp://fs', tools)
    let state = SEED % 2_147_483_647
    const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
    let [answered, unanswered, untouched, issued] = [0, 0, 0, 0]

    for (let kill = 0; kill < KILLS; kill++) {
      const caller = await SocketClient.connect(path.join(dir, 'plane.sock'))
      const attempts: Attempt[] = await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
        const reply = await caller.request<AuthorizeReply>('issue', issueRequest(gate, toolCall()))
        if (reply.decision !== 'permit') throw new Error(JSON.stringify(reply))
        return { artifact: carriedOf(reply.sealed), challenge: token(), answer: undefined }
      }))
      issued += attempts.length
      caller.close()
      const asked = attempts.map((attempt) => redeem(client, gate, attempt, attempt.challenge).then((entry) => (attempt.answer = entry)))
      for (const one of asked) one.catch(() => undefined)
      // A group is answered one after the other: with its first answer all of it is durable, and most of it unanswered yet.
      if (random() < 0.7) await Promise.race(asked)
      else await new Promise((resolve) => setTimeout(resolve, random() * 60))
      await end(plane.child, 'SIGKILL')
      client.close()

      plane = await startPlane(dir)
      client = await connect(gate)
      for (const attempt of attempts) {
        const [replayed, own, again] = [await outcome(redeem(client, gate, attempt, token())), await outcome(redeem(client, gate, attempt, attempt.challenge)), await outcome(redeem(client, gate, attempt, token()))]
        expect(again).toBe('artifact_spent')
        if (attempt.answer !== undefined) {
          expect([replayed, own], 'answered before the kill').toEqual(['artifact_spent', attempt.answer])
          answered++
        } else if (replayed === 'artifact_spent') {
          expect(parseEntry(own), 'redeemed, though nobody heard of it').toMatchObject({ kind: 'redemption', challenge: attempt.challenge, jti: attempt.artifact.permit.jti })
          unanswered++
        } else {
          expect(parseEntry(replayed), 'not redeemed before the kill').toMatchObject({ kind: 'redemption', jti: attempt.artifact.permit.jti })
          expect(own).toBe('artifact_spent')
          untouched++
        }
      }
    }
    client.close()
    await end(plane.child)
    const store = openSqliteStore(path.join(dir, 'store.db'))
    const jtis = (await store.entries(0, 1_000_000)).map(parseEntry).flatMap((e) => (e.kind === 'redemption' ? [e.jti] : []))
    await store.close()
    score({ id: 'S1', figure: '`kill -9` of the plane between a redemption and its answer: artifacts redeemed twice', n: KILLS, violations: jtis.length - new Set(jtis).size, seed: SEED, notes: `${issued} artifacts, ${unanswered} redeemed without an answer` })
    console.log(`kills around redemptions: ${KILLS} kills, ${issued} artifacts: ${answered} answered, ${unanswered} redeemed without an answer, ${untouched} not redeemed yet; ${jtis.length} redemptions (seed ${SEED})`)
    expect(jtis.length).toBe(issued)
    expect(new Set(jtis).size, 'none twice').toBe(issued)
    expect(unanswered, 'kills that landed between redemption and answer; otherwise the run is void').toBeGreaterThan(0)
  }, 3_600_000)
})
