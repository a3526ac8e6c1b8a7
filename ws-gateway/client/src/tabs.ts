// Shares one connection between the tabs of a user. The leader owns the connection and broadcasts
// what it receives. When the leader is closed, resigns or does not answer, another tab takes over
// and resumes from its last notification. A tab that opens or wakes up asks the leader for what it
// missed.

import type { Notification } from "./contract.ts";
import { Candidate } from "./leadership.ts";
import type { Status } from "./status.ts";

/** How many notifications a tab can catch up on; the gateway's history has the same size. */
const MAX_RECENT = 256;
/** A leader that has not answered a probe by the next one is replaced: within twice this time. */
const PROBE_INTERVAL_MS = 3_000;

/** A notification, and its identity in all tabs; without one, every copy of it is delivered. */
export interface Delivery {
  readonly notification: Notification;
  readonly identity: string | undefined;
}

/** The state of the connection, and the position that everything received has reached. */
interface SharedState {
  status: Status;
  position: string | undefined;
}

/** What the leader broadcasts. */
type Broadcast =
  /** Announces the leader, and answers `probe`. */
  | { kind: "leader" }
  | { kind: "delivery"; delivery: Delivery }
  | ({ kind: "state" } & SharedState)
  | { kind: "incomplete" };

type Content =
  | Broadcast
  | { kind: "missed"; tab: string; missed: Missed }
  /** Asks whether the leader is alive. */
  | { kind: "probe" }
  | { kind: "check" }
  | { kind: "catch_up"; position: string | undefined };

/** A message between tabs, with the newest term that the sender knows. */
type Message = Content & { from: string; term: number };

interface Missed extends SharedState {
  deliveries: Delivery[];
  complete: boolean;
}

/** The client of this tab. */
export interface TabHandler {
  /** The current state. */
  state(): SharedState;
  /** This tab became the leader. */
  onElected(): void;
  /** Another tab owns the connection. */
  onFollow(): void;
  /** Tabs cannot share a connection on this page. */
  onDenied(): void;
  onCheck(): void;
  onDelivery(delivery: Delivery): void;
  onState(state: SharedState): void;
  onIncomplete(): void;
}

/** This tab among those of the user. */
export class Tabs extends Candidate {
  readonly #handler: TabHandler;
  readonly #id = newIdentity();
  readonly #channel: BroadcastChannel;
  readonly #probeTimer: ReturnType<typeof setInterval>;
  /** The latest notifications of this tab, each with the position before it. */
  readonly #recent: (Delivery & { previousPosition: string | undefined })[] = [];
  /**
   * The term of the leader: greater than those of all leaders before it, of which one may not know
   * yet that it was replaced.
   */
  #term = 0;
  /** Until the leader's answer arrives, which contains them, notifications and states are ignored:
   * a tab that is open misses nothing from then on. */
  #catchingUp = true;
  #probeUnanswered = false;

  /** Throws where the browser has or allows no `BroadcastChannel`. */
  constructor(name: string, handler: TabHandler) {
    super(name);
    this.#handler = handler;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#onMessage(data);
    this.#probeTimer = setInterval(() => this.#probe(), PROBE_INTERVAL_MS);
    this.#catchUp();
  }

  /** Sends what the connection reported to the other tabs, if this tab owns it. */
  broadcast(broadcast: Broadcast): void {
    if (this.isLeader) this.#post(broadcast);
  }

  /**
   * Keeps a notification for other tabs, with the position before it, and sends it to them if this
   * tab owns the connection.
   */
  share(delivery: Delivery, previousPosition: string | undefined): void {
    this.#recent.push({ ...delivery, previousPosition });
    if (this.#recent.length > MAX_RECENT) this.#recent.shift();
    this.broadcast({ kind: "delivery", delivery });
  }

  /** Asks the leader to check its connection, and for what this tab missed. */
  check(): void {
    this.join();
    this.#post({ kind: "check" });
    this.#catchUp();
  }

  close(): void {
    clearInterval(this.#probeTimer);
    this.resign();
    this.#channel.close();
  }

  protected override onElected(): void {
    this.#term = Math.max(this.#term + 1, Date.now());
    this.#catchingUp = false;
    this.#post({ kind: "leader" });
    this.#handler.onElected();
  }

  protected override onDeposed(): void {
    this.#handler.onFollow();
    this.join();
    this.#catchUp();
  }

  protected override onDenied(): void {
    this.close();
    this.#handler.onDenied();
  }

  #post(content: Content): void {
    const message: Message = { from: this.#id, term: this.#term, ...content };
    this.#channel.postMessage(message);
  }

  #catchUp(): void {
    this.#catchingUp = true;
    this.#post({ kind: "catch_up", position: this.#handler.state().position });
  }

  /** Asks whether the leader is alive; replaces it if it did not answer the last time. */
  #probe(): void {
    const follows = this.isCandidate && !this.isLeader;
    if (follows && this.#probeUnanswered) this.seize();
    this.#probeUnanswered = follows;
    if (follows) this.#post({ kind: "probe" });
  }

  #onMessage(message: Message): void {
    if (this.isLeader) this.#onRequest(message);
    else this.#onBroadcast(message);
  }

  #onRequest(message: Message): void {
    switch (message.kind) {
      case "probe":
        // By a timer: a frozen page handles messages, but runs no timers and receives no frames.
        return void setTimeout(() => this.broadcast({ kind: "leader" }));
      case "check":
        return this.#handler.onCheck();
      case "catch_up":
        const missed = this.#missedSince(message.position);
        return this.#post({ kind: "missed", tab: message.from, missed });
    }
  }

  #onBroadcast(message: Message): void {
    const { kind, term } = message;
    if (term < this.#term) return;
    const isNew = term > this.#term;
    this.#term = term;
    if (kind === "leader") this.#probeUnanswered = false;
    // Contains what a new leader has sent before.
    if (kind === "missed" && message.tab === this.#id) return this.#onMissed(message.missed);
    if (isNew || (kind === "leader" && this.#catchingUp)) this.#catchUp();
    if (kind === "incomplete") this.#handler.onIncomplete();
    if (this.#catchingUp) return;
    if (kind === "delivery") this.#handler.onDelivery(message.delivery);
    if (kind === "state") this.#onState(message);
  }

  #onState(state: SharedState): void {
    if (state.status.state === "open" && !this.isCandidate) {
      this.#handler.onFollow();
      this.join();
    }
    this.#handler.onState(state);
  }

  #missedSince(position: string | undefined): Missed {
    const state = this.#handler.state();
    const index = this.#recent.findIndex(({ notification }) => notification.id === position);
    const isNewest = index < 0 && position === state.position;
    const isKnown = [undefined, this.#recent[0]?.previousPosition].includes(position);
    const complete = index >= 0 || isNewest || isKnown;
    const deliveries = isNewest || position === undefined ? [] : this.#recent.slice(index + 1);
    return { ...state, deliveries, complete };
  }

  #onMissed({ deliveries, complete, ...state }: Missed): void {
    if (!complete) this.#handler.onIncomplete();
    for (const delivery of deliveries) this.#handler.onDelivery(delivery);
    this.#catchingUp = false;
    this.#onState(state);
  }
}

/** Returns an identity for a tab, or for a notification that has none. */
export function newIdentity(): string {
  return String(Math.random());
}
