// Builds publishable ESM with types: every package from an empty `dist`, since `tsc -b` leaves deleted files' output behind.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const packages = ['protocol', 'gate', 'control-plane', 'mcp-gateway', 'witness', 'cli']
for (const name of packages) {
  rmSync(path.join(root, 'packages', name, 'dist'), { recursive: true, force: true })
  rmSync(path.join(root, 'packages', name, 'tsconfig.tsbuildinfo'), { force: true })
}
const tsc = spawnSync(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-b', root], { stdio: 'inherit' })
if (tsc.status !== 0) process.exit(tsc.status ?? 1)
for (const name of packages) {
  const manifest = JSON.parse(readFileSync(path.join(root, 'packages', name, 'package.json'), 'utf8'))
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    for (const file of [target.types, target.default]) {
      if (!existsSync(path.join(root, 'packages', name, file))) throw new Error(`${name}${subpath.slice(1)}: ${file} was not built`)
    }
    if (name !== 'cli') await import(pathToFileURL(path.join(root, 'packages', name, target.default)).href)
  }
}
console.log(`built ${packages.length} packages`)
