// A process that holds the log key and signs what the plane asks for, over a Unix socket: the plane never has the key.
//
//   node examples/signer-process/signer.mjs --socket /run/sealwrit/signer.sock --key log-signer.pem [--hybrid]
//   node examples/signer-process/signer.mjs --socket /run/sealwrit/signer.sock --pkcs11 /usr/lib/softhsm/libsofthsm2.so --token sealwrit --pin-file pin
//
// Lines of JSON, one request a line, one answer a line (spec/keys.md#signer):
//   {"id":1,"method":"public_keys"}                                   → {"id":1,"keys":{"Ed25519":"<base64url>"}}   with --hybrid "ML-DSA-65" too
//   {"id":2,"method":"sign","algorithm":"Ed25519","message":"<base64url>"} → {"id":2,"signature":"<base64url>"}
import { execFile } from 'node:child_process'
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as net from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { parseArgs, promisify } from 'node:util'

/** What a plane asks to be signed: the text of a checkpoint, or that a key takes over. Anything else is refused. */
const MAX_MESSAGE = 16_384
const MAX_LINE = 32_768
const WANTED = [/^[^\n+]+\/[a-z0-9-]{1,63}\n\d{1,16}\n[A-Za-z0-9+/]{43}=\n$/, /^sealwrit\/v1\/log-key\n/]

const { values } = parseArgs({ options: { socket: { type: 'string' }, key: { type: 'string' }, hybrid: { type: 'boolean', default: false }, pkcs11: { type: 'string' }, token: { type: 'string' }, 'pin-file': { type: 'string' }, label: { type: 'string', default: 'log' } } })
if (values.socket === undefined || (values.key === undefined) === (values.pkcs11 === undefined) || (values.hybrid && values.key === undefined)) {
  process.stderr.write('signer: --socket PATH and either --key FILE [--hybrid] or --pkcs11 MODULE --token LABEL --pin-file FILE\n')
  process.exit(2)
}
/** Its keys by algorithm: a public half and what signs with the other. */
const holders = values.key === undefined ? { Ed25519: await token(values) } : { Ed25519: file(values.key, 'ed25519', 'x'), ...(values.hybrid ? { 'ML-DSA-65': file(`${values.key}.pq`, 'ml-dsa-65', 'pub') } : {}) }

/** The key in a file of this process alone: made when there is none. */
function file(name, type, member) {
  if (!fs.existsSync(name)) fs.writeFileSync(name, generateKeyPairSync(type).privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx', flush: true })
  if ((fs.statSync(name).mode & 0o077) !== 0) throw new Error(`${name} can be read by others`)
  const key = createPrivateKey(fs.readFileSync(name))
  return { publicKey: createPublicKey(key).export({ format: 'jwk' })[member], sign: async (message) => sign(null, message, key) }
}

/** The key in a PKCS #11 token: `pkcs11-tool` of OpenSC asks it to sign, and the key never leaves it. */
async function token({ pkcs11, token: name, label, 'pin-file': pinFile }) {
  const run = promisify(execFile)
  const pin = fs.readFileSync(pinFile ?? '', 'utf8').trim()
  const common = ['--module', pkcs11, '--token-label', name, '--label', label]
  // The PIN goes by the environment: a command line is everybody's to read.
  const env = { ...process.env, SIGNER_PIN: pin }
  const { stdout } = await run('pkcs11-tool', [...common, '--read-object', '--type', 'pubkey'], { encoding: 'buffer', env })
  return {
    publicKey: readPublicKey(stdout),
    sign: async (message) => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'signer-'))
      try {
        fs.writeFileSync(path.join(dir, 'message'), message)
        await run('pkcs11-tool', [...common, '--login', '--pin', 'env:SIGNER_PIN', '--sign', '--mechanism', 'EDDSA', '--input-file', path.join(dir, 'message'), '--output-file', path.join(dir, 'signature')], { env })
        return fs.readFileSync(path.join(dir, 'signature'))
      } finally {
        fs.rmSync(dir, { recursive: true, force: true })
      }
    },
  }
}

/** PEM from newer versions of OpenSC, DER from older ones. */
function readPublicKey(bytes) {
  const key = bytes.toString('latin1').startsWith('-----BEGIN') ? createPublicKey(bytes) : createPublicKey({ key: bytes, format: 'der', type: 'spki' })
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('the key of this label is no Ed25519 key')
  return key.export({ format: 'jwk' }).x
}

async function answer(line) {
  const { id, method, algorithm, message } = JSON.parse(line)
  if (method === 'public_keys') return { id, keys: Object.fromEntries(Object.entries(holders).map(([name, { publicKey }]) => [name, publicKey])) }
  const bytes = Buffer.from(String(message), 'base64url')
  const holder = Object.hasOwn(holders, algorithm) ? holders[algorithm] : undefined
  const isWanted = method === 'sign' && holder !== undefined && bytes.length <= MAX_MESSAGE && WANTED.some((form) => form.test(bytes.toString('utf8')))
  return isWanted ? { id, signature: Buffer.from(await holder.sign(bytes)).toString('base64url') } : { id, error: 'refused' }
}

fs.rmSync(values.socket, { force: true })
process.umask(0o077)
net
  .createServer((socket) => {
    let held = ''
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk) => {
      held += chunk
      if (held.length > MAX_LINE) return socket.destroy()
      const lines = held.split('\n')
      held = lines.pop() ?? ''
      for (const line of lines) answer(line).then((one) => socket.write(`${JSON.stringify(one)}\n`), () => socket.destroy())
    })
  })
  .listen(values.socket, () => process.stdout.write(`signs as ${holders.Ed25519.publicKey}\n`))
