import { openSqliteStore } from '@sealwrit/control-plane'
import * as fs from 'node:fs'
fs.rmSync('/tmp/sq',{recursive:true,force:true}); fs.mkdirSync('/tmp/sq')
const s=openSqliteStore('/tmp/sq/a.db'); const fd=fs.openSync('/tmp/sq/b','w'); const buf=Buffer.alloc(4096)
const e='x'.repeat(1200), body={seq:0,purpose:'action' as const,commit:'c'.repeat(71),salt:'s'.repeat(22),digest:'d'.repeat(71),text:'t'.repeat(400)}
const a:number[]=[],b:number[]=[]; let n=0
for(let i=0;i<1500;i++){await new Promise(r=>setTimeout(r,1));let t=performance.now(); s.append({firstSeq:n++,entries:[e],bodies:[body,body],checkpoint:'n'.repeat(250),tiles:[]}); a.push(performance.now()-t); await new Promise(r=>setTimeout(r,1)); t=performance.now(); fs.writeSync(fd,buf,0,4096,i*4096);fs.fdatasyncSync(fd); b.push(performance.now()-t)}
const q=(x:number[],p:number)=>(x.sort((m,k)=>m-k)[Math.floor(x.length*p)]!*1000).toFixed(0)
console.log('sqlite',q(a,.5),q(a,.9),q(a,.99),'fdatasync',q(b,.5),q(b,.9),q(b,.99))
