import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { type Absence, canonicalize, canonicalText, type Clock, commitment, type Crypto, Denied, type Digest, digestOf, type EnvironmentDocument, type JsonObject, OPTIONAL_FACTS, present, type Rng, toBase64Url, TOKEN_BYTES } from '@sealwrit/protocol'
import { Fact } from './collect/fact.ts'
import { collectGit } from './collect/git.ts'
import { collectCgroup, collectHost, collectUid } from './collect/host.ts'
import { collectImage, CONTAINER_FILE, IMAGE_FILE, IMAGE_VARIABLE, type ImagePlaces } from './collect/image.ts'
import { collectLock } from './collect/lock.ts'
import type { Look } from './collect/look.ts'
import type { MeasuredEnvironment } from './measured.ts'
import type { ResolvedCommand } from './resolve.ts'

/** Largest program or script that is hashed. */
export const MAX_PROGRAM_BYTES = 2_147_483_648

/** How often it is looked whether something lies beside the program that was not there, in milliseconds. */
export const RENEW_MS = 1_000

export interface ServerCommand {
  readonly command: ResolvedCommand
  readonly cwd: string
  /** Version of the gate that measures. */
  readonly gateVersion: string
  /** A signed statement about it, as a Sigstore bundle. */
  readonly attestation?: JsonObject | undefined
  /** Who may say which container image this is. */
  readonly image: ImagePlaces
}

/** Where orchestrators say it on this machine. */
export function imagePlaces(variables: Readonly<Record<string, string | undefined>>): ImagePlaces {
  return { variable: variables[IMAGE_VARIABLE], file: IMAGE_FILE, containerFile: CONTAINER_FILE }
}

/**
 * Measures what a server is started from. This is software-only evidence: it says what this gate saw, not what the hardware vouches for.
 * What cannot be told is named as absent, except the program itself.
 * @throws {Denied} `environment_unattested` when executable or script cannot be read
 */
export function measureServer(server: ServerCommand, clock: Pick<Clock, 'monotonicMs'>, crypto: Crypto, rng: Rng): MeasuredEnvironment {
  return new ServerEnvironment(server, () => clock.monotonicMs(), crypto, rng)
}

class ServerEnvironment implements MeasuredEnvironment {
  readonly level = 'software'
  readonly attestation: JsonObject | undefined
  salt: string
  document: JsonObject
  commit: Digest
  readonly #server: ServerCommand
  readonly #crypto: Crypto
  readonly #rng: Rng
  readonly #executable: Fact<Digest>
  readonly #script: Fact<Digest> | undefined
  /** What may change while the server runs, without its being another one: commit and lock. The others are told once: no process changes its image. */
  readonly #beside: { readonly cgroup: Fact<Digest>; readonly git: Fact<NonNullable<EnvironmentDocument['git']>>; readonly image: Fact<NonNullable<EnvironmentDocument['image']>>; readonly lock: Fact<NonNullable<EnvironmentDocument['lock']>>; readonly uid: Fact<number> }
  /** The program as it was started: where this is another, only a restart helps. */
  readonly #program: string
  #known: string
  readonly #nowMs: () => number
  #renewedMs = Number.NEGATIVE_INFINITY

  constructor(server: ServerCommand, nowMs: () => number, crypto: Crypto, rng: Rng) {
    this.#server = server
    this.attestation = server.attestation
    this.#nowMs = nowMs
    this.#crypto = crypto
    this.#rng = rng
    const { executable, script } = server.command
    const fact = <T>(collect: (look: Look) => T): Fact<T> => new Fact(collect, nowMs)
    this.#executable = fact((look) => look.digest(executable, MAX_PROGRAM_BYTES))
    this.#script = script === undefined ? undefined : fact((look) => look.digest(script, MAX_PROGRAM_BYTES))
    if (this.#executable.absent !== undefined || this.#script?.absent !== undefined) throw new Denied('environment_unattested', 'the server program cannot be read')
    const home = homeOf(path.dirname(script ?? executable))
    this.#beside = {
      cgroup: fact((look) => collectCgroup(crypto, look)),
      git: fact((look) => collectGit(home, look)),
      image: fact((look) => collectImage(server.image, look)),
      lock: fact((look) => collectLock(home, look)),
      uid: fact(collectUid),
    }
    this.#program = this.#programNow()
    ;({ salt: this.salt, document: this.document, commit: this.commit } = this.#take())
    this.#known = this.#besideNow()
  }

  measure(): Digest {
    const [program, beside] = [this.#programNow(), this.#besideNow()]
    return program === this.#program && beside === this.#known ? this.commit : this.#commitOf(this.#read(), this.salt)
  }

  /** At most once a second: what changed in between is seen by {@link measure}, and denied. */
  renew(): void {
    const now = this.#nowMs()
    if (now - this.#renewedMs < RENEW_MS) return
    this.#renewedMs = now
    const beside = this.#besideNow()
    if (beside === this.#known || this.#programNow() !== this.#program) return
    ;({ salt: this.salt, document: this.document, commit: this.commit } = this.#take())
    this.#known = beside
  }

  #take(): { salt: string; document: JsonObject; commit: Digest } {
    const [salt, document] = [toBase64Url(this.#rng.bytes(TOKEN_BYTES)), this.#read()]
    return { salt, document, commit: this.#commitOf(document, salt) }
  }

  #commitOf(document: JsonObject, salt: string): Digest {
    const { sha256 } = this.#crypto
    return commitment('environment', salt, digestOf(canonicalize(document), sha256), sha256)
  }

  /** @throws {Denied} `environment_mismatch` when the program is gone */
  #programNow(): string {
    this.#executable.lookAgain()
    this.#script?.lookAgain()
    if (this.#executable.absent !== undefined || this.#script?.absent !== undefined) throw new Denied('environment_mismatch', 'a measured file is gone')
    return `${this.#executable.value} ${this.#script?.value ?? ''} ${inode(this.#server.cwd)}`
  }

  #besideNow(): string {
    const { git, lock } = this.#beside
    const isChanged = [git.lookAgain(), lock.lookAgain()].includes(true) // both are looked at
    const host = os.hostname()
    if (isChanged || host !== this.#host) this.#text = `${host} ${canonicalText(git.value ?? git.absent ?? '')} ${canonicalText(lock.value ?? lock.absent ?? '')}`
    this.#host = host
    return this.#text
  }
  #text = ''
  #host: string | undefined

  #read(): JsonObject {
    const { command, cwd, gateVersion } = this.#server
    const { cgroup, git, image, lock, uid } = this.#beside
    const script = this.#script?.value
    const document = present<EnvironmentDocument>({
      kind: 'mcp.server',
      absent: {},
      args: [...command.args],
      cgroup: cgroup.value,
      cwd,
      cwd_inode: inode(cwd),
      executable: { digest: this.#executable.value as Digest, path: command.executable },
      gate_version: gateVersion,
      git: git.value,
      image: image.value,
      lock: lock.value,
      script: script === undefined ? undefined : { digest: script, path: command.script as string },
      uid: uid.value,
      ...collectHost(this.#crypto),
    })
    const absent = Object.fromEntries(OPTIONAL_FACTS.filter((fact) => document[fact] === undefined).map((fact): [string, Absence] => [fact, fact === 'script' ? 'none' : (this.#beside[fact].absent ?? 'not_told')]))
    return { ...document, absent } as unknown as JsonObject
  }
}

/** Where a program belongs: what is installed below `node_modules` has no say, that is whoever installed it. */
function homeOf(folder: string): string {
  const installed = `${folder}${path.sep}`.indexOf(`${path.sep}node_modules${path.sep}`)
  return installed < 0 ? folder : folder.slice(0, installed) || path.sep
}

function inode(folder: string): string {
  try {
    const { dev, ino } = fs.statSync(folder, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return 'gone'
  }
}
