/**
 * Watches the uplinks of one network: carrier, which it is told of, and probes for what has a carrier and carries nothing.
 * Each probe interval a path is judged by what came since the last, and asked again.
 *
 *   arp      asks hosts of the segment; any answer shows that both directions work
 *   mutual   uplinks ask each other over the segment: heard by another, and heard of another or of anybody: both work
 *
 * Of two uplinks that do not hear each other one is broken, and mutual probes alone do not say which. Hosts that were heard
 * of lately are asked then (witnesses); failing these, the one that heard less is blamed (doubt.ts).
 * A look that comes late waits a moment before it judges: where this program stood still, answers wait to be read.
 */
import type { Ipv4, Mac } from '../addresses.ts';
import { Alarm } from '../alarm.ts';
import type { Condition } from './choose.ts';
import { Doubt } from './doubt.ts';
import { HEALTH_SETTINGS, type HealthSettings, type PathHealth } from './path-health.ts';
import type { PathPorts, Probing } from './ports.ts';
import { arpAnswer, arpProbe, probeSender, uplinkProbe } from './probe.ts';

export interface MonitorSettings extends HealthSettings {
  readonly probeIntervalMs: number;
}

export const MONITOR_SETTINGS: MonitorSettings = { ...HEALTH_SETTINGS, probeIntervalMs: 10 };

/** An uplink as its monitor sees it. */
export interface WatchedPath {
  readonly name: string;
  readonly mac: Mac;
  readonly probing: Probing;
  readonly targets: readonly Ipv4[];
  readonly health: PathHealth;
  /** Whether an interface is mapped to it now. */
  readonly isInForce: boolean;
  /** Frames of others that came by it so far. */
  readonly heardFrames: number;
  sendProbe(frame: Uint8Array): void;
}

export interface MonitorEvents {
  /** A path's condition is another than before. */
  changed(path: WatchedPath, before: Condition, cause: string): void;
}

/** What came since the last look. */
export interface Watch {
  readonly path: WatchedPath;
  answered: boolean;
  heardBySome: boolean;
  heardSome: boolean;
  /** At the last look. */
  wasWell: boolean;
  lastHeardMs: number;
  framesSeen: number;
}

export interface MonitorCounters {
  probesSent: number;
  answers: number;
  missed: number;
  /** Looks that came late, so that they waited for answers to be read. */
  late: number;
}

/** A look is late after this many intervals. */
const LATE = 1.5;
const READ_MS = 1;
const MOST_WITNESSES = 8;
const WITNESSES_ASKED = 2;

export class PathMonitor {
  readonly counters: MonitorCounters = { probesSent: 0, answers: 0, missed: 0, late: 0 };
  readonly #ports: PathPorts;
  readonly #settings: MonitorSettings;
  readonly #events: MonitorEvents;
  readonly #watches = new Map<WatchedPath, Watch>();
  readonly #token: number;
  readonly #alarm: Alarm;
  readonly #doubt = new Doubt();
  /** Hosts that were heard of, the latest last. */
  readonly #witnesses = new Set<Ipv4>();
  #sequence = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #hasWaited = false;
  #isClosed = false;

  constructor(ports: PathPorts, settings: MonitorSettings, events: MonitorEvents) {
    this.#ports = ports;
    this.#settings = settings;
    this.#events = events;
    this.#token = ports.random();
    this.#alarm = new Alarm(ports, () => this.#look());
  }

  add(path: WatchedPath): void {
    const lastHeardMs = Number.NEGATIVE_INFINITY;
    const nothing = { answered: false, heardBySome: false, heardSome: false, wasWell: false };
    this.#watches.set(path, { path, ...nothing, lastHeardMs, framesSeen: path.heardFrames });
    this.#lookSoon();
  }

  remove(path: WatchedPath): void {
    this.#watches.delete(path);
  }

  close(): void {
    this.#isClosed = true;
    this.#watches.clear();
    this.#alarm.stop();
  }

  setCarrier(path: WatchedPath, up: boolean, cause: string): void {
    const before = path.health.condition;
    path.health.setCarrier(up, this.#ports.clock.nowMs());
    this.#tell(path, before, cause);
    this.#lookSoon();
  }

  /** Takes a frame that came by the path if it is a probe, or the answer to one. */
  takes(path: WatchedPath, frame: Uint8Array): boolean {
    const watch = this.#watches.get(path);
    const sender = probeSender(frame, this.#token);
    if (sender !== undefined) {
      for (const other of this.#watches.values()) {
        if (other.path.mac !== sender || other === watch) continue;
        other.heardBySome = true;
        if (watch !== undefined) watch.heardSome = true;
      }
      return true;
    }
    const host = arpAnswer(frame, path.mac);
    if (host === undefined) return false;
    if (watch !== undefined && this.#mayAnswer(path, host)) {
      watch.answered = true;
      this.counters.answers += 1;
    }
    return true;
  }

  /** A host of the segment that spoke: one to ask when in doubt. */
  noteHost(address: Ipv4): void {
    if (address === 0) return;
    this.#witnesses.delete(address);
    this.#witnesses.add(address);
    if (this.#witnesses.size > MOST_WITNESSES)
      for (const oldest of this.#witnesses) {
        this.#witnesses.delete(oldest);
        break;
      }
  }

  #mayAnswer(path: WatchedPath, host: Ipv4): boolean {
    return path.probing === 'arp' ? path.targets.includes(host) : this.#witnesses.has(host);
  }

  /** But no sooner than answers to the last probes may be expected. */
  #lookSoon(): void {
    this.#alarm.set(Math.max(this.#ports.clock.nowMs(), this.#lookedMs + this.#settings.probeIntervalMs));
  }

  #look(): void {
    if (this.#isClosed) return;
    const nowMs = this.#ports.clock.nowMs();
    const { probeIntervalMs } = this.#settings;
    const sinceMs = nowMs - this.#lookedMs;
    // The first look has asked nobody yet.
    const judges = Number.isFinite(sinceMs);
    if (judges && sinceMs > probeIntervalMs * LATE && !this.#hasWaited) {
      this.counters.late += 1;
      this.#hasWaited = true;
      this.#alarm.set(nowMs + READ_MS);
      return;
    }
    this.#hasWaited = false;
    this.#lookedMs = nowMs;
    const watches = [...this.#watches.values()].filter(({ path }) => path.health.carrier);
    const mutual = watches.filter(({ path }) => path.probing === 'mutual');
    for (const watch of watches) this.#judge(watch, mutual, { nowMs, judges });
    if (judges) this.#judgeMutual(mutual, nowMs);
    const probed = watches.filter(
      ({ path }) => path.probing === 'arp' || (path.probing === 'mutual' && mutual.length > 1),
    );
    for (const watch of probed) this.#ask(watch, mutual);
    const dueMs =
      probed.length > 0 ? nowMs + probeIntervalMs : Math.min(...watches.map(({ path }) => path.health.dueMs));
    if (probed.length === 0) this.#lookedMs = Number.NEGATIVE_INFINITY;
    if (Number.isFinite(dueMs)) this.#alarm.set(dueMs);
  }

  #judge(watch: Watch, mutual: readonly Watch[], { nowMs, judges }: { nowMs: number; judges: boolean }): void {
    const { path } = watch;
    const { health } = path;
    const before = health.condition;
    if (path.heardFrames !== watch.framesSeen) {
      watch.framesSeen = path.heardFrames;
      watch.heardSome = true;
    }
    if (watch.heardSome) watch.lastHeardMs = nowMs;
    const isWell = watch.answered || (path.probing === 'mutual' && watch.heardSome && watch.heardBySome);
    // Before uplinks have heard each other, nothing says that they are on one segment.
    if (path.probing === 'mutual') health.setProbed(mutual.length > 1 && (isWell || health.wasProved), nowMs);
    if (isWell) health.answered(nowMs);
    else if (judges && health.isProved && health.condition !== 'silent') this.#missed(watch, nowMs);
    health.elapse(nowMs);
    watch.wasWell = isWell;
    watch.answered = false;
    watch.heardSome = false;
    watch.heardBySome = false;
    this.#tell(path, before, health.condition === 'silent' ? 'no answer to probes' : 'probes are answered');
  }

  #missed({ path }: Watch, nowMs: number): void {
    this.counters.missed += 1;
    const missed = path.health.missedOne();
    if (path.probing === 'arp' && missed >= this.#settings.misses) path.health.fail(nowMs);
  }

  /** Of those that hear nobody, or are heard by nobody: all are silent if another is well; else one of them is spared. */
  #judgeMutual(mutual: readonly Watch[], nowMs: number): void {
    const suspects = mutual.filter((one) => this.#isSuspect(one));
    if (suspects.length === 0) return;
    const standing = suspects.filter(({ path }) => path.health.condition !== 'silent');
    // One that has a carrier again, and was not heard of since, vouches for nobody.
    if (mutual.some((one) => one.path.health.isProved && !suspects.includes(one))) {
      this.#doubt.end();
      for (const { path } of standing) this.#fail(path, nowMs, 'the others do not hear it');
      return;
    }
    const spared = this.#doubt.judge(mutual, nowMs);
    for (const one of standing)
      if (one !== spared) this.#fail(one.path, nowMs, 'no uplink hears another, and it heard less');
    const before = spared.path.health.condition;
    if (before === 'silent') spared.path.health.answered(nowMs);
    this.#tell(spared.path, before, 'the other one showed no life either');
  }

  #isSuspect(watch: Watch): boolean {
    const { health } = watch.path;
    if (health.condition === 'silent' || health.missed >= this.#settings.misses) return true;
    return !watch.wasWell && this.#doubt.spares(watch);
  }

  #fail(path: WatchedPath, nowMs: number, cause: string): void {
    const before = path.health.condition;
    path.health.fail(nowMs);
    this.#tell(path, before, cause);
  }

  #ask({ path }: Watch, mutual: readonly Watch[]): void {
    if (path.probing === 'arp') for (const target of path.targets) this.#send(path, arpProbe(path.mac, target));
    else {
      this.#sequence = (this.#sequence + 1) >>> 0;
      for (const { path: other } of mutual)
        if (other !== path) this.#send(path, uplinkProbe(path.mac, other.mac, this.#token, this.#sequence));
      if (path.health.condition !== 'silent' && path.health.missed < this.#settings.misses - 1) return;
      for (const host of [...this.#witnesses].slice(-WITNESSES_ASKED)) this.#send(path, arpProbe(path.mac, host));
    }
  }

  #send(path: WatchedPath, frame: Uint8Array): void {
    this.counters.probesSent += 1;
    path.sendProbe(frame);
  }

  #tell(path: WatchedPath, before: Condition, cause: string): void {
    if (path.health.condition !== before) this.#events.changed(path, before, cause);
  }
}
