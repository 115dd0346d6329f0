/**
 * Asks about each item in order, and about the next few while what came before is worked on.
 * @param window questions that are under way at once
 * @throws what the first question that failed threw, after the answers of those before it
 */
export async function* ahead<T, A>(items: Iterable<T>, window: number, ask: (item: T) => Promise<A>): AsyncGenerator<A> {
  const asked: Promise<A>[] = []
  for (const item of items) {
    const answer = ask(item)
    answer.catch(() => undefined) // heard of in its turn
    if (asked.push(answer) >= window) yield await (asked.shift() as Promise<A>)
  }
  for (const answer of asked) yield await answer
}
