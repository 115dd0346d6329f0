/** A store cannot be opened; the message names it and the way out. */
export class StoreOpenError extends Error {
  readonly isLocked: boolean
  constructor(message: string, isLocked = false) {
    super(message)
    this.isLocked = isLocked
  }
}
