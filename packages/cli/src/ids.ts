import { isToken } from '@sealwrit/protocol'
import type { Command } from 'commander'

/**
 * Ids are random, so one in 64 begins with a dash and reads like an option. They go behind `--`, in their order, where everything is
 * taken for what it is; what stands behind an option that takes a value is its value already.
 * @param args what was typed, without the program
 */
export function withIds(args: readonly string[], program: Command): string[] {
  if (args.includes('--')) return [...args]
  const takesValue = new Set(optionsOf(program))
  const isId = (arg: string, i: number): boolean => arg.startsWith('-') && isToken(arg) && !takesValue.has(args[i - 1] ?? '')
  const ids = args.filter(isId)
  return ids.length === 0 ? [...args] : [...args.filter((arg, i) => !isId(arg, i)), '--', ...ids]
}

/** Names of all options that take a value. */
function optionsOf(command: Command): string[] {
  const own = command.options.filter(({ required, optional }) => required || optional).flatMap(({ short, long }) => [short ?? [], long ?? []].flat())
  return [...own, ...command.commands.flatMap(optionsOf)]
}
