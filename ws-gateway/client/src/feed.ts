import type { Client } from "./client.ts";
import type { Notification } from "./contract.ts";
import type { Status } from "./status.ts";

/** An immutable snapshot of what a page shows. */
export interface Snapshot {
  readonly status: Status;
  /** Newest first. */
  readonly notifications: readonly Notification[];
  /** False after notifications were lost; `reloaded()` makes it true again. */
  readonly complete: boolean;
}

/** The latest notifications of a client since the feed was created; one per client. */
export class Feed {
  #snapshot: Snapshot;
  readonly #listeners = new Set<() => void>();

  /** Keeps the latest `limit` notifications. */
  constructor(client: Client, limit = 100) {
    this.#snapshot = { status: client.status, notifications: [], complete: true };
    client.onStatus((status) => this.#update({ status }));
    client.onIncomplete(() => this.#update({ complete: false }));
    client.onAny((notification) => {
      const notifications = [notification, ...this.#snapshot.notifications].slice(0, limit);
      this.#update({ notifications });
    });
  }

  /** Returns the current snapshot. */
  readonly snapshot = (): Snapshot => this.#snapshot;

  /** Calls the listener after each change; returns how to unsubscribe. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** Marks the state as complete, after the app reloaded it through the API. */
  reloaded(): void {
    this.#update({ complete: true });
  }

  #update(change: Partial<Snapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const listener of this.#listeners) listener();
  }
}
