import type { Profile, WitnessPolicy } from '@sealwrit/protocol'
import { nodeClock, nodeCryptography, nodeRng } from './adapters/node.ts'
import { openTelemetryTracing } from './adapters/opentelemetry.ts'
import { PrometheusMetrics } from './adapters/prometheus.ts'
import { nodeKeyLoader } from './adapters/key-loader.ts'
import { nodePostForm } from './adapters/token-post.ts'
import { sigstoreVerify } from './adapters/sigstore.ts'
import { witnessPost } from './adapters/witness-post.ts'
import { makeSink } from './anchor/make-sink.ts'
import type { SinkConfig } from './anchor/sink.ts'
import { exportJwk as jwkOfExport } from './authorize/export.ts'
import type { PolicySet } from './decide/policy-set.ts'
import type { AttestationTrust } from './govern/attestation.ts'
import { Notices, type Webhook } from './govern/notices.ts'
import type { IdentityConfig } from './identify/configuration.ts'
import { IssuerLogins, type LoginIssuerConfig } from './identify/login.ts'
import type { ServedTenant } from './http/access.ts'
import { serveHttp } from './http/server.ts'
import type { PolicyRules } from './govern/policies.ts'
import { ProfileDemands } from './govern/profile.ts'
import { Plane } from './plane.ts'
import type { ExportKey, FederationTrust, HighWater, Keychain, LogKey } from './ports.ts'
import { serveSocket } from './rpc/socket.ts'
import { openSqliteStore } from './store/sqlite/store.ts'
import type { Store } from './store/store.ts'

/** One tenant of a server: a plane of its own, with its own log, keys, socket and token. */
export interface TenantOptions {
  /** A file of the embedded store, or `postgres://…`. */
  readonly store: string
  readonly socketPath: string
  readonly token: string
  /** As in `HttpOptions`. */
  readonly isLogPublic: boolean
  readonly logKey: LogKey
  /** Signs JWS exports. */
  readonly exportKey?: ExportKey | undefined
  /** As in `PlanePorts`. */
  readonly nextLogKey?: LogKey | undefined
  readonly keychain?: Keychain | undefined
  readonly highWater: HighWater
  /** What a first start activates; undefined where nothing is at hand. */
  readonly policies: PolicySet | undefined
  readonly policyRules?: PolicyRules | undefined
  readonly tenant: string
  readonly owner: string | undefined
  readonly localUser: string
  /** As in `PlaneOptions`. */
  readonly isNew: boolean
  readonly retentionMs?: number | undefined
  /** Where checkpoints are anchored, and how often. */
  readonly anchors: { readonly sinks: readonly SinkConfig[]; readonly intervalMs: number; readonly report: (sentence: string) => void }
  /** Whom holds are told to. */
  readonly webhook?: Webhook | undefined
  /** Whose signed statements raise the environment of a gate. */
  readonly attestationTrust?: readonly AttestationTrust[]
  /** Whom the plane believes to be whom. */
  readonly identity?: IdentityConfig | undefined
  /** As in `PlanePorts`. */
  readonly federation?: FederationTrust | undefined
  /** As in `PlaneOptions`, asked over HTTP. */
  readonly witnesses?: { readonly policy: WitnessPolicy; readonly maxAgeSeconds: number } | undefined
  /** Issuers that people log in by. */
  readonly logins?: readonly LoginIssuerConfig[] | undefined
  /** As in `PlaneOptions`. */
  readonly liftQuorum?: number | undefined
  /** What it has to be, and its policies: it does not start otherwise. */
  readonly profiles?: readonly Profile[] | undefined
  /** Whether the high-water mark is kept outside of the plane's folder. */
  readonly isHighWaterApart?: boolean | undefined
}

export interface ServerOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** Told by metrics and traces. */
  readonly version: string
}

export interface RunningPlanes {
  /** In the order in which they were named. */
  readonly planes: readonly Plane[]
  readonly url: string
  readonly close: () => Promise<void>
}

/** One tenant cannot be opened, so none is; the cause says why. */
export class TenantFailure extends Error {
  readonly tenant: string

  constructor(tenant: string, cause: unknown) {
    super(`tenant ${tenant} cannot be opened`, { cause })
    this.tenant = tenant
  }
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
 * Starts the planes of all tenants on real files and sockets: all of them, or none. Stores and HTTP come first, so that nothing answers
 * gates before all of it stands.
 * @throws {TenantFailure} for one of them, with what its plane or socket refused with
 * @throws {ListenError} says what to do
 */
export async function startPlanes(tenants: readonly TenantOptions[], { listen, version }: ServerOptions): Promise<RunningPlanes> {
  const closing: (() => Promise<void> | void)[] = []
  const close = async (): Promise<void> => {
    for (const one of closing.splice(0).reverse()) await one()
  }
  const ofTenant = async <T>({ tenant }: TenantOptions, run: () => Promise<T>): Promise<T> => {
    try {
      return await run()
    } catch (error) {
      throw new TenantFailure(tenant, error)
    }
  }
  try {
    const opened: (ServedTenant & { readonly options: TenantOptions })[] = []
    for (const options of tenants) opened.push({ ...(await ofTenant(options, () => openTenant(options, version, closing))), options })
    const http = await serveHttp(opened, { ...listen, version })
    closing.push(() => http.close())
    for (const { plane, options } of opened) {
      const socket = await ofTenant(options, () => serveSocket(plane, options.socketPath))
      closing.push(() => socket.close())
    }
    return { planes: opened.map(({ plane }) => plane), url: http.url, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** @param closing what is to be closed again, the last first @throws {ProfileUnmet | SinkError | StoreOpenError | LogDamaged} each says what to do */
async function openTenant(options: TenantOptions, version: string, closing: (() => Promise<void> | void)[]): Promise<ServedTenant> {
  const demands = new ProfileDemands(options.profiles ?? [], options)
  const { sinks, ...anchors } = options.anchors
  const made = sinks.map((sink) => makeSink(sink, { clock: nodeClock, rng: nodeRng, sha256: nodeCryptography.sha256 }))
  const store = await openStore(options.store, options.tenant)
  let closeIt = (): Promise<void> => store.close()
  closing.push(() => closeIt())
  const metrics = new PrometheusMetrics(version, nodeClock)
  const tracing = openTelemetryTracing(version)
  const ports = { metrics, tracing, clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey: options.logKey, nextLogKey: options.nextLogKey, keychain: options.keychain === undefined ? undefined : demands.ofKeys(options.keychain), exportKey: options.exportKey, highWater: options.highWater, federation: options.federation, defer: setImmediate }
  const { post, close: closePost } = witnessPost()
  closing.push(closePost)
  const witnesses = options.witnesses === undefined ? undefined : { ...options.witnesses, post }
  const { webhook, logKey, tenant, token, isLogPublic } = options
  const notices = webhook === undefined ? undefined : new Notices(webhook, { clock: nodeClock, store, origin: logKey.key.name, tenant })
  const identity = options.identity === undefined ? undefined : { config: options.identity, loader: nodeKeyLoader }
  const attestations = { rules: options.attestationTrust ?? [], verify: sigstoreVerify }
  const plane = await Plane.open(ports, options.policies, { ...options, policyRules: { ...options.policyRules, demands }, witnesses, identity, attestations, notices, anchors: { ...anchors, sinks: made } })
  closeIt = () => plane.close() // and its store with it
  const logins = options.logins === undefined || options.logins.length === 0 ? undefined : new IssuerLogins(options.logins, nodeKeyLoader, nodePostForm, { clock: nodeClock, rng: nodeRng, sha256: nodeCryptography.sha256 })
  const exportJwk = options.exportKey === undefined ? undefined : jwkOfExport(options.exportKey, nodeCryptography)
  return { plane, token, isLogPublic, exportJwk, logins, expose: () => metrics.expose(plane.gauges) }
}
