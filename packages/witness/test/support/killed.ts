// A witness that dies by SIGKILL right after its n-th record is durable, before anybody is answered.
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { cosignerKey, fromBase64Url, parseVerifierKey } from '@sealwrit/protocol'
import { beginWitness, nodeCryptography, readName, serveWitness, Witness, witnessFiles } from '@sealwrit/witness'

const [folder, logKey, killAt] = process.argv.slice(2) as [string, string, string]
const real = witnessFiles(folder)
const name = 'witness.test/w1'
if (readName(real) === undefined) beginWitness(real, name)
let records = 0
let isUp = false
const files = {
  read: real.read,
  write: (file: string, text: string): void => {
    real.write(file, text)
    if (isUp && file.startsWith('logs/') && ++records === Number(killAt)) process.kill(process.pid, 'SIGKILL')
  },
}
const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), createHash('sha256').update('witness').digest()]), format: 'der', type: 'pkcs8' })
const publicKey = fromBase64Url(createPublicKey(key).export({ format: 'jwk' }).x as string)
const witness = new Witness([parseVerifierKey(logKey, nodeCryptography.sha256)], {
  wallMs: () => Date.now(),
  crypto: nodeCryptography,
  files,
  witnessKey: { key: cosignerKey(name, publicKey, nodeCryptography.sha256), sign: (message) => sign(null, message, key) },
})
const { url } = await serveWitness(witness, { host: '127.0.0.1', port: 0 })
isUp = true
process.stdout.write(`${url}\n`)
