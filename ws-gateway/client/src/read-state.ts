// The unread badge: what the user has read, on any device.

import type { Client } from "./client.ts";
import { READ_STATE_EVENT, type ReadState } from "./contract.ts";
import { Listeners, type Unsubscribe } from "./listeners.ts";
import { order } from "./resume-state.ts";

/** More notifications than this are counted by the gateway only. */
const MAX_COUNTED = 256;

/** The gateway that the client is connected to. */
export interface ReadStateOptions {
  /** The URL of the WebSocket. */
  url: string | URL;
  /** Returns a valid token. */
  token: () => Promise<string> | string;
}

/**
 * Counts the unread notifications. A category filter holds back notifications that the gateway
 * counts, so the number is right after each change and not in between.
 */
export class ReadMarks {
  readonly #client: Client;
  readonly #options: ReadStateOptions;
  readonly #listeners = new Listeners();
  #subscriptions: Unsubscribe[] | undefined;
  #state: ReadState | undefined;
  /** The ids of notifications that the gateway has not counted. */
  #later: string[] = [];

  /** Does no I/O, so that it may be called on a server. */
  constructor(client: Client, options: ReadStateOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** The number of unread notifications; unknown until the gateway has answered. */
  get unread(): number | undefined {
    return this.#state && this.#state.unread + this.#later.length;
  }

  /** Whether `unread` is the number of all: the history may no longer reach back far enough. */
  get exact(): boolean {
    return this.#state?.exact === true;
  }

  /** Calls the listener with each new number. The first listener connects. */
  onUnread(listener: (unread: number) => void): Unsubscribe {
    this.#subscriptions ??= this.#subscribe(this.#client);
    return this.#listeners.add("unread", listener);
  }

  /**
   * Marks the notifications up to this position as read, on every device; default: all. Rejects if
   * the gateway cannot be reached.
   */
  async markRead(upTo = this.#later.at(-1) ?? this.#state?.last_event_id): Promise<void> {
    const url = new URL(this.#options.url, globalThis.location?.href);
    url.protocol = url.protocol.replace("ws", "http");
    url.pathname = url.pathname.replace(/\/ws\/?$/, "/read");
    if (upTo) url.searchParams.set("up_to", upTo);
    const headers = { Authorization: `Bearer ${await this.#options.token()}` };
    const response = await fetch(url, { method: "POST", headers, cache: "no-store" });
    if (!response.ok) throw new Error(`marking as read failed with HTTP status ${response.status}`);
    this.#apply(await response.json());
  }

  /** Ends the subscriptions to the client. */
  close(): void {
    this.#subscriptions?.forEach((unsubscribe) => unsubscribe());
    this.#subscriptions = undefined;
  }

  #subscribe(client: Client): Unsubscribe[] {
    return [
      client.on(READ_STATE_EVENT, ({ data }) => this.#apply(data as unknown as ReadState)),
      client.onAny(({ id }) => this.#count(id)),
      client.onIncomplete(() => this.#refresh()),
      client.onStatus(({ state }) => {
        if (state === "open") this.#refresh();
      }),
    ];
  }

  /** Asks for the state; without an answer, it is asked for after the next connection. */
  #refresh(): void {
    this.markRead("").catch(() => {});
  }

  #apply(state: ReadState): void {
    const known = this.#state;
    const isOlder = (key: "up_to" | "last_event_id") => order(state[key]) < order(known?.[key]);
    // The answer and the frames of one change arrive in any order.
    if (isOlder("up_to") || (state.up_to === known?.up_to && isOlder("last_event_id"))) return;
    this.#state = state;
    this.#later = this.#later.filter((id) => order(id) > order(state.last_event_id));
    this.#listeners.emit("unread", this.unread);
  }

  #count(id: string | undefined): void {
    if (!id || order(id) <= order(this.#state?.last_event_id)) return;
    this.#later.push(id);
    if (this.#later.length > MAX_COUNTED) this.#refresh();
    if (this.#state) this.#listeners.emit("unread", this.unread);
  }
}
