import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { isDatabase, ListenError, LogDamaged, MAX_TENANTS, type Plane, PolicyError, type PolicySet, ProfileUnmet, type RunningPlanes, SocketError, startPlanes, StoreOpenError, TenantFailure, type TenantOptions, TreeDamaged } from '@sealwrit/control-plane'
import { floorFile } from '@sealwrit/gate'
import { KeyFileError, loadKeyFile } from '../adapters/key-file.ts'
import { CliError, EXIT } from '../errors.ts'
import { SignerError } from '../adapters/remote-signer.ts'
import { anchorSinks, isInside, real } from '../local/anchors.ts'
import { attestationTrust } from '../local/attestation.ts'
import { highWaterFile, identityConfig, loginIssuers, readConfig } from '../local/config.ts'
import { configuredFederation } from '../local/federation.ts'
import { findFolder, openFolder, type PlaneFolder, planeFolder, readSecret } from '../local/folder.ts'
import { firstKey, isPlain, openLogKeys } from '../local/log-keys.ts'
import { FOLDER, planeDirOf, TENANT, tenantDirs } from '../local/places.ts'
import { configuredPolicies, demandedBase, readPolicies } from '../local/policies.ts'
import { profileError, profilesGiven, profilesNamed } from '../local/profiles.ts'
import { approvalsWebhook } from '../local/webhook.ts'
import { planeWitnesses } from '../local/witnesses.ts'
import { exampleFolder, selfLine } from '../self.ts'
import { version } from '../version.ts'
import { bold, dim, type GlobalOptions, json, line, plain, red } from '../output.ts'

const DAY_MS = 86_400_000
export const DEFAULT_LISTEN = '127.0.0.1:4180'

/** A tenant of the plane, and how its policies folder compares with what the log says is active. */
interface Opened {
  readonly plane: Plane
  readonly folder: PlaneFolder
  readonly store: string
  /** The set in the folder, or why there is none. */
  readonly found: PolicySet | CliError
}

/** What one tenant's folder says of it. */
interface Prepared extends Omit<Opened, 'plane'> {
  readonly options: TenantOptions
}

interface Running extends Pick<RunningPlanes, 'url' | 'close'> {
  readonly tenants: readonly [Opened, ...Opened[]]
}

/** Starts the planes of all tenants, or none. @param activates, profiles as for {@link prepared} @throws {CliError} with the way out, naming the tenant */
async function openPlanes(folders: readonly PlaneFolder[], listen: { host: string; port: number }, store: string | undefined, activates: boolean, profiles: readonly string[]): Promise<Running> {
  if (folders.length > MAX_TENANTS) throw new CliError(`${folders.length} tenants are more than the ${MAX_TENANTS} that one process serves`, { hint: 'move some to a plane of their own' })
  const all: Prepared[] = []
  for (const folder of folders) all.push(await naming(folder, () => prepared(folder, chosenStore(folder.tenant === TENANT || isDatabase(store ?? '') ? store : undefined, folder), activates, profiles)))
  try {
    const { planes, url, close } = await startPlanes(all.map(({ options }) => options), { listen, version })
    const tenants = all.map(({ options: _options, ...one }, i) => ({ ...one, plane: planes[i] as Plane }))
    for (const { firstRun } of folders) fs.rmSync(firstRun, { force: true })
    return { url, close, tenants: tenants as [Opened, ...Opened[]] }
  } catch (error) {
    const failed = error instanceof TenantFailure ? all.find(({ folder }) => folder.tenant === error.tenant) : undefined
    if (failed === undefined) throw explained(error, folders[0] as PlaneFolder, '')
    return naming(failed.folder, async () => {
      throw explained((error as TenantFailure).cause, failed.folder, storeName(failed.store))
    })
  }
}

/** What fails says whose it is, where that is not the plane's own. */
async function naming<T>({ tenant }: PlaneFolder, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (tenant === TENANT || !(error instanceof CliError)) throw error
    throw new CliError(`tenant ${tenant}: ${error.message}; no tenant was opened`, { exit: error.exit, details: error.details, ...(error.hint === undefined ? {} : { hint: error.hint }), ...(error.code === undefined ? {} : { code: error.code }) })
  }
}

/** @param activates brings the policies of the folder into force, as a first start does anyway @param profiles what every tenant has to be, beside what its own configuration says @throws {CliError} with the way out */
async function prepared(folder: PlaneFolder, store: string, activates: boolean, profiles: readonly string[]): Promise<Prepared> {
  try {
    const config = readConfig(folder)
    const planeDir = folder.tenant === TENANT ? folder.dir : planeDirOf(folder.dir)
    const sinks = config === undefined ? [] : anchorSinks(config, planeDir, isDatabase(store) ? undefined : store)
    const { isNew } = await openFolder(folder, isDatabase(store) ? undefined : store, firstKey(folder, config))
    const source = configuredPolicies(folder)
    const found = atHand(() => readPolicies(source))
    if (found instanceof CliError && (isNew || activates)) throw found
    const maxAgeDays = config?.config.policy_max_age_days
    return {
      folder, store, found,
      options: {
        store,
        socketPath: folder.socket,
        token: readSecret(folder.token),
        isLogPublic: config?.config.log_entries === 'public',
        ...(await openLogKeys(folder, config)),
        exportKey: loadKeyFile(folder.exportKey, true),
        highWater: floorFile(highWaterFile(folder, config)),
        policies: found instanceof CliError ? undefined : found,
        policyRules: { activateAtStart: activates, base: demandedBase(source), maxAgeMs: maxAgeDays === undefined ? undefined : maxAgeDays * DAY_MS, observes: config?.config.mode === 'shadow' },
        tenant: folder.tenant,
        owner: config?.config.owner,
        witnesses: planeWitnesses(folder),
        federation: configuredFederation(folder),
        webhook: approvalsWebhook(config),
        identity: config === undefined ? undefined : identityConfig(config),
        attestationTrust: attestationTrust(config),
        logins: config === undefined ? undefined : loginIssuers(config),
        liftQuorum: config?.config.people?.lift_quorum,
        profiles: profilesNamed([...new Set([...profiles, ...(config?.config.profile ?? [])])]),
        isHighWaterApart: !isInside(real(highWaterFile(folder, config)), real(planeDir)),
        isNew,
        retentionMs: config?.config.retention === undefined ? undefined : config.config.retention.bodies_days * DAY_MS,
        anchors: { sinks, intervalMs: (config?.config.anchor_interval_minutes ?? 60) * 60_000, report: (sentence) => process.stderr.write(`sealwrit: ${plain(sentence)}\n`) },
        localUser: `${os.userInfo().uid}:${os.userInfo().username}`,
      },
    }
  } catch (error) {
    throw explained(error, folder, storeName(store))
  }
}

/** A folder that cannot be read changes nothing for a plane that has an active set: the log names it, and the store holds its texts. */
function atHand(read: () => PolicySet): PolicySet | CliError {
  try {
    return read()
  } catch (error) {
    if (error instanceof CliError) return error
    throw error
  }
}

export function explained(error: unknown, folder: PlaneFolder, store: string): unknown {
  if (error instanceof ProfileUnmet) return profileError(error.requirements, error.profiles, 'the plane')
  if (error instanceof StoreOpenError && error.isLocked) return new CliError(`a plane runs on ${folder.dir} already`, { hint: 'use that one, or give this one a folder of its own with --dir' })
  if (error instanceof LogDamaged || error instanceof TreeDamaged) return new CliError(`store ${store} is damaged: ${error.message}`, { code: 'evidence_unavailable', hint: 'keep the file as it is and restore a backup; the plane never goes on from a damaged log' })
  if (error instanceof PolicyError) return new CliError(error.message, { code: 'policy_missing', hint: 'restore the store from a backup; or activate the policies of the folder: add --activate' })
  if (error instanceof StoreOpenError || error instanceof SocketError || error instanceof ListenError || error instanceof KeyFileError || error instanceof SignerError) return new CliError(error.message)
  return error
}

/**
 * `--store`, or `SEALWRIT_STORE` where it holds a password, which a command line shows to everybody. A database holds the logs of all
 * tenants, each in rows of its own; a file is that of one.
 */
export function chosenStore(given: string | undefined, folder: PlaneFolder): string {
  const named = process.env['SEALWRIT_STORE']
  const store = given ?? (folder.tenant === TENANT || isDatabase(named ?? '') ? named : undefined)
  if (store === undefined) return folder.store
  if (isDatabase(store)) return store
  if (store.startsWith('sqlite:') && store.length > 'sqlite:'.length) return path.resolve(store.slice('sqlite:'.length))
  throw new CliError(`--store takes sqlite:FILE or postgres://…, not \`${store.slice(0, 32)}\``, { exit: 2 })
}

/** A store as it may be printed: without the password. */
export function storeName(store: string): string {
  if (!isDatabase(store)) return store
  try {
    const { host, pathname } = new URL(store)
    return `postgres://${host}${pathname}`
  } catch {
    return 'postgres://…'
  }
}

export function parseListen(text: string): { host: string; port: number } {
  const at = text.lastIndexOf(':')
  const host = text.slice(0, at)
  const port = Number(text.slice(at + 1))
  if (at <= 0 || !Number.isInteger(port) || port < 0 || port > 65_535) throw new CliError(`--listen takes HOST:PORT, not \`${text}\``, { exit: 2 })
  if (host !== '127.0.0.1' && host !== 'localhost' && host !== '[::1]') throw new CliError('this version listens on loopback only', { exit: 2, hint: `use 127.0.0.1:${port}` })
  return { host: host === '[::1]' ? '::1' : host, port }
}

export async function up(options: GlobalOptions & { listen: string; store?: string; activate?: boolean; profile?: string }): Promise<void> {
  if (options.tenant !== undefined) throw new CliError('`up` opens every tenant of its folder, and takes no --tenant', { exit: EXIT.usage })
  const folder = options.dir === undefined && process.env['SEALWRIT_DIR'] === undefined ? findFolder(path.resolve(FOLDER)) : findFolder(options.dir)
  const running = await openPlanes(tenantDirs(folder.dir).map(planeFolder), parseListen(options.listen), options.store, options.activate === true, profilesGiven(options.profile).map(({ name }) => name))
  const stopped = stopSignal() // before anything is printed: who reads it may answer with a signal at once
  const served = exampleFolder() ?? os.tmpdir()
  const wrap = selfLine('mcp', '--dir', folder.dir, '--name', 'fs', '--pin', '--', 'npx', '@modelcontextprotocol/server-filesystem', served)
  if (options.json === true) {
    const told = await Promise.all(running.tenants.map(async (one) => ({ tenant: one.folder.tenant, socket: one.folder.socket, origin: one.plane.log.origin, entries: one.plane.log.size, profiles: one.plane.policies.profiles, policies: await policiesOf(one) })))
    const { tenant: _tenant, ...own } = told[0] as (typeof told)[number]
    json({ url: running.url, ...own, wrap, ...(told.length > 1 ? { tenants: told } : {}) })
  } else {
    line(`${bold('Sealwrit')} plane is up. Nothing runs without a writ.`)
    line(`  http     ${running.url}  ${dim('(healthz, readyz, v1, metrics, checkpoint; no console in this version)')}`)
    for (const one of running.tenants) await announceTenant(one)
    line()
    line('Wrap an MCP server: give this command to an MCP client in place of the server’s own, from any folder:')
    line(`  ${wrap}`)
    line(dim(`  --pin pins the tools that it lists first; what it adds or changes later waits for \`${selfLine('tool', 'pin', 'fs')}\``))
    line()
    line(`Try it: ${selfLine('demo')}`)
    line(`See it: ${selfLine('log', '--dir', folder.dir)}`)
    line(dim('Ctrl-C stops the plane; governed calls are denied while it is down.'))
  }
  await stopped
  await running.close()
}

async function announceTenant(opened: Opened): Promise<void> {
  const { plane, folder, store } = opened
  if (folder.tenant !== TENANT) line(`${bold(`Tenant ${folder.tenant}`)}`)
  line(`  socket   ${folder.socket}`)
  if (isDatabase(store)) line(`  store    ${storeName(store)}`)
  line(`  log      ${plane.log.origin}, ${plane.log.size} entries, policy epoch ${plane.epoch}`)
  if (plane.policies.profiles.length > 0) line(`  profile  ${plane.policies.profiles.join(', ')}`)
  if (isPlain(folder)) line(`  ${red('key')}      ${folder.logKey} is not encrypted; ${selfLine('key', 'encrypt', '--dir', folder.dir)} does it`)
  await announce(opened, folder)
  const { notReady } = plane
  if (notReady !== undefined) {
    line(`${red(bold('closed'))}   ${notReady.code}: ${notReady.message}`)
    line('         it can be read, and permits nothing; restore the newest copy of the store, or go on from this one:')
    line(`         ${selfLine('log', 're-anchor', '--dir', folder.dir)}`)
  }
  for (const { type, where } of await plane.anchors.status()) line(`  anchor   ${type} ${plain(where)}`)
}

async function policiesOf({ plane, found }: Pick<Opened, 'plane' | 'found'>): Promise<{ epoch: number; active: string; folder: string; differs: boolean; void?: string }> {
  const active = plane.log.state.policyDigest ?? ''
  const { void: denied } = await plane.policies.active()
  const inFolder = found instanceof CliError ? '' : found.digest
  return { epoch: plane.epoch, active, folder: inFolder, differs: inFolder !== active, ...(denied === undefined ? {} : { void: denied }) }
}

/** What an operator should know of the policies before agents do. */
async function announce(opened: Opened, folder: PlaneFolder): Promise<void> {
  const { differs, void: denied } = await policiesOf(opened)
  const { staged, shadow } = opened.plane.log.state.standing
  if (denied !== undefined) line(`  ${red(bold('policy'))}   nothing is permitted: ${denied}; activate a set that holds`)
  if (opened.found instanceof CliError) line(`  ${red('policy')}   ${plain(opened.found.message)}; the active set stays`)
  else if (differs) line(`  ${red('policy')}   the folder differs from the active set, which stays; look at it, and activate it:`)
  if (differs && !(opened.found instanceof CliError)) line(`           ${selfLine('policy', 'activate', '--dir', folder.dir)}`)
  if (staged !== undefined) line(`  policy   ${staged.digest} is staged for ${new Date(staged.fromMs).toISOString()}`)
  if (opened.plane.policies.isObserving) line(`  ${red(bold('shadow'))}   mode: shadow — what policy denies RUNS at gates started with --shadow, marked as observed; nothing of that is governed`)
  if (shadow !== undefined) line(`  policy   ${shadow} is evaluated in shadow mode; it governs nothing`)
}

/** Resolves at the first signal that asks this process to end. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve())
  })
}
