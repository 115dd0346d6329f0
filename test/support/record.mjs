// Starts a server, as it is, and writes down whatever it gets: `record.mjs FILE PROGRAM ARGUMENTS…`. Not part of the product.
import { spawn } from 'node:child_process'
import { appendFileSync } from 'node:fs'

const [file, program, ...args] = process.argv.slice(2)
const child = spawn(program, args, { stdio: ['pipe', 'inherit', 'inherit'] })
process.stdin.on('data', (chunk) => {
  appendFileSync(file, chunk)
  child.stdin.write(chunk)
})
process.stdin.on('end', () => child.stdin.end())
child.stdin.on('error', () => undefined) // its exit tells
child.once('exit', (code) => process.exit(code ?? 1))
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => child.kill(signal))
