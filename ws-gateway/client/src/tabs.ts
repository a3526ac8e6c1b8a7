// One connection for all tabs of a user. The tab that holds a lock leads and has the connection; it
// passes on what it hears. When it goes, the browser gives the lock to the next one, which resumes
// from the last notification that it was told. A tab that comes or wakes asks for what it missed.

import type { Notification } from "./contract.ts";
import type { Status } from "./status.ts";

/** As much as a tab can catch up on; the gateway keeps about as much. */
const KEPT = 256;

/** What is said between tabs. */
type Message =
  | { kind: "lead" }
  | { kind: "told"; notification: Notification }
  | { kind: "status"; status: Status }
  | { kind: "incomplete" }
  | { kind: "wake" }
  | { kind: "ask"; tab: string; position: string | undefined }
  | ({ kind: "answer"; tab: string } & Answer);

interface Answer {
  missed: Notification[];
  complete: boolean;
  position: string | undefined;
  status: Status;
}

/** The client in this tab. */
export interface Tab {
  readonly position: string | undefined;
  readonly status: Status;
  /** This tab leads from now on. */
  lead(): void;
  wake(): void;
  notification(notification: Notification): void;
  setStatus(status: Status): void;
  startsAt(position: string): void;
  incomplete(): void;
}

export class Tabs {
  readonly #tab: Tab;
  readonly #name = String(Math.random());
  readonly #channel: BroadcastChannel;
  readonly #waiting = new AbortController();
  #release: (() => void) | undefined;
  /** What was told last in this tab, and the position before it. */
  #recent: Notification[] = [];
  #before: string | undefined;
  /** Until the answer is there, which holds them, notifications are left alone. */
  #asking = true;

  /** Whether this browser, on this page, can share a connection. */
  static readonly canShare = () =>
    "BroadcastChannel" in globalThis && globalThis.navigator?.locks !== undefined;

  constructor(name: string, tab: Tab) {
    this.#tab = tab;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.catchUp();
    const lead = () =>
      new Promise<void>((release) => {
        this.#release = release;
        this.#asking = false;
        this.#say({ kind: "lead" });
        tab.lead();
      });
    // Refused only when this tab stops waiting.
    navigator.locks.request(name, { signal: this.#waiting.signal }, lead).catch(() => {});
  }

  get leads(): boolean {
    return this.#release !== undefined;
  }

  /** Asks the tab that leads for what this one missed. */
  catchUp(): void {
    if (this.leads) return;
    this.#asking = true;
    this.#say({ kind: "ask", tab: this.#name, position: this.#tab.position });
  }

  /** Passes on what happened to the connection, if it is this tab's. */
  pass(message: Message): void {
    if (this.leads || message.kind === "wake") this.#say(message);
  }

  /** Remembers what was told here, and the position of this tab before it. */
  keep(notification: Notification, before: string | undefined): void {
    if (this.#recent.length === 0) this.#before = before;
    this.#recent.push(notification);
    if (this.#recent.length > KEPT) this.#before = this.#recent.shift()?.id;
  }

  close(): void {
    this.#waiting.abort();
    this.#release?.();
    this.#release = undefined;
    this.#channel.close();
  }

  #say(message: Message): void {
    this.#channel.postMessage(message);
  }

  #hear(message: Message): void {
    if (this.leads) {
      if (message.kind === "ask") {
        this.#say({ kind: "answer", tab: message.tab, ...this.#answer(message.position) });
      } else if (message.kind === "wake") {
        this.#tab.wake();
      }
      return;
    }
    switch (message.kind) {
      case "lead":
        return this.catchUp();
      case "answer":
        if (message.tab === this.#name) this.#catchUpWith(message);
        return;
      case "told":
        if (!this.#asking) this.#tab.notification(message.notification);
        return;
      case "status":
        return this.#tab.setStatus(message.status);
      case "incomplete":
        this.#tab.incomplete();
    }
  }

  #answer(position: string | undefined): Answer {
    const { position: newest, status } = this.#tab;
    const at = this.#recent.findIndex(({ id }) => id === position);
    const complete = position === undefined || position === newest || position === this.#before || at >= 0;
    const missed = position === undefined ? [] : this.#recent.slice(at + 1);
    return { missed, complete, position: newest, status };
  }

  #catchUpWith({ missed, complete, position, status }: Answer): void {
    this.#asking = false;
    this.#tab.setStatus(status);
    if (!complete) this.#tab.incomplete();
    for (const notification of missed) this.#tab.notification(notification);
    if (position !== undefined) this.#tab.startsAt(position);
  }
}
