import type { Command } from 'commander'
import type { GlobalOptions } from './output.ts'

type Add = (nameAndArgs: string, description: string, example: string, parent?: Command) => Command

const CLIENTS = 'claude-code, cursor, vscode, codex or gemini'

/** The commands below `mcp` that are about clients' configurations. @param all gives an action the options of every command above it */
export function addClients(add: Add, mcp: Command, all: <T extends object>(own: T) => T & GlobalOptions): void {
  const own = <T extends object>(options: T): T & GlobalOptions => {
    const { json, dir, tenant, debug } = mcp.opts<GlobalOptions>()
    return all({ ...Object.fromEntries(Object.entries({ json, dir, tenant, debug }).filter(([, value]) => value !== undefined)), ...options })
  }
  const choosing = (command: Command): Command =>
    command
      .requiredOption('--client <client>', `whose configuration: ${CLIENTS}`)
      .option('--config <file>', 'another file than the client’s own places')
      .option('--server <name...>', 'only these servers')
      .option('--dry-run', 'only show what would change')
      .option('--yes', 'do not ask')
  choosing(add('install', 'put the servers of an MCP client behind the gateway; shows what changes, and asks', 'sealwrit mcp install --client cursor --dry-run', mcp))
    .option('--agent <name>', 'the agent’s name for all of them')
    .option('--agent-key <file>', 'key of that agent (`sealwrit agent add`)')
    .option('--pin', 'pin the tools that each server lists first; what it adds or changes later waits for `tool pin`')
    .option('--shadow', 'start them with --shadow: where the plane observes, what policy denies runs too')
    .option('--bind', 'start only the very programs and scripts that are there now; install again after an update')
    .action(async (o: object) => (await import('./commands/mcp-install.ts')).mcpInstall(own(o as { client: string })))
  choosing(add('uninstall', 'put back what `mcp install` replaced, exactly', 'sealwrit mcp uninstall --client cursor', mcp)).action(async (o: object) => (await import('./commands/mcp-install.ts')).mcpUninstall(own(o as { client: string })))
  choosing(add('import', 'start the servers of a client behind gateways, list their tools, and propose agents and policies', 'sealwrit mcp import --client cursor --allow fs/read_file -o ./proposal', mcp))
    .option('--allow <server/tool...>', 'tools that the proposed policies permit; no other')
    .option('--agent <name>', 'the registered agent that they are for (default: everybody)')
    .option('-o, --output <folder>', 'folder to write to (default: stdout)')
    .action(async (o: object) => (await import('./commands/mcp-import.ts')).mcpImport(own(o as { client: string })))
}
