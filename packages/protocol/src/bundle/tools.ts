import { parseAction } from '../action.ts'
import type { Permit } from '../artifact/artifact.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { type ToolEntry, toolKey, type ToolStanding, verifyTool, withTool } from '../govern/tool.ts'
import type { RedemptionEntry } from '../log/entries.ts'
import type { EntryHead } from '../log/entry.ts'
import type { Body } from './bundle.ts'
import type { Tally } from './tally.ts'

const PINNED = 'the tool that is called was pinned by somebody, in the definition that the action names'

/** Which definitions of tools were seen and pinned, and that nothing else was permitted since pins are kept in this log. */
export class Tools {
  readonly #known = new Map<string, ToolStanding>()
  /** The pin that a carried permit rests on, until it is spent. */
  readonly #carried = new Map<string, { readonly key: string; readonly digest: Digest | undefined }>()
  readonly #tally: Tally
  #isPinning = false
  #isPart = false
  #byFirstUse = 0

  constructor(tally: Tally) {
    this.#tally = tally
  }

  /** @param isWhole whether every entry before this one was seen: else a pin may stand in one that is not here */
  apply(entry: ToolEntry & EntryHead, isWhole: boolean): void {
    const known = this.#known.get(toolKey(entry))
    if (entry.event !== undefined) this.#isPinning = true
    if (isWhole) this.#tally.claim('a pin names a definition that was seen, and the one that it replaces', () => verifyTool(known, entry), { seq: entry.seq })
    else this.#isPart = true
    this.#known.set(toolKey(entry), withTool(known, entry))
  }

  permitted({ scope, seq, jti, aud, use, observed }: Permit, bodies: readonly Body[] | undefined, isWhole: boolean): void {
    // What another plane takes is called there, and what is pinned there counts.
    if (scope.type !== 'mcp.tool_call' || isOrigin(aud)) return
    const key = toolKey(scope)
    const pinned = this.#known.get(key)?.pinned?.digest
    if (use === 'redeem') this.#carried.set(jti, { key, digest: pinned })
    if (!isWhole) return void (this.#isPart = true)
    if (observed !== undefined && pinned === undefined) return // that nobody pinned it is among what is only observed
    if (!this.#isPinning) return void this.#byFirstUse++
    const action = bodies?.find(({ purpose, body }) => purpose === 'action' && body !== undefined)?.body
    this.#tally.claim(PINNED, () => {
      if (pinned === undefined) throw new Denied('tool_not_pinned')
      if (observed === 'tool_not_pinned') throw new Denied('policy_error', 'it is observed as a tool that nobody pinned')
      const called = action === undefined ? undefined : parseAction(action)
      if (called?.type === 'mcp.tool_call' && called.tool_digest !== pinned) throw new Denied('tool_changed')
    }, { seq, jti })
  }

  /** What is carried can be spent only while its tool is pinned as it was. */
  redeemed({ jti, seq }: RedemptionEntry & EntryHead, isWhole: boolean): void {
    const carried = this.#carried.get(jti)
    this.#carried.delete(jti)
    if (carried === undefined || !isWhole || !this.#isPinning) return
    this.#tally.prove(PINNED, () => {
      const pinned = this.#known.get(carried.key)?.pinned?.digest
      if (pinned === undefined) throw new Denied('tool_not_pinned')
      if (carried.digest !== undefined && carried.digest !== pinned) throw new Denied('tool_changed')
    }, { seq, jti })
  }

  end(): void {
    if (this.#byFirstUse > 0) this.#tally.notShown(`${this.#byFirstUse} calls of tools were permitted before anybody pinned one in this log: that somebody looked at them is not shown`)
    if (this.#isPart) this.#tally.notShown('pins of tools that stand outside of this bundle')
  }
}

/** Whether `aud` is the origin of another plane; a gate is a thumbprint. */
function isOrigin(aud: string): boolean {
  return aud.includes('/')
}
