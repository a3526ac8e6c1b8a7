// The unread badge: what the user has read, on any device.

import type { Client } from "./client.ts";
import { READ_STATE_EVENT, type ReadState } from "./contract.ts";
import { Listeners, type Unsubscribe } from "./listeners.ts";
import { order } from "./resume-state.ts";
import type { Status } from "./status.ts";

/** A position that is never reached: the gateway marks all notifications that there are. */
const ALL = "9999999999999-0";
/** More notifications than this are counted by the gateway only. */
const MAX_COUNTED = 256;
/** The least time from an answer to the next request for the state, doubling with each failure. */
const MIN_INTERVAL_MS = 1_000;
const MAX_INTERVAL_MS = 60_000;
/** A request for the state that has no answer by then has failed. */
const TIMEOUT_MS = 15_000;

/** The gateway that the client is connected to. */
export interface ReadStateOptions {
  /** The URL of the WebSocket. */
  url: string | URL;
  /** Returns a valid token. */
  token: () => Promise<string> | string;
  /** Sends requests; default: the global `fetch`. */
  fetch?: (url: URL, init: RequestInit) => Promise<Response>;
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
  /** Whether the state is to be asked for, and may then be older than the known one: Redis may have
   * lost its data. */
  #isStale = false;
  /** Whether a request for the state is sent, or the next one has to wait. */
  #isAsking = false;
  #failures = 0;
  #isConnecting = false;
  /** How many connections were opened. */
  #connections = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

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
  async markRead(upTo = this.#later.at(-1) ?? this.#state?.last_event_id ?? ALL): Promise<void> {
    const url = new URL(this.#options.url, globalThis.location?.href);
    url.protocol = url.protocol.replace("ws", "http");
    url.pathname = url.pathname.replace(/\/ws\/?$/, "/read");
    if (upTo) url.searchParams.set("up_to", upTo);
    const headers = { Authorization: `Bearer ${await this.#options.token()}` };
    const request = this.#options.fetch ?? fetch;
    const connections = this.#connections;
    const response = await request(url, { method: "POST", headers, cache: "no-store" });
    if (!response.ok) throw new Error(`marking as read failed with HTTP status ${response.status}`);
    const state = await response.json();
    // What was sent on a connection since may not be in the answer.
    if (connections === this.#connections) this.#apply(state);
    else this.#refresh();
  }

  /** Ends the subscriptions to the client. */
  close(): void {
    this.#subscriptions?.forEach((unsubscribe) => unsubscribe());
    this.#subscriptions = undefined;
    clearTimeout(this.#timer);
    this.#isAsking = false;
  }

  #subscribe(client: Client): Unsubscribe[] {
    return [
      client.on(READ_STATE_EVENT, ({ data }) => this.#apply(data as unknown as ReadState)),
      client.onAny(({ id }) => this.#count(id)),
      client.onRepeated((id) => this.#recount(id)),
      client.onStatus((status) => this.#onStatus(status)),
    ];
  }

  /** A connection opens, also with incomplete history: takes its state, or asks for it. */
  #onStatus(status: Status): void {
    // A tab that shares a connection may be sent the status of one that opened long ago.
    const isOpening = this.#isConnecting;
    this.#isConnecting = status.state === "connecting";
    if (status.state !== "open") return;
    if (isOpening) this.#connections += 1;
    this.#refresh();
    // What was counted is in the next state, or Redis has lost it.
    if (status.resume === "incomplete") this.#later = [];
    const { unread, read_up_to: up_to, exact, counted_to: last_event_id } = status.read ?? {};
    if (!isOpening || !last_event_id) return;
    // Everything later is sent on this connection.
    this.#later = [];
    this.#apply({ up_to, unread, exact, last_event_id } as ReadState);
  }

  /** Asks for the state until it is known, one request at a time. */
  #refresh(): void {
    this.#isStale = true;
    if (!this.#isAsking) void this.#ask();
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    // The frame that is handled now may bring it.
    await Promise.resolve();
    if (!this.#isStale) {
      this.#isAsking = false;
      return;
    }
    let delay = MIN_INTERVAL_MS;
    try {
      const timeout = new Promise((_, reject) => (this.#timer = setTimeout(reject, TIMEOUT_MS)));
      await Promise.race([this.markRead(""), timeout]);
      this.#failures = 0;
    } catch {
      delay = Math.min(delay * 2 ** this.#failures, MAX_INTERVAL_MS) * (1 + Math.random());
      this.#failures += 1;
    }
    clearTimeout(this.#timer);
    if (!this.#subscriptions) {
      this.#isAsking = false;
      return;
    }
    this.#timer = setTimeout(() => {
      this.#isAsking = false;
      if (this.#isStale) void this.#ask();
    }, delay);
  }

  #apply(state: ReadState): void {
    const known = this.#isStale ? undefined : this.#state;
    const isOlder = (key: "up_to" | "last_event_id") => order(state[key]) < order(known?.[key]);
    // The answer and the frames of one change arrive in any order; or Redis has lost its data.
    if (isOlder("up_to") || (state.up_to === known?.up_to && isOlder("last_event_id"))) {
      return this.#refresh();
    }
    this.#isStale = false;
    this.#state = state;
    this.#later = this.#later.filter((id) => this.#isLater(id));
    this.#listeners.emit("unread", this.unread);
  }

  /** An event may come again that was read before Redis lost its claim: the gateway counts it. */
  #recount(id = ""): void {
    if (this.#isLater(id) && !this.#later.includes(id)) this.#refresh();
  }

  #isLater(id: string): boolean {
    return order(id) > order(this.#state?.last_event_id);
  }

  #count(id: string | undefined): void {
    if (!id || !this.#isLater(id)) return;
    this.#later.push(id);
    if (this.#later.length > MAX_COUNTED) this.#refresh();
    if (this.#state) this.#listeners.emit("unread", this.unread);
  }
}
