// A gate as a process of its own, told over IPC how many executions to perform. Part of P11 and nothing else.
import { BenchGate } from './support/plane.ts'

const [dir, inFlight] = process.argv.slice(2) as [string, string]
const gate = new BenchGate(dir)
await gate.open()

async function perform(count: number): Promise<void> {
  let left = count
  await Promise.all(Array.from({ length: Number(inFlight) }, async () => {
    while (left-- > 0) await gate.execute('before_reply')
  }))
}

process.on('message', (count: number) => void perform(count).then(() => process.send?.('done')))
process.once('disconnect', () => process.exit(0))
process.send?.('open')
