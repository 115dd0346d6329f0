import { Command } from 'commander'
import { CliError, EXIT } from './errors.ts'
import { findDir, TENANT, tenantDir } from './local/places.ts'
import type { GlobalOptions } from './output.ts'
import { addPolicy } from './policy-program.ts'
import { version } from './version.ts'

/** Every command loads its own code only when it is called. */
export function buildProgram(): Command {
  const program = new Command('sealwrit')
    .description('Nothing runs without a writ: verify → authorize → execute → prove.')
    .version(version)
    .option('--json', 'print JSON')
    .option('--dir <folder>', 'folder of the local plane (default: the nearest .sealwrit; or SEALWRIT_DIR)')
    .option('--tenant <name>', 'tenant of the plane (or SEALWRIT_TENANT; default: default)')
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
      .option('--tenant <name>', 'tenant of the plane')
      .option('--debug', 'print stack traces')
      .addHelpText('after', `\nExample:\n  ${example}`)
      .exitOverride()

  add('init', 'write sealwrit.yaml, starter policies, their schema and tests', 'sealwrit init').action(async (o: object) => (await import('./commands/init.ts')).init(all(program, o)))
  add('up', 'start the plane', 'sealwrit up --listen 127.0.0.1:4180')
    .option('--listen <host:port>', 'address of the HTTP API', '127.0.0.1:4180')
    .option('--store <store>', 'sqlite:FILE or postgres://… (or SEALWRIT_STORE; default: store.db in the folder)')
    .option('--activate', 'activate the policies of the folder, as the first start does; else the set that the log names stays')
    .action(async (o: { listen: string }) => (await import('./commands/up.ts')).up(everyTenant(program, o)))
  add('mcp', 'govern a stdio MCP server: give this to an MCP client in its place', 'sealwrit mcp --name fs -- npx @modelcontextprotocol/server-filesystem ./files')
    .requiredOption('--name <name>', 'the server’s name in policies and in the log')
    .option('--agent <name>', 'the agent’s name (default: what the client calls itself, marked unverified)')
    .option('--env <name...>', 'further environment variables that the server gets')
    .option('--agent-key <file>', 'key of the registered agent that --agent names (`sealwrit agent add`)')
    .option('--token-file <file>', 'file with an ID token or JWT-SVID that says who asks; read anew for each request')
    .option('--svid <file>', 'X509-SVID in PEM, with its chain; read anew for each request')
    .option('--svid-key <file>', 'its private key in PEM')
    .option('--witness-policy <file>', 'a tlog-policy file: cosignatures that a permit needs here (default: that of sealwrit.yaml)')
    .option('--parent <permit>', 'ask for everything below this permit: its jti, or a file with its artifact')
    .option('--delegates <file>', 'JSON file: what others may ask for below each call; see spec/lineage.md')
    .option('--plane <socket...>', 'sockets of further planes of the same log, tried when the first does not answer')
    .argument('<command...>', 'the server’s command, after --')
    .passThroughOptions()
    .action(async (command: string[], o: { name: string }) => (await import('./commands/mcp.ts')).mcp(command, all(program, o)))
  addLog(add, program)
  add('show <id>', 'show one execution by its jti, or one entry by its index', 'sealwrit show 17').action(async (id: string, o: object) => (await import('./commands/read.ts')).show(id, all(program, o)))
  add('lineage <id>', 'why a request was allowed, up to its root, and everything that descends from it', 'sealwrit lineage 3Ndk0lGzY5aWq3v6y8PqVw --limit 1000')
    .option('--limit <n>', 'requests below it at the most', '200')
    .option('--after <id>', 'go on after this request below it, as the page before says')
    .action(async (id: string, o: { limit: string }) => (await import('./commands/lineage.ts')).lineage(id, all(program, o)))
  add('export <selector>', 'write an evidence bundle: `all`, a jti, or an entry index', 'sealwrit export all -o evidence.json')
    .option('-o, --output <file>', 'file to write (default: stdout)')
    .option('--since <checkpoint>', 'file with an earlier checkpoint; the bundle proves that it extends that one')
    .action(async (selector: string, o: object) => (await import('./commands/evidence.ts')).exportEvidence(selector, all(program, o)))
  const SELECTORS = 'artifact:JTI, lineage:JTI, agent:NAME, subject:ID, tool:SERVER/NAME, target:SERVER, policy:ID, key:ID, tenant:NAME or all'
  add('revoke <selector>', `void what it names, for good, and stop what runs of it: ${SELECTORS}`, 'sealwrit revoke agent:coder').action(async (selector: string, o: object) => (await import('./commands/stop.ts')).stop('revoke', selector, all(program, o)))
  add('kill <selector>', `stop what it names at once, and refuse it until it is lifted: ${SELECTORS}`, 'sealwrit kill tool:mcp://fs/delete_file').action(async (selector: string, o: object) => (await import('./commands/stop.ts')).stop('kill', selector, all(program, o)))
  add('unkill [selector]', 'ask to lift a kill; without a selector, list what is revoked and killed', 'sealwrit unkill tool:mcp://fs/delete_file').action(async (selector: string | undefined, o: object) => (await import('./commands/stop.ts')).unkill(selector, all(program, o)))
  add('erase <selector>', 'delete the bodies and salts behind entries: a jti, an index, agent:NAME, sub:ID or before:DATE', 'sealwrit erase before:2026-01-01 --yes')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'only say how many entries it would concern')
    .action(async (selector: string, o: object) => (await import('./commands/erase.ts')).erase(selector, all(program, o)))
  add('fsck', 'hash everything again that is stored, and compare it with what the log key signed', 'sealwrit fsck')
    .option('--store <store>', 'as for `up`')
    .action(async (o: object) => (await import('./commands/store.ts')).fsck(all(program, o)))
  add('verify [file] [other]', 'check an evidence bundle, or the folder of a mirror, offline; or whether checkpoints show a fork', 'sealwrit verify evidence.json --key log.vkey')
    .option('--fork', 'FILE is a fork proof, or FILE and OTHER are checkpoints: does the log show two histories?')
    .option('--key <key>', 'the log’s verifier key, or a file that holds it (default: that of the local plane)')
    .option('--gate-key <key...>', 'public keys of gates that you hold independently')
    .option('--witness-policy <file>', 'tlog-policy file: the checkpoint needs the cosignatures of its quorum')
    .option('--checkpoint <file...>', 'signed checkpoints that you hold from elsewhere: the history must be theirs')
    .option('--tsa-cert <file...>', 'certificates of timestamp authorities whose word counts')
    .option('--replay', 'decide every decision again from the stored policies and inputs')
    .option('--jobs <n>', 'threads that check signatures (default: one a core)')
    .action(async (file: string | undefined, other: string | undefined, o: { fork?: boolean }) => {
      const named = [file, other].filter((name) => name !== undefined)
      if (o.fork === true) return (await import('./commands/fork.ts')).verifyForkFiles(named, all(program, o))
      if (file === undefined || other !== undefined) throw new CliError('verify takes one evidence bundle', { exit: EXIT.usage, hint: 'two files are compared with --fork' })
      return (await import('./commands/evidence.ts')).verify(file, all(program, o))
    })
  add('witness', 'run a witness: cosigns checkpoints that extend what it saw', 'sealwrit witness --dir w1 --listen 127.0.0.1:4190 --log log.vkey')
    .requiredOption('--log <key...>', 'verifier keys of the logs to follow, or files that hold one')
    .option('--listen <host:port>', 'address to serve on', '127.0.0.1:4190')
    .option('--name <name>', 'name of the witness, a schema-less URL (default: made on the first run)')
    .action(async (o: { listen: string; log: string[] }) => (await import('./commands/witness.ts')).witness(all(program, o)))
  add('decide <file>', 'dry run: what would be decided about an action, explained', 'sealwrit decide action.json').action(async (file: string, o: object) => (await import('./commands/read.ts')).decide(file, all(program, o)))
  add('canon <file>', 'canonical bytes and digest of a JSON file, or its denial code', 'sealwrit canon action.json').action(async (file: string, o: object) => (await import('./commands/read.ts')).canon(file, all(program, o)))
  const anchor = add('anchor', 'checkpoints kept outside: time stamping authorities, files, endpoints', 'sealwrit anchor verify anchor.json --tsa-cert tsa.pem --key log.vkey')
  const sub = (nameAndArgs: string, description: string): Command => anchor.command(nameAndArgs).description(description).option('--json', 'print JSON').option('--dir <folder>', 'folder of the local plane').option('--tenant <name>', 'tenant of the plane').exitOverride()
  sub('now', 'anchor the newest checkpoint at every configured place').action(async (o: object) => (await import('./commands/anchor.ts')).anchorNow(all(program, { ...anchor.opts(), ...o })))
  sub('list', 'every place with its last success and failure').action(async (o: object) => (await import('./commands/anchor.ts')).anchorList(all(program, { ...anchor.opts(), ...o })))
  sub('verify <file>', 'say what one anchor shows; exits with 0 for an external time alone')
    .option('--tsa-cert <file...>', 'certificates of time stamping authorities that you trust, or of authorities above them (PEM or DER)')
    .option('--key <key>', 'the log’s verifier key, or a file that holds it (default: that of the local plane)')
    .action(async (file: string, o: object) => (await import('./commands/anchor.ts')).anchorVerify(file, all(program, { ...anchor.opts(), ...o })))
  add('issue <file>', 'issue an artifact that an agent carries to one gate, which redeems it once', 'sealwrit issue action.json --audience GATE --agent coder -o artifact.json')
    .requiredOption('--audience <gate>', 'id of the gate that may redeem it (`sealwrit gate list`)')
    .option('--agent <name>', 'the agent that will present it (default: `anyone`, marked unverified)')
    .option('--agent-key <file>', 'key of that agent: the artifact is bound to it')
    .option('--token-file <file>', 'file with an ID token or JWT-SVID that says who asks')
    .option('--svid <file>', 'X509-SVID in PEM, with its chain')
    .option('--svid-key <file>', 'its private key in PEM')
    .option('--seconds <n>', 'how long it may be started, at most 60', '60')
    .option('--hold <id>', 'the hold that this very request waited for')
    .option('--parent <permit>', 'the permit below which it is asked for: its jti, or a file with its artifact')
    .option('--delegates <file>', 'JSON file: what others may ask for below it; see spec/lineage.md')
    .option('-o, --output <file>', 'file to write (default: stdout)')
    .action(async (file: string, o: { audience: string }) => (await import('./commands/issue.ts')).issue(file, all(program, o)))
  addApprovals(add, program)
  addRegistrations(add, program)
  addPeople(add, program)
  addPolicy(add, (own) => all(program, own))
  add('doctor', 'perform a real permit and a real deny through the real boundary', 'sealwrit doctor').action(async (o: object) => (await import('./doctor/doctor.ts')).doctor(all(program, o)))
  add('demo', 'the denial conditions live, against a real MCP server and a plane of its own', 'sealwrit demo --output evidence.json')
    .option('--output <file>', 'keep the evidence bundle in this file')
    .action(async (o: object) => (await import('./demo/demo.ts')).demo(all(program, o)))
  return program
}

/** Adds a command with what every command has. */
type Add = (nameAndArgs: string, description: string, example: string, parent?: Command) => Command

/** Who is known: agents with their keys, and gates. */
function addRegistrations(add: Add, program: Command): void {
  const agent = add('agent', 'registered agents and their keys', 'sealwrit agent list')
  const load = () => import('./commands/agent.ts')
  const under = (own: object): object => all(program, { ...agent.opts(), ...own })
  add('add <name>', 'register an agent with a key of its own; makes one unless --key gives it', 'sealwrit agent add coder --owner team:payments --expires 90d', agent)
    .option('--key <key>', 'its Ed25519 public key, base64url, or a file that holds it')
    .option('--owner <id>', 'person or team that answers for it, an opaque id (default: the owner of the plane)')
    .option('--expires <time>', 'when the key ends, as in 12h or 90d')
    .action(async (name: string, o: object) => (await load()).agentAdd(name, under(o)))
  add('list', 'registered agents, their owners, and when their keys end', 'sealwrit agent list --json', agent).action(async (o: object) => (await load()).agentList(under(o)))
  add('rotate <name>', 'give an agent a new key; the old ones go on for the overlap', 'sealwrit agent rotate coder --overlap 1h', agent)
    .option('--key <key>', 'as for `agent add`')
    .option('--expires <time>', 'when the new key ends')
    .option('--overlap <time>', 'how long the old keys go on; 0 removes them at once (default: 1h)')
    .action(async (name: string, o: object) => (await load()).agentRotate(name, under(o)))
  add('remove <name>', 'remove an agent with all its keys, at once', 'sealwrit agent remove coder', agent).action(async (name: string, o: object) => (await load()).agentRemove(name, under(o)))
  const gate = add('gate', 'gates that have enrolled', 'sealwrit gate list')
  add('list', 'gates with their sessions', 'sealwrit gate list', gate).action(async (o: object) => (await load()).gateList(all(program, { ...gate.opts(), ...o })))
}

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

/** What waits for a person, and who may answer. */
function addApprovals(add: Add, program: Command): void {
  add('approvals', 'list what waits for approval, or show one hold whole', 'sealwrit approvals --show 3Ndk0lGzY5aWq3v6y8PqVw')
    .option('--show <id>', 'everything about one hold, on one screen')
    .option('--all', 'also those that ended and are remembered')
    .action(async (o: object) => (await import('./commands/approvals.ts')).approvals(all(program, o)))
  add('approve <id>', 'approve exactly what a hold names, by your signature over it', 'sealwrit approve 3Ndk0lGzY5aWq3v6y8PqVw --as ann --grant uses=5,until=1h,path=prefix:/srv/')
    .option('--as <name>', 'the approver whose key is in the folder (default: the only one there)')
    .option('--grant <bounds>', 'cover later requests too: uses=N,until=DURATION,ARGUMENT=equals:…|oneof:…|prefix:…|range:…')
    .action(async (id: string, o: object) => (await import('./commands/approvals.ts')).approve(id, all(program, o)))
  add('reject <id>', 'reject a hold for good', 'sealwrit reject 3Ndk0lGzY5aWq3v6y8PqVw --as ann --reason "not on a Friday"')
    .option('--as <name>', 'the approver whose key is in the folder (default: the only one there)')
    .option('--reason <text>', 'why; kept apart from the log, where it can be erased')
    .action(async (id: string, o: object) => (await import('./commands/approvals.ts')).reject(id, all(program, o)))
  const approver = add('approver', 'persons who may approve', 'sealwrit approver list')
  add('add <name>', 'register a person with groups and a key', 'sealwrit approver add ann --group secops', approver)
    .requiredOption('--group <group...>', 'groups that policies name')
    .option('--key <public-key>', 'their Ed25519 public key in base64url (default: a key is made in the folder)')
    .option('--sub <sub>', 'the principal that this person is when asking: never its own approver')
    .action(async (name: string, o: { group: string[] }) => (await import('./commands/approver.ts')).approverAdd(name, all(program, { ...approver.opts(), ...o })))
  add('list', 'everybody who may approve', 'sealwrit approver list', approver).action(async (o: object) => (await import('./commands/approver.ts')).approverList(all(program, { ...approver.opts(), ...o })))
  add('remove <who>', 'remove a person, or one key of them', 'sealwrit approver remove ann', approver)
    .option('--key <public-key>', 'only this key')
    .action(async (who: string, o: object) => (await import('./commands/approver.ts')).approverRemove(who, all(program, { ...approver.opts(), ...o })))
}

/** Who may use the plane, and whose it is. */
function addPeople(add: Add, program: Command): void {
  const person = add('person', 'who may use the plane, and as what', 'sealwrit person list')
  const load = () => import('./commands/person.ts')
  const under = <T extends object>(own: T): T & GlobalOptions => all(program, { ...person.opts(), ...own })
  add('add <name>', 'add a person who logs in with a password; it is asked for', 'sealwrit person add ann --role operator', person)
    .requiredOption('--role <role>', 'viewer, approver, operator or admin: each may do what those before it may')
    .option('--password-file <file>', 'file with the password, mode 0600, in place of asking')
    .action(async (name: string, o: object) => (await load()).personAdd(name, under(o)))
  add('list', 'everybody who may use the plane, with their roles', 'sealwrit person list --json', person).action(async (o: object) => (await load()).personList(under(o)))
  add('role <who> <role>', 'give a person another role; their sessions end', 'sealwrit person role ann admin', person).action(async (who: string, role: string, o: object) => (await load()).personRole(who, role, under(o)))
  add('passwd <who>', 'give a person another password; their sessions end', 'sealwrit person passwd ann', person)
    .option('--password-file <file>', 'file with the password, mode 0600, in place of asking')
    .action(async (who: string, o: object) => (await load()).personPassword(who, under(o)))
  add('remove <who>', 'remove a person for good; their sessions end', 'sealwrit person remove ann', person).action(async (who: string, o: object) => (await load()).personRemove(who, under(o)))
  const tenant = add('tenant', 'tenants of the plane: each with its own log, keys, policies and people', 'sealwrit tenant list')
  const whole = <T extends object>(own: T): T & GlobalOptions => everyTenant(program, { ...tenant.opts(), ...own })
  add('add <name>', 'make a tenant; the plane opens it when it is started again', 'sealwrit tenant add payments', tenant).action(async (name: string, o: object) => (await import('./commands/tenant.ts')).tenantAdd(name, whole(o)))
  add('list', 'every tenant, and whether it is open', 'sealwrit tenant list --json', tenant).action(async (o: object) => (await import('./commands/tenant.ts')).tenantList(whole(o)))
}

/** What a command is told, with the folder of the tenant that it is about. */
function all<T extends object>(program: Command, own: T): T & GlobalOptions {
  const options = everyTenant(program, own)
  const tenant = options.tenant ?? process.env['SEALWRIT_TENANT']
  if (tenant === undefined || tenant === TENANT) return options
  return { ...options, dir: tenantDir(findDir(options.dir), tenant) }
}

/** As {@link all}, for what is about all tenants. */
function everyTenant<T extends object>(program: Command, own: T): T & GlobalOptions {
  return { ...program.opts<GlobalOptions>(), ...own }
}
