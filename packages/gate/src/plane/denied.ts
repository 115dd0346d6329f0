import { Denied } from '@sealwrit/protocol'

/** The plane's own refusal: it is logged already. */
export class PlaneDenied extends Denied {
  readonly seq: number
  /** The hold that waits for approval; the request can be made again with it. */
  readonly hold: string | undefined
  constructor(code: Denied['code'], seq: number, hold?: string) {
    super(code, 'refused by the plane')
    this.seq = seq
    this.hold = hold
  }
}
