import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { Denied } from '@sealwrit/protocol'
import { evidenceLines } from '../../client/evidence-lines.ts'
import { call } from '../../rpc/call.ts'
import type { ServedTenant } from '../access.ts'
import { named } from '../problem.ts'
import { type Asked, asking, type Route } from '../route.ts'
import * as schemas from '../schemas/evidence.ts'
import { lineageAnswer } from '../schemas/lineage.ts'
import { page, recorded } from '../schemas/values.ts'

const gzip = promisify(zlib.gzip)

/** What was done, and the proof of it. */
export const EVIDENCE_ROUTES: readonly Route[] = [
  { method: 'GET', url: '/v1/executions', needs: 'executions.search', tag: 'evidence', isPrivate: true, query: schemas.searchQuery, answer: schemas.foundPage, summary: 'Searches decisions and how they ended, newest first' },
  { method: 'GET', url: '/v1/executions/:id', needs: 'executions', tag: 'evidence', isPrivate: true, path: schemas.idPath, answer: schemas.shown, summary: 'Shows one execution' },
  { method: 'GET', url: '/v1/evidence/:id', needs: 'evidence', tag: 'evidence', isPrivate: true, path: schemas.idPath, query: schemas.sinceQuery, answer: schemas.bundle, summary: 'The evidence bundle of an execution, an entry, or `all`; streamed', run: evidence },
  { method: 'GET', url: '/v1/lineage/:id', needs: 'lineage', tag: 'evidence', isPrivate: true, path: schemas.idPath, query: page, answer: lineageAnswer, summary: 'Why a request was allowed, up to its root, and everything that descends from it' },
  { method: 'GET', url: '/v1/assessment', needs: 'assessments.list', tag: 'evidence', isPrivate: true, answer: schemas.assessments, summary: 'The newest recorded assessments, oldest first' },
  { method: 'POST', url: '/v1/assessment', needs: 'assessments.record', tag: 'evidence', body: schemas.assessment, answer: recorded, summary: 'Records an assessment of this log, which whoever holds it can compute again' },
  {
    method: 'GET', url: '/t/:tenant/checkpoint', tag: 'log', path: schemas.tenantPath, answer: schemas.plainText, contentType: 'text/plain; charset=utf-8', summary: 'The signed checkpoint (C2SP tlog-tiles)',
    run: async (asked) => asked.reply.type('text/plain; charset=utf-8').header('cache-control', 'no-store').send((await tenantOf(asked).plane.log.published()).note),
  },
  { method: 'GET', url: '/t/:tenant/tile/*', tag: 'log', path: schemas.tilePath, answer: schemas.plainText, contentType: 'application/octet-stream', summary: 'A tile of hashes or entries (C2SP tlog-tiles)', run: tile },
]

/** Line by line as it is made, so that neither side holds more than a page. What fails before the first byte is refused as everything else; later the stream breaks off, and no bundle is whole. */
async function evidence({ admitted, request, reply }: Asked): Promise<unknown> {
  const { plane, person } = admitted()
  const peer = { person, shown: { size: 0 }, session: undefined }
  const lines = evidenceLines((method, params) => call(plane, method, params, peer), (request.params as { id: string }).id, (request.query as { since?: string }).since)
  const first = await named('id', lines.next())
  async function* bytes(): AsyncGenerator<string> {
    if (first.done !== true) yield `${first.value}\n`
    for await (const line of lines) yield `${line}\n`
  }
  return reply.type('application/json').send(Readable.from(bytes()))
}

/**
 * The log's read path. Checkpoint and hashes say nothing about what was done; entries name tools, agents and times, so they
 * ask for the credential unless the operator made the log public.
 * @see c2sp.org/tlog-tiles
 */
async function tile(asked: Asked): Promise<unknown> {
  const { access, request, reply } = asked
  const tenant = tenantOf(asked)
  const path = `tile/${(request.params as { '*': string })['*']}`
  const isOpen = tenant.isLogPublic || !path.startsWith('tile/entries/')
  // What another tenant gave is here as good as nothing.
  if (!isOpen && access.admit(asking(request), 'log.tile').tenant !== tenant) throw new Denied('identity_invalid')
  const bytes = Buffer.from(await tenant.plane.reader.tile(path))
  reply.type('application/octet-stream').header('cache-control', `${isOpen ? 'public' : 'private'}, max-age=31536000, immutable`)
  const takesGzip = path.startsWith('tile/entries/') && /(^|[\s,])gzip([\s,]|$)/.test(request.headers['accept-encoding'] ?? '')
  return takesGzip ? reply.header('content-encoding', 'gzip').header('vary', 'accept-encoding').send(await gzip(bytes)) : reply.send(bytes)
}

function tenantOf({ access, request }: Asked): ServedTenant {
  const found = access.named((request.params as { tenant: string }).tenant)
  if (found === undefined) throw new Denied('method_unknown')
  return found
}
