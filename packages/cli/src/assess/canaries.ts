import { isDenialCode } from '@sealwrit/protocol'
import { forbiddenAt } from '../conformance/client/suite.ts'
import { gateEndpoint, secretIn } from '../conformance/target.ts'
import { RUNS } from '../conformance/rules.ts'
import { probe } from '../doctor/doctor.ts'
import { CliError, EXIT } from '../errors.ts'
import type { PlaneFolder } from '../local/folder.ts'
import { plain } from '../output.ts'

/**
 * Asks for what is forbidden before anything is read: at a gate of its own, where it also kills what runs, and at gates that clients
 * reach over HTTP. What is refused is evidence by its entry in the log.
 * @returns what was not refused: then nothing else that is shown counts
 * @throws {CliError} for what names no gate, or does not answer
 */
export async function sendCanaries(folder: PlaneFolder, gates: readonly string[], { tokenFile, agentKey }: { readonly tokenFile?: string; readonly agentKey?: string }): Promise<readonly string[]> {
  const endpoints = gates.map((gate) => gateEndpoint(gate, {}) ?? notAGate(gate))
  const token = tokenFile === undefined ? undefined : secretIn(tokenFile)
  const ran: string[] = []
  try {
    const denied = (await probe(folder, agentKey)).find(({ check }) => check === 'deny')
    if (denied?.ok !== true) ran.push(`at a gate of its own ${denied?.detail ?? 'nothing was refused'}`)
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    process.stderr.write(`sealwrit: no canary was sent at a gate of its own: ${plain(error.message)}\n`)
  }
  for (const { url } of endpoints) {
    const outcome = await forbiddenAt(url, token)
    if (outcome === RUNS) ran.push(`the gate at ${url.href} let through what is forbidden`)
    else if (!isDenialCode(outcome)) throw new CliError(`the gate at ${url.href} did not say why it refused: ${outcome}`, { exit: EXIT.unreachable, hint: 'is it running, is the address that of its MCP endpoint, and does it need --token-file?' })
  }
  return ran
}

function notAGate(gate: string): never {
  throw new CliError(`\`${gate.slice(0, 64)}\` names no gate`, { exit: EXIT.usage, hint: 'as in http://127.0.0.1:4181/mcp' })
}
