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
  const add: Add = (nameAndArgs, description, example, parent = program) =>
    parent
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
  addLog(add, program)
  add('show <id>', 'show one execution by its jti, or one entry by its index', 'sealwrit show 17').action(async (id: string, o: object) => (await import('./commands/read.ts')).show(id, all(program, o)))
  add('export <selector>', 'write an evidence bundle: `all`, a jti, or an entry index', 'sealwrit export all -o evidence.json')
    .option('-o, --output <file>', 'file to write (default: stdout)')
    .option('--since <checkpoint>', 'file with an earlier checkpoint; the bundle proves that it extends that one')
    .action(async (selector: string, o: object) => (await import('./commands/evidence.ts')).exportEvidence(selector, all(program, o)))
  add('erase <selector>', 'delete the bodies and salts behind entries: a jti, an index, agent:NAME, sub:ID or before:DATE', 'sealwrit erase before:2026-01-01 --yes')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'only say how many entries it would concern')
    .action(async (selector: string, o: object) => (await import('./commands/erase.ts')).erase(selector, all(program, o)))
  add('fsck', 'hash everything again that is stored, and compare it with what the log key signed', 'sealwrit fsck')
    .option('--store <store>', 'as for `up`')
    .action(async (o: object) => (await import('./commands/store.ts')).fsck(all(program, o)))
  add('verify <file>', 'check an evidence bundle, or the folder of a mirror, offline', 'sealwrit verify evidence.json --key log.vkey')
    .option('--key <key>', 'the log’s verifier key, or a file that holds it (default: that of the local plane)')
    .option('--gate-key <key...>', 'public keys of gates that you hold independently')
    .option('--checkpoint <file...>', 'signed checkpoints that you hold from elsewhere: the history must be theirs')
    .option('--tsa-cert <file...>', 'certificates of timestamp authorities whose word counts')
    .option('--replay', 'decide every decision again from the stored policies and inputs')
    .action(async (file: string, o: object) => (await import('./commands/evidence.ts')).verify(file, all(program, o)))
  add('decide <file>', 'dry run: what would be decided about an action, explained', 'sealwrit decide action.json').action(async (file: string, o: object) => (await import('./commands/read.ts')).decide(file, all(program, o)))
  add('canon <file>', 'canonical bytes and digest of a JSON file, or its denial code', 'sealwrit canon action.json').action(async (file: string, o: object) => (await import('./commands/read.ts')).canon(file, all(program, o)))
  const anchor = add('anchor', 'checkpoints kept outside: time stamping authorities, files, endpoints', 'sealwrit anchor verify anchor.json --tsa-cert tsa.pem --key log.vkey')
  const sub = (nameAndArgs: string, description: string): Command => anchor.command(nameAndArgs).description(description).option('--json', 'print JSON').option('--dir <folder>', 'folder of the local plane').exitOverride()
  sub('now', 'anchor the newest checkpoint at every configured place').action(async (o: object) => (await import('./commands/anchor.ts')).anchorNow(all(program, { ...anchor.opts(), ...o })))
  sub('list', 'every place with its last success and failure').action(async (o: object) => (await import('./commands/anchor.ts')).anchorList(all(program, { ...anchor.opts(), ...o })))
  sub('verify <file>', 'say what one anchor shows; exits with 0 for an external time alone')
    .option('--tsa-cert <file...>', 'certificates of time stamping authorities that you trust, or of authorities above them (PEM or DER)')
    .option('--key <key>', 'the log’s verifier key, or a file that holds it (default: that of the local plane)')
    .action(async (file: string, o: object) => (await import('./commands/anchor.ts')).anchorVerify(file, all(program, { ...anchor.opts(), ...o })))
  const policy = add('policy', 'policy life cycle', 'sealwrit policy test')
  add('validate [folder]', 'load a policy set as the plane would', 'sealwrit policy validate', policy).action(async (folder: string | undefined, o: object) => (await import('./commands/policy.ts')).policyValidate(folder, all(program, { ...policy.opts(), ...o })))
  add('test [folder]', 'run the *.test.yaml of a policy folder', 'sealwrit policy test ./policies', policy).action(async (folder: string | undefined, o: object) => (await import('./commands/policy.ts')).policyTest(folder, all(program, { ...policy.opts(), ...o })))
  add('doctor', 'perform a real permit and a real deny through the real boundary', 'sealwrit doctor').action(async (o: object) => (await import('./doctor/doctor.ts')).doctor(all(program, o)))
  add('demo', 'the denial conditions live, against a real MCP server and a plane of its own', 'sealwrit demo --output evidence.json')
    .option('--output <file>', 'keep the evidence bundle in this file')
    .action(async (o: object) => (await import('./demo/demo.ts')).demo(all(program, o)))
  return program
}

/** Adds a command with what every command has. */
type Add = (nameAndArgs: string, description: string, example: string, parent?: Command) => Command

/** `log` lists by itself; what else can be done with the whole log is below it. */
function addLog(add: Add, program: Command): void {
  const log = add('log', 'list what the log holds', 'sealwrit log --kind deny --limit 20')
    .enablePositionalOptions()
    .option('--limit <n>', 'entries at the most', '50')
    .option('--before <index>', 'entries before this leaf index')
    .option('--kind <kind...>', 'only these kinds of entries')
    .action(async (o: { limit: string }) => (await import('./commands/read.ts')).log(all(program, o)))
  add('gaps', 'list what is missing: receipts lost on their way, permits without an ending, denials that overflowed', 'sealwrit log gaps', log)
    .action(async (o: object) => (await import('./commands/read.ts')).gaps(all(program, { ...log.opts(), ...o })))
  add('re-anchor', 'go on from an older copy of the store under a new log key, and record what was lost; the plane must be stopped', 'sealwrit log re-anchor', log)
    .option('--store <store>', 'as for `up`')
    .option('--yes', 'do not ask')
    .action(async (o: object) => (await import('./commands/store.ts')).reAnchor(all(program, { ...log.opts(), ...o })))
  add('export', 'write the log as lines of JSON, oldest first, for a SIEM', 'sealwrit log export --format ocsf --since 120 -o events.jsonl', log)
    .option('--format <format>', 'cloudevents, ocsf, or jsonl (the entries themselves)', 'cloudevents')
    .option('--since <index>', 'begin with this leaf index', '0')
    .option('--follow', 'go on with what is added, until Ctrl-C')
    .option('-o, --output <file>', 'file to write (default: stdout)')
    .action(async (o: { format: string; since: string }) => (await import('./commands/log-export.ts')).logExport(all(program, { ...log.opts(), ...o })))
  add('mirror <folder>', 'copy the whole log into a folder that any file server can serve and `verify` accepts; again, to bring it up to date', 'sealwrit log mirror ./public/log', log)
    .option('--url <prefix>', 'read path of a plane or of another mirror, as in http://127.0.0.1:4180/t/default (default: the local plane’s socket)')
    .option('--token-file <file>', 'file with the token of that plane')
    .option('--key <key>', 'the log’s verifier key, or a file that holds it (default: that of the local plane)')
    .action(async (folder: string, o: object) => (await import('./commands/evidence.ts')).mirror(folder, all(program, { ...log.opts(), ...o })))
}

function all<T extends object>(program: Command, own: T): T & GlobalOptions {
  return { ...program.opts<GlobalOptions>(), ...own }
}
