/** What one connection was shown last: every checkpoint sent on it extends the one before. */
export interface Shown {
  size: number
}

interface Order {
  proved: number
  written: number
  readonly turns: WeakMap<object, number>
  readonly waiting: Map<number, () => void>
}
const orders = new WeakMap<Shown, Order>()

/**
 * Notes in the turn of its proof that `answer` shows the tree of `size` leaves: it leaves in the order of the proofs, however
 * long its way to the connection is.
 */
export function show<T extends object>(shown: Shown, size: number, answer: T): T {
  const order = orders.get(shown) ?? { proved: 0, written: 0, turns: new WeakMap(), waiting: new Map() }
  orders.set(shown, order)
  shown.size = size
  order.turns.set(answer, order.proved++)
  return answer
}

/** Writes `answer` when everything that was proved before it for this connection is written; at once where it shows nothing. */
export function inOrder(shown: Shown, answer: unknown, write: () => void): void {
  const order = orders.get(shown)
  const turn = typeof answer === 'object' && answer !== null ? order?.turns.get(answer) : undefined
  if (order === undefined || turn === undefined) return write()
  order.waiting.set(turn, write)
  for (let next = order.waiting.get(order.written); next !== undefined; next = order.waiting.get(order.written)) {
    order.waiting.delete(order.written++)
    next()
  }
}
