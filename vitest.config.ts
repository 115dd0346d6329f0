import * as os from 'node:os'
import * as path from 'node:path'
import { defineConfig } from 'vitest/config'

// Tests cross packages from the TypeScript sources; nothing is built first.
const conditions = ['@sealwrit/source', 'module', 'node', 'default']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['{packages/*/,examples/*/,}test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    env: {
      // The secret that encrypts keys of test planes: never that of who runs the tests.
      XDG_STATE_HOME: path.join(os.tmpdir(), `sealwrit-test-state-${os.userInfo().uid}`),
      // The programs that tests start are read from their sources: compiled once and not a thousand times.
      NODE_COMPILE_CACHE: path.join(import.meta.dirname, 'node_modules', '.cache', 'sealwrit'),
    },
  },
})
