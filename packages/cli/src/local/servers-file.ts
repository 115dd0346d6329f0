import * as path from 'node:path'
import { isQualifier, MAX_SERVERS } from '@sealwrit/mcp-gateway'
import { quoted } from '@sealwrit/protocol'
import { z } from 'zod'
import { CliError, EXIT } from '../errors.ts'
import { readJson } from '../read-json.ts'
import type { Governable } from './governed.ts'

const text = z.string().min(1).max(32_768)
const shape = z.strictObject({
  mcpServers: z.record(
    z.string(),
    z.union([
      z.strictObject({ command: text, args: z.array(z.string().max(32_768)).max(1_000).optional(), env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/), z.string().max(32_768)).optional(), cwd: text.optional() }),
      z.strictObject({ type: z.enum(['http', 'streamable-http']).optional(), url: text, headerFile: text.optional() }),
    ]),
  ),
})

/**
 * Servers as clients write them: `{"mcpServers":{"fs":{"command":…,"args":[…]},"crm":{"url":…,"headerFile":…}}}`. It is the operator's
 * own file: nothing in it is expanded, and no shell sees it.
 * @throws {CliError}
 */
export function readServersFile(file: string): readonly Governable[] {
  const parsed = shape.safeParse(readJson(file))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new CliError(`${file}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not a list of servers'}`, { exit: EXIT.usage, hint: 'as in {"mcpServers":{"fs":{"command":"npx","args":["@modelcontextprotocol/server-filesystem","./files"]}}}' })
  }
  const here = path.dirname(path.resolve(file))
  const servers = Object.entries(parsed.data.mcpServers)
  if (servers.length === 0 || servers.length > MAX_SERVERS) throw new CliError(`${file} names ${servers.length} servers; it can be 1 to ${MAX_SERVERS}`, { exit: EXIT.usage })
  return servers.map(([name, server]): Governable => {
    if (!isQualifier(name)) throw new CliError(`${file}: ${quoted(name)} can be no server's name here`, { exit: EXIT.usage, hint: 'it is a letter and up to 31 letters, digits, dots or dashes: no underscore, since two of them part it from a tool' })
    if ('url' in server) return { name, command: [], cwd: here, url: server.url, ...(server.headerFile === undefined ? {} : { headerFile: path.resolve(here, server.headerFile) }), bound: {} }
    return { name, command: [server.command, ...(server.args ?? [])], cwd: path.resolve(here, server.cwd ?? '.'), ...(server.env === undefined ? {} : { variables: server.env }), bound: {} }
  })
}
