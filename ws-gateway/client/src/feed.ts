import type { Client } from "./client.ts";
import type { Notification } from "./contract.ts";
import type { Status } from "./status.ts";

/** What a page shows. Never changed: each change makes another one. */
export interface Snapshot {
  readonly status: Status;
  /** The newest first. */
  readonly notifications: readonly Notification[];
  /** False after something was missed that will not come; `reloaded()` makes it true again. */
  readonly complete: boolean;
}

/** The latest notifications of a client, from now on; made once, next to the client. */
export class Feed {
  #snapshot: Snapshot;
  readonly #listeners = new Set<() => void>();

  /** Keeps this many notifications. */
  constructor(client: Client, keep = 100) {
    this.#snapshot = { status: client.status, notifications: [], complete: true };
    client.onStatus((status) => this.#change({ status }));
    client.onIncomplete(() => this.#change({ complete: false }));
    client.onAny((notification) => {
      const notifications = [notification, ...this.#snapshot.notifications].slice(0, keep);
      this.#change({ notifications });
    });
  }

  /** What to show now. */
  readonly snapshot = (): Snapshot => this.#snapshot;

  /** Is called after each change; returns how to stop that. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** The app has loaded its state through the API. */
  reloaded(): void {
    this.#change({ complete: true });
  }

  #change(change: Partial<Snapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const listener of this.#listeners) listener();
  }
}
