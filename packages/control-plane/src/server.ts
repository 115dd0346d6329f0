import type { WitnessPolicy } from '@sealwrit/protocol'
import { nodeClock, nodeCryptography, nodeRng } from './adapters/node.ts'
import { openTelemetryTracing } from './adapters/opentelemetry.ts'
import { PrometheusMetrics } from './adapters/prometheus.ts'
import { nodeKeyLoader } from './adapters/key-loader.ts'
import { witnessPost } from './adapters/witness-post.ts'
import { makeSink } from './anchor/make-sink.ts'
import type { SinkConfig } from './anchor/sink.ts'
import type { PolicySet } from './decide/policy-set.ts'
import { Notices, type Webhook } from './govern/notices.ts'
import type { IdentityConfig } from './identify/configuration.ts'
import { serveHttp } from './http/server.ts'
import type { PolicyRules } from './govern/policies.ts'
import { Plane } from './plane.ts'
import type { HighWater, LogKey } from './ports.ts'
import { serveSocket } from './rpc/socket.ts'
import { openSqliteStore } from './store/sqlite/store.ts'
import type { Store } from './store/store.ts'

export interface ServerOptions {
  /** A file of the embedded store, or `postgres://…`. */
  readonly store: string
  readonly socketPath: string
  readonly listen: { readonly host: string; readonly port: number }
  readonly token: string
  /** As in `HttpOptions`. */
  readonly isLogPublic: boolean
  readonly logKey: LogKey
  readonly highWater: HighWater
  /** What a first start activates; undefined where nothing is at hand. */
  readonly policies: PolicySet | undefined
  readonly policyRules?: PolicyRules | undefined
  readonly tenant: string
  readonly owner: string | undefined
  readonly localUser: string
  /** As in `PlaneOptions`. */
  readonly isNew: boolean
  /** Told by metrics and traces. */
  readonly version: string
  readonly retentionMs?: number | undefined
  /** Where checkpoints are anchored, and how often. */
  readonly anchors: { readonly sinks: readonly SinkConfig[]; readonly intervalMs: number; readonly report: (sentence: string) => void }
  /** Whom holds are told to. */
  readonly webhook?: Webhook | undefined
  /** Whom the plane believes to be whom. */
  readonly identity?: IdentityConfig | undefined
  /** As in `PlaneOptions`, asked over HTTP. */
  readonly witnesses?: { readonly policy: WitnessPolicy; readonly maxAgeSeconds: number } | undefined
}

export interface RunningPlane {
  readonly plane: Plane
  readonly url: string
  close(): Promise<void>
}

/** The database driver is loaded only where it is used. @throws {StoreOpenError} */
export async function openStore(store: string, tenant: string): Promise<Store> {
  if (!isDatabase(store)) return openSqliteStore(store)
  const { openPostgresStore } = await import('./store/postgres/store.ts')
  return openPostgresStore(store, tenant)
}

export function isDatabase(store: string): boolean {
  return store.startsWith('postgres://') || store.startsWith('postgresql://')
}

/**
 * Starts the plane on real files and sockets. HTTP and store come first, so that nothing answers gates before all of it
 * stands.
 * @throws {SinkError | StoreOpenError | LogDamaged | SocketError | ListenError} each says what to do
 */
export async function startPlane(options: ServerOptions): Promise<RunningPlane> {
  const { sinks, ...anchors } = options.anchors
  const made = sinks.map((sink) => makeSink(sink, { clock: nodeClock, rng: nodeRng, sha256: nodeCryptography.sha256 }))
  const store = await openStore(options.store, options.tenant)
  const closing: (() => Promise<void> | void)[] = [() => store.close()]
  const close = async (): Promise<void> => {
    for (const one of closing.splice(0).reverse()) await one()
  }
  try {
    const metrics = new PrometheusMetrics(options.version, nodeClock)
    const tracing = openTelemetryTracing(options.version)
    const ports = { metrics, tracing, clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey: options.logKey, highWater: options.highWater, defer: setImmediate }
    const { post, close: closePost } = witnessPost()
    closing.push(closePost)
    const witnesses = options.witnesses === undefined ? undefined : { ...options.witnesses, post }
    const { webhook, logKey, tenant } = options
    const notices = webhook === undefined ? undefined : new Notices(webhook, { clock: nodeClock, store, origin: logKey.key.name, tenant })
    const identity = options.identity === undefined ? undefined : { config: options.identity, loader: nodeKeyLoader }
    const plane = await Plane.open(ports, options.policies, { ...options, witnesses, identity, notices, anchors: { ...anchors, sinks: made } })
    closing.splice(0, 1, () => plane.close())
    const http = await serveHttp([{ plane, token: options.token, isLogPublic: options.isLogPublic, expose: () => metrics.expose(plane.gauges) }], { ...options.listen, version: options.version })
    closing.push(() => http.close())
    const socket = await serveSocket(plane, options.socketPath)
    closing.push(() => socket.close())
    return { plane, url: http.url, close }
  } catch (error) {
    await close()
    throw error
  }
}
