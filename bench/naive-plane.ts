// The naive path, as one would write it first: Cedar with policy text on each call, a signed token a decision, one
// durable row a record. It is the baseline of P3 and nothing else.
import * as fs from 'node:fs'
import * as net from 'node:net'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import * as cedar from '@cedar-policy/cedar-wasm/nodejs'

const [socketPath, databaseFile, policyFile, schemaFile, joseFrom] = process.argv.slice(2) as [string, string, string, string, string]
const jose = (await import(createRequire(joseFrom).resolve('jose'))) as typeof import('jose')
const database = new DatabaseSync(databaseFile)
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE record (id INTEGER PRIMARY KEY, kind TEXT, body TEXT)')
const insert = database.prepare('INSERT INTO record (kind, body) VALUES (?, ?)')
const policies = { staticPolicies: fs.readFileSync(policyFile, 'utf8') }
const schema = fs.readFileSync(schemaFile, 'utf8')
const { privateKey, publicKey } = await jose.generateKeyPair('Ed25519', { extractable: true })
const gateKeys = new Map<string, Awaited<ReturnType<typeof jose.importJWK>>>()

async function handle(message: { id: number; method: string; params: { path?: string; token?: string; jwk?: object } }): Promise<unknown> {
  const { method, params } = message
  if (method === 'hello') {
    gateKeys.set('gate', await jose.importJWK(params.jwk as never, 'Ed25519'))
    return { jwk: await jose.exportJWK(publicKey) }
  }
  if (method === 'receipt') {
    const { payload } = await jose.jwtVerify(params.token as string, gateKeys.get('gate') as never, { algorithms: ['Ed25519'] })
    insert.run('receipt', JSON.stringify(payload))
    return {}
  }
  const agent = { type: 'Agent', id: 'bench' }
  const tool = { type: 'Tool', id: 'mcp://bench/read_file' }
  const server = { type: 'Server', id: 'mcp://bench' }
  const answer = cedar.isAuthorized({
    principal: agent, action: { type: 'Action', id: 'mcp.tool_call' }, resource: tool,
    context: { args: { path: params.path as string }, environment: { level: 'software' }, facts: { paths: 'inside' }, lineage: { depth: 0 } },
    entities: [{ uid: agent, attrs: { user: { __entity: { type: 'User', id: 'u' } }, verified: true }, parents: [] }, { uid: { type: 'User', id: 'u' }, attrs: {}, parents: [] }, { uid: tool, attrs: { name: 'read_file', server: { __entity: server } }, parents: [server] }, { uid: server, attrs: {}, parents: [] }],
    policies, schema, validateRequest: true,
  })
  if (answer.type !== 'success' || answer.response.decision !== 'allow') throw new Error('not permitted')
  const token = await new jose.SignJWT({ path: params.path as string }).setProtectedHeader({ alg: 'Ed25519' }).setIssuedAt().setExpirationTime('60s').sign(privateKey)
  insert.run('permit', token)
  return { token }
}

net.createServer((socket) => {
  createInterface({ input: socket }).on('line', (line) => {
    const message = JSON.parse(line) as Parameters<typeof handle>[0]
    void handle(message).then((result) => socket.write(`${JSON.stringify({ id: message.id, result })}\n`))
  })
}).listen(socketPath, () => process.stdout.write('up\n'))
