import { enforce, Gate, nodeClock, nodeCryptography, nodeNet, nodeRng, floorFile } from '@sealwrit/gate'
import { commitment, digestOf, canonicalize, parseVerifierKey, fromBase64Url } from '@sealwrit/protocol'
import * as fs from 'node:fs'
import { generateKeyPairSync, sign } from 'node:crypto'
const dir = process.argv[2] as string
const keys = generateKeyPairSync('ed25519'); const { sha256 } = nodeCryptography
const salt='AAAAAAAAAAAAAAAAAAAAAA', document={version:1}
const commit = commitment('environment', salt, digestOf(canonicalize(document), sha256), sha256)
let marks: [string, number][]=[]; const mark=(s:string)=>marks.push([s,performance.now()])
const net = { connect: async (p: string, m: number, ev: any) => { const c = await nodeNet.connect(p,m,{closed:ev.closed,line:(b)=>{mark('line-in');ev.line(b);mark('line-done')}}); return { send:(l:string)=>{mark('send');c.send(l)}, close:()=>c.close()} } }
const gate = new Gate({ socketPath: dir+'/plane.sock', logKey: parseVerifierKey(fs.readFileSync(dir+'/log.vkey','utf8').trim(), sha256), tenant:'default', environment:{level:'software',salt,document,commit,measure:()=>commit}, capabilities:()=>false },
 { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net, floor: floorFile(dir+'/tf.json'), sign: (m)=>sign(null,m,keys.privateKey), publicKey: fromBase64Url(keys.publicKey.export({format:'jwk'}).x as string) })
await gate.connect(); const D='sha256:'+'a'.repeat(64); await gate.recordTools('mcp://b',[{name:'read_file',digest:D}])
let n=0
const sums=new Map<string,number[]>()
for(let i=0;i<4000;i++){ marks=[]; mark('start'); await enforce(gate,{action:{type:'mcp.tool_call',target:'mcp://b',name:'read_file',arguments:{path:`/x/${n++}`},tool_digest:D},agent:{name:'b',verified:true},facts:()=>({paths:'inside'})},async()=>{mark('run');return {outcome:'completed',resultBytes:new Uint8Array(10),value:1}}); mark('end'); if(i>500) for(let k=1;k<marks.length;k++){const key=k+' '+marks[k-1]![0]+'→'+marks[k]![0]; (sums.get(key)??sums.set(key,[]).get(key)!).push(marks[k]![1]-marks[k-1]![1])} }
for(const [k,v] of sums){v.sort((a,b)=>a-b); console.log(k.padEnd(30),(v[v.length>>1]!*1000).toFixed(0),'us', v.length)}
process.exit(0)
