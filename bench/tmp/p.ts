import { enforce, Gate, nodeClock, nodeCryptography, nodeNet, nodeRng, floorFile } from '@sealwrit/gate'
import { commitment, digestOf, canonicalize, parseVerifierKey, fromBase64Url } from '@sealwrit/protocol'
import * as fs from 'node:fs'
import { generateKeyPairSync, sign } from 'node:crypto'
const dir = process.argv[2] as string
const keys = generateKeyPairSync('ed25519')
const { sha256 } = nodeCryptography
const salt='AAAAAAAAAAAAAAAAAAAAAA', document={version:1}
const commit = commitment('environment', salt, digestOf(canonicalize(document), sha256), sha256)
const gate = new Gate({ socketPath: dir+'/plane.sock', logKey: parseVerifierKey(fs.readFileSync(dir+'/log.vkey','utf8').trim(), sha256), tenant:'default', environment:{level:'software',salt,document,commit,measure:()=>commit}, capabilities:()=>false },
 { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor: floorFile(dir+'/bench-floor.json'), sign: (m)=>sign(null,m,keys.privateKey), publicKey: fromBase64Url(keys.publicKey.export({format:'jwk'}).x as string) })
await gate.connect()
const D='sha256:'+'a'.repeat(64)
await gate.recordTools('mcp://b',[{name:'read_file',digest:D}])
let n=0
const one = (order: 'before_reply'|'after_reply') => enforce(gate,{action:{type:'mcp.tool_call',target:'mcp://b',name:'read_file',arguments:{path:`/x/${n++}`},tool_digest:D},agent:{name:'b',verified:true},facts:()=>({paths:'inside'})},async()=>({outcome:'completed',resultBytes:new Uint8Array(10),value:1}),order)
const fd = fs.openSync(dir+'/base.bin','w'); const buf=Buffer.alloc(4096)
const med=(a:number[])=>a.sort((x,y)=>x-y)[a.length>>1]!
const base=()=>{const t=[];for(let i=0;i<200;i++){const s=performance.now();fs.writeSync(fd,buf,0,4096,i*4096);fs.fdatasyncSync(fd);t.push(performance.now()-s)}return med(t)}
for(const order of process.argv[3]==="p3"?[]:["before_reply","after_reply"] as const){
 for(let i=0;i<300;i++) await one(order)
 const t=[];for(let i=0;i<600;i++){const s=performance.now();await one(order);t.push(performance.now()-s); if(order==='after_reply') await new Promise(r=>setTimeout(r,2))}
 const b=base();console.log(order,'p50 us',(med(t)*1000).toFixed(0),'base',(b*1000).toFixed(0),'ratio',(med(t)/b).toFixed(2))
}
for(let r=0;r<3;r++){const N=6000;let left=N;const s=performance.now();await Promise.all(Array.from({length:64},async()=>{while(left-->0)await one('before_reply')}));console.log('P3 exec/s',(N/((performance.now()-s)/1000)).toFixed(0))}
gate.close();process.exit(0)
