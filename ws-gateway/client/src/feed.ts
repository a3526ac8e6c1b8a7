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

/** What a server renders, and a browser at first, so that both are the same. */
export const INITIAL_SNAPSHOT: Snapshot = {
  status: { state: "idle" },
  notifications: [],
  complete: true,
};

/** The latest notifications of a client since the feed's first listener; one per client. */
export class Feed {
  readonly #client: Client;
  readonly #limit: number;
  #snapshot: Snapshot;
  readonly #listeners = new Set<() => void>();
  #subscribed = false;

  /** Keeps the latest `limit` notifications. */
  constructor(client: Client, limit = 100) {
    this.#client = client;
    this.#limit = limit;
    this.#snapshot = { status: client.status, notifications: [], complete: true };
  }

  /** Returns the current snapshot. */
  readonly snapshot = (): Snapshot => this.#snapshot;

  /** Calls the listener after each change; returns how to unsubscribe. The first connects. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (!this.#subscribed) this.#subscribeToClient();
    return () => void this.#listeners.delete(listener);
  };

  /** Marks the state as complete, after the app reloaded it through the API. */
  reloaded(): void {
    this.#update({ complete: true });
  }

  #subscribeToClient(): void {
    this.#subscribed = true;
    this.#client.onIncomplete(() => this.#update({ complete: false }));
    this.#client.onAny((notification) => {
      const notifications = [notification, ...this.#snapshot.notifications].slice(0, this.#limit);
      this.#update({ notifications });
    });
    this.#client.onStatus((status) => this.#update({ status }));
  }

  #update(change: Partial<Snapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const listener of this.#listeners) listener();
  }
}
