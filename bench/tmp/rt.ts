import * as net from 'node:net'
const dir = process.argv[2] as string
const s = net.connect({path: dir+'/plane.sock'}); let res: any; s.on('data',()=>res()); await new Promise(r=>s.once('connect',r))
const t: number[]=[]
for(let i=0;i<2000;i++){const a=performance.now(); await new Promise<void>(r=>{res=r; s.write('{"jsonrpc":"2.0","id":1,"method":"status","params":{}}\n')}); t.push(performance.now()-a)}
t.sort((a,b)=>a-b); console.log('rt p50', (t[1000]!*1000).toFixed(0),'p99',(t[1980]!*1000).toFixed(0)); process.exit(0)
