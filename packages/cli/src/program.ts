import { Command } from 'commander'
import type { GlobalOptions } from './output.ts'
import { version } from './version.ts'

/** Every command loads its own code only when it is called. */
export function buildProgram(): Command {
  const program = new Command('sealwrit')
    .description('Nothing runs without a writ: verify → authorize → execute → prove.')
    .version(version)
    .option('--json', 'print JSON')
    .option('--dir <folder>', 'folder of the local plane (default: the nearest .sealwrit; or SEALWRIT_DIR)')
    .option('--debug', 'print stack traces')
    .showHelpAfterError('(add --help for the options and an example)')
    .exitOverride()
    .enablePositionalOptions()
  const add = (nameAndArgs: string, description: string, example: string): Command =>
    program
      .command(nameAndArgs)
      .description(description)
      .option('--json', 'print JSON')
      .option('--dir <folder>', 'folder of the local plane')
      .option('--debug', 'print stack traces')
      .addHelpText('after', `\nExample:\n  ${example}`)
      .exitOverride()

  add('init', 'write sealwrit.yaml, starter policies, their schema and tests', 'sealwrit init').action(async (o: object) => (await import('./commands/init.ts')).init(all(program, o)))
  add('up', 'start the plane', 'sealwrit up --listen 127.0.0.1:4180')
    .option('--listen <host:port>', 'address of the HTTP API', '127.0.0.1:4180')
    .option('--store <store>', 'sqlite:FILE or postgres://… (or SEALWRIT_STORE; default: store.db in the folder)')
    .action(async (o: { listen: string }) => (await import('./commands/up.ts')).up(all(program, o)))
  add('mcp', 'govern a stdio MCP server: give this to an MCP client in its place', 'sealwrit mcp --name fs -- npx @modelcontextprotocol/server-filesystem ./files')
    .requiredOption('--name <name>', 'the server’s name in policies and in the log')
    .option('--agent <name>', 'the agent’s name (default: what the client calls itself, marked unverified)')
    .option('--env <name...>', 'further environment variables that the server gets')
    .option('--plane <socket...>', 'sockets of further planes of the same log, tried when the first does not answer')
    .argument('<command...>', 'the server’s command, after --')
    .passThroughOptions()
    .action(async (command: string[], o: { name: string }) => (await import('./commands/mcp.ts')).mcp(command, all(program, o)))
  add('log', 'list what the log holds', 'sealwrit log --kind deny --limit 20')
    .option('--limit <n>', 'entries at the most', '50')
    .option('--before <index>', 'entries before this leaf index')
    .option('--kind <kind...>', 'only these kinds of entries')
    .action(async (o: { limit: string }) => (await import('./commands/read.ts')).log(all(program, o)))
  add('show <id>', 'show one execution by its jti, or one entry by its index', 'sealwrit show 17').action(async (id: string, o: object) => (await import('./commands/read.ts')).show(id, all(program, o)))
  add('export <selector>', 'write an evidence bundle: `all`, a jti, or an entry index', 'sealwrit export all -o evidence.json')
    .option('-o, --output <file>', 'file to write (default: stdout)')
    .action(async (selector: string, o: object) => (await import('./commands/read.ts')).exportEvidence(selector, all(program, o)))
  add('verify <file>', 'check an evidence bundle offline', 'sealwrit verify evidence.json --key log.vkey')
    .option('--key <key>', 'the log’s verifier key, or a file that holds it (default: that of the local plane)')
    .option('--gate-key <key...>', 'public keys of gates that you hold independently')
    .action(async (file: string, o: object) => (await import('./commands/read.ts')).verify(file, all(program, o)))
  add('decide <file>', 'dry run: what would be decided about an action, explained', 'sealwrit decide action.json').action(async (file: string, o: object) => (await import('./commands/read.ts')).decide(file, all(program, o)))
  add('canon <file>', 'canonical bytes and digest of a JSON file, or its denial code', 'sealwrit canon action.json').action(async (file: string, o: object) => (await import('./commands/read.ts')).canon(file, all(program, o)))
  add('issue <file>', 'issue an artifact that an agent carries to one gate, which redeems it once', 'sealwrit issue action.json --audience GATE --agent coder -o artifact.json')
    .requiredOption('--audience <gate>', 'id of the gate that may redeem it (`sealwrit log --kind gate` lists them)')
    .option('--agent <name>', 'the agent that will present it (default: `anyone`, marked unverified)')
    .option('--seconds <n>', 'how long it may be started, at most 60', '60')
    .option('-o, --output <file>', 'file to write (default: stdout)')
    .action(async (file: string, o: { audience: string }) => (await import('./commands/issue.ts')).issue(file, all(program, o)))
  const policy = add('policy', 'policy life cycle', 'sealwrit policy test')
  policy.command('validate [folder]').description('load a policy set as the plane would').action(async (folder: string | undefined, o: object) => (await import('./commands/policy.ts')).policyValidate(folder, all(program, { ...policy.opts(), ...o })))
  policy.command('test [folder]').description('run the *.test.yaml of a policy folder').action(async (folder: string | undefined, o: object) => (await import('./commands/policy.ts')).policyTest(folder, all(program, { ...policy.opts(), ...o })))
  add('doctor', 'perform a real permit and a real deny through the real boundary', 'sealwrit doctor').action(async (o: object) => (await import('./doctor/doctor.ts')).doctor(all(program, o)))
  add('demo', 'the denial conditions live, against a real MCP server and a plane of its own', 'sealwrit demo --output evidence.json')
    .option('--output <file>', 'keep the evidence bundle in this file')
    .action(async (o: object) => (await import('./demo/demo.ts')).demo(all(program, o)))
  return program
}

function all<T extends object>(program: Command, own: T): T & GlobalOptions {
  return { ...program.opts<GlobalOptions>(), ...own }
}
