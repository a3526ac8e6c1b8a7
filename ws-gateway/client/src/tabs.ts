// Shares one connection between the tabs of a user. The tab that holds a Web Lock is the leader and
// owns the connection; it broadcasts what it receives. When the leader is closed, the browser grants
// the lock to the next tab, which resumes from its last notification. A tab that opens or wakes up
// asks the leader for what it missed.

import type { Notification } from "./contract.ts";
import type { Status } from "./status.ts";

/** How many notifications a tab can catch up on; the gateway's history has the same size. */
const MAX_RECENT = 256;

/** A message between tabs. */
type Message =
  | { kind: "leader_changed" }
  | { kind: "notification"; notification: Notification }
  | { kind: "status"; status: Status }
  | { kind: "incomplete" }
  | { kind: "check" }
  | { kind: "catch_up"; tab: string; position: string | undefined }
  | ({ kind: "missed"; tab: string } & Missed);

interface Missed {
  notifications: Notification[];
  complete: boolean;
  position: string | undefined;
  status: Status;
}

/** The client of this tab. */
export interface TabHandler {
  readonly position: string | undefined;
  readonly status: Status;
  /** This tab became the leader. */
  onLeader(): void;
  onCheck(): void;
  onNotification(notification: Notification): void;
  onStatus(status: Status): void;
  onStartPosition(position: string): void;
  onIncomplete(): void;
}

export class Tabs {
  readonly #handler: TabHandler;
  readonly #id = String(Math.random());
  readonly #channel: BroadcastChannel;
  readonly #lockRequest = new AbortController();
  #releaseLock: (() => void) | undefined;
  /** The latest notifications of this tab, and the position before the first of them. */
  #recent: Notification[] = [];
  #positionBeforeRecent: string | undefined;
  /** Until the leader's answer arrives, which contains them, broadcast notifications are ignored. */
  #catchingUp = true;

  /** Whether this browser and page support a shared connection. */
  static readonly isSupported = () =>
    "BroadcastChannel" in globalThis && globalThis.navigator?.locks !== undefined;

  constructor(name: string, handler: TabHandler) {
    this.#handler = handler;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#onMessage(data);
    this.catchUp();
    const lead = () =>
      new Promise<void>((release) => {
        this.#releaseLock = release;
        this.#catchingUp = false;
        this.#post({ kind: "leader_changed" });
        handler.onLeader();
      });
    // Rejected only when this tab aborts the request.
    navigator.locks.request(name, { signal: this.#lockRequest.signal }, lead).catch(() => {});
  }

  get isLeader(): boolean {
    return this.#releaseLock !== undefined;
  }

  /** Asks the leader for what this tab missed. */
  catchUp(): void {
    if (this.isLeader) return;
    this.#catchingUp = true;
    this.#post({ kind: "catch_up", tab: this.#id, position: this.#handler.position });
  }

  /** Broadcasts events of the connection, if this tab owns it; `check` from any tab. */
  broadcast(message: Message): void {
    if (this.isLeader || message.kind === "check") this.#post(message);
  }

  /** Keeps a notification for other tabs, with the position before it. */
  remember(notification: Notification, previousPosition: string | undefined): void {
    if (this.#recent.length === 0) this.#positionBeforeRecent = previousPosition;
    this.#recent.push(notification);
    if (this.#recent.length > MAX_RECENT) this.#positionBeforeRecent = this.#recent.shift()?.id;
  }

  close(): void {
    this.#lockRequest.abort();
    this.#releaseLock?.();
    this.#releaseLock = undefined;
    this.#channel.close();
  }

  #post(message: Message): void {
    this.#channel.postMessage(message);
  }

  #onMessage(message: Message): void {
    if (this.isLeader) {
      if (message.kind === "catch_up") {
        this.#post({ kind: "missed", tab: message.tab, ...this.#missedSince(message.position) });
      } else if (message.kind === "check") {
        this.#handler.onCheck();
      }
      return;
    }
    switch (message.kind) {
      case "leader_changed":
        return this.catchUp();
      case "missed":
        if (message.tab === this.#id) this.#onMissed(message);
        return;
      case "notification":
        if (!this.#catchingUp) this.#handler.onNotification(message.notification);
        return;
      case "status":
        return this.#handler.onStatus(message.status);
      case "incomplete":
        this.#handler.onIncomplete();
    }
  }

  #missedSince(position: string | undefined): Missed {
    const { position: newest, status } = this.#handler;
    const index = this.#recent.findIndex(({ id }) => id === position);
    const isKnown = [undefined, newest, this.#positionBeforeRecent].includes(position) || index >= 0;
    const notifications = position === undefined ? [] : this.#recent.slice(index + 1);
    return { notifications, complete: isKnown, position: newest, status };
  }

  #onMissed({ notifications, complete, position, status }: Missed): void {
    this.#catchingUp = false;
    this.#handler.onStatus(status);
    if (!complete) this.#handler.onIncomplete();
    for (const notification of notifications) this.#handler.onNotification(notification);
    if (position !== undefined) this.#handler.onStartPosition(position);
  }
}
