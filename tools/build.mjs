// Builds publishable ESM with types: every package from an empty `dist`, since `tsc -b` leaves deleted files' output behind.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const packages = readdirSync(path.join(root, 'packages'))
for (const name of packages) {
  rmSync(path.join(root, 'packages', name, 'dist'), { recursive: true, force: true })
  rmSync(path.join(root, 'packages', name, 'tsconfig.tsbuildinfo'), { force: true })
}
const tsc = spawnSync(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-b', root], { stdio: 'inherit' })
if (tsc.status !== 0) process.exit(tsc.status ?? 1)
for (const name of packages) {
  const manifest = JSON.parse(readFileSync(path.join(root, 'packages', name, 'package.json'), 'utf8'))
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    const files = typeof target === 'string' ? [target] : [target.types, target.default] // data is a file as it is
    for (const file of files) {
      if (!existsSync(path.join(root, 'packages', name, file))) throw new Error(`${name}${subpath.slice(1)}: ${file} was not built`)
    }
    if (name !== 'cli' && typeof target !== 'string') await import(pathToFileURL(path.join(root, 'packages', name, target.default)).href)
  }
}
console.log(`built ${packages.length} packages`)
