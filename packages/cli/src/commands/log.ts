import type { Command } from 'commander'
import type { GlobalOptions } from '../output.ts'

type Add = (nameAndArgs: string, description: string, example: string) => Command
type All = <T extends object>(own: T) => T & GlobalOptions

/** `sealwrit log` and what is under it. Each command loads its own code only when it is called. */
export function addLog(add: Add, all: All): void {
  const log = add('log', 'list what the log holds', 'sealwrit log --kind deny --limit 20')
    .enablePositionalOptions()
    .option('--limit <n>', 'entries at the most', '50')
    .option('--before <index>', 'entries before this leaf index')
    .option('--kind <kind...>', 'only these kinds of entries')
    .action(async (o: { limit: string }) => (await import('./read.ts')).log(all(o)))
  const under = (name: string, description: string, example: string): Command =>
    log
      .command(name)
      .description(description)
      .option('--json', 'print JSON')
      .option('--dir <folder>', 'folder of the local plane')
      .option('--debug', 'print stack traces')
      .addHelpText('after', `\nExample:\n  ${example}`)
      .exitOverride()
  const given = <T extends object>(own: T): T & GlobalOptions => all({ ...log.opts<GlobalOptions>(), ...own })

  under('export', 'write the log as lines of JSON, oldest first, for a SIEM', 'sealwrit log export --format ocsf --since 120 -o events.jsonl')
    .option('--format <format>', 'cloudevents, ocsf, or jsonl (the entries themselves)', 'cloudevents')
    .option('--since <index>', 'begin with this leaf index', '0')
    .option('--follow', 'go on with what is added, until Ctrl-C')
    .option('-o, --output <file>', 'file to write (default: stdout)')
    .action(async (o: { format: string; since: string }) => (await import('./log-export.ts')).logExport(given(o)))
}
