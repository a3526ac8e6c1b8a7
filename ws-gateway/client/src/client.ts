// The client of one signed-in user: dispatches notifications to listeners and shares its connection
// between tabs.

import { Connection } from "./connection.ts";
import {
  READ_STATE_EVENT,
  type Category,
  type Notification,
  type Notifications,
  type OtherNotification,
} from "./contract.ts";
import { Listeners, type Unsubscribe } from "./listeners.ts";
import { listenToPage } from "./page-events.ts";
import { ResumeState, subject, type PositionStorage } from "./resume-state.ts";
import type { Status } from "./status.ts";
import { newIdentity, Tabs, type Delivery } from "./tabs.ts";
import type { OpenTransport } from "./transport.ts";
import { webSocket } from "./websocket.ts";

/** The options of `connect`. */
export interface Options {
  /** The gateway's URL, such as `wss://live.example.org/ws`. */
  url: string | URL;
  /** Returns a valid token; called before each connection and each renewal. */
  token: () => Promise<string> | string;
  /** The categories to receive; default: all. */
  categories?: readonly Category[];
  /** Stores the position across page loads; default: `sessionStorage`; `null`: not stored. */
  storage?: PositionStorage | null;
  /** A user id: tabs with the same one share a connection; default: one connection per tab. */
  shareAs?: string;
  /** `ladder()` falls back to HTTP where a network allows no WebSocket; default: `webSocket`. */
  transports?: OpenTransport;
  /** `false`: only `start()` connects; default: the first listener does as well. */
  enabled?: boolean;
}

type Listener<N> = (notification: N) => void;

/** Returns a client, which connects when its first listener subscribes. */
export function connect(options: Options): Client {
  return new Client(options);
}

/** Narrows a notification to the type of its event. */
export function is<E extends keyof Notifications>(
  notification: Notification,
  event: E,
): notification is Notifications[E] {
  return notification.event === event;
}

export class Client {
  readonly #options: Options;
  readonly #resume: ResumeState;
  readonly #connection: Connection;
  readonly #listeners = new Listeners();
  #tabs: Tabs | undefined;
  /** From `start()` to `close()`. */
  #running: AbortController | undefined;
  #closed = false;
  #categories: readonly Category[];
  #status: Status = { state: "idle" };

  /** Does no I/O, so that it may be called on a server. */
  constructor(options: Options) {
    this.#options = options;
    this.#categories = options.categories ?? [];
    this.#resume = new ResumeState(options.storage);
    this.#connection = new Connection({
      openTransport: options.transports ?? webSocket,
      resume: this.#resume,
      token: options.token,
      connectUrl: (token) => this.#connectUrl(token),
      onNotification: (notification) => this.#deliver(notification),
      onStatus: (status) => this.#setStatus(status),
      onIncomplete: () => this.#reportIncomplete(),
      onRefused: () => this.#tabs?.resign(),
      onRetryDue: () => this.#connect(),
    });
  }

  /** The current status. */
  get status(): Status {
    return this.#status;
  }

  /** Subscribes to one event; returns how to unsubscribe. */
  on<E extends keyof Notifications>(event: E, listener: Listener<Notifications[E]>): Unsubscribe;
  /** Subscribes to a notification that a service requested under a name of its own. */
  on(event: string, listener: Listener<OtherNotification>): Unsubscribe;
  on(event: string, listener: Listener<never>): Unsubscribe {
    return this.#subscribe(`event ${event}`, listener);
  }

  /** Subscribes to every notification. */
  onAny(listener: Listener<Notification>): Unsubscribe {
    return this.#subscribe("any", listener);
  }

  /** Calls the listener with the current status, and with each later one. */
  onStatus(listener: (status: Status) => void): Unsubscribe {
    const unsubscribe = this.#subscribe("status", listener);
    listener(this.#status);
    return unsubscribe;
  }

  /** Subscribes to losses: notifications were missed that history no longer holds; reload. */
  onIncomplete(listener: () => void): Unsubscribe {
    return this.#subscribe("incomplete", listener);
  }

  /** Subscribes to the ids of notifications that were delivered before under another id. */
  onRepeated(listener: (id: string | undefined) => void): Unsubscribe {
    return this.#subscribe("repeated", listener);
  }

  /** Replaces the category filter; an empty list selects all. */
  filter(categories: readonly Category[]): void {
    this.#categories = categories;
    // A shared connection receives all categories; each tab filters for itself.
    if (this.#tabs) return;
    // The handshake in progress may carry the previous filter.
    if (this.#status.state === "connecting") void this.#connection.open();
    else this.#connection.send({ type: "filter", categories: [...categories] });
  }

  /**
   * Connects, and reconnects until `close()`; no effect if it has started. Throws on an invalid
   * URL, which no retry can change.
   */
  start(): void {
    if (this.#running) return;
    const { href } = this.#url();
    this.#closed = false;
    const { signal } = (this.#running = new AbortController());
    const { shareAs } = this.#options;
    if (shareAs !== undefined) {
      const name = `live-notifications ${href} ${shareAs}`;
      this.#resume.load(name);
      this.#tabs = this.#joinTabs(name);
    }
    this.#connect();
    const wake = () => this.#status.state !== "stopped" && this.retry();
    listenToPage(signal, wake, () => this.#ownsConnection && this.#connection.checkOffline());
  }

  /**
   * Reconnects now instead of after the delay, also after the gateway stopped this client; an open
   * connection is only pinged. No effect after `close()`.
   */
  retry(): void {
    if (this.#closed) return;
    if (!this.#running) this.start();
    else if (!this.#ownsConnection) this.#tabs?.check();
    else if (this.#status.state === "stopped") this.#connect();
    else this.#connection.check();
  }

  /** Closes the connection, as at sign-out; only `start()` connects again. */
  close(): void {
    this.#closed = true;
    this.#running?.abort();
    this.#tabs?.close();
    this.#running = this.#tabs = undefined;
    this.#connection.stop("closed by the app");
  }

  #subscribe<V>(topic: string, listener: (value: V) => void): Unsubscribe {
    if (!this.#closed && this.#options.enabled !== false) this.start();
    return this.#listeners.add(topic, listener);
  }

  /** Connects; with a shared connection, as soon as no other tab does. */
  #connect(): void {
    if (this.#ownsConnection) void this.#connection.open();
    else this.#tabs?.join();
  }

  get #ownsConnection(): boolean {
    return !this.#tabs || this.#tabs.isLeader;
  }

  #url(): URL {
    return new URL(this.#options.url, globalThis.location?.href);
  }

  #connectUrl(token: string): URL {
    const url = this.#url();
    this.#resume.load(`live-notifications ${url} ${this.#options.shareAs ?? subject(token)}`);
    const { position } = this.#resume;
    if (position) url.searchParams.set("last_event_id", position);
    if (this.#categories.length > 0 && !this.#tabs) {
      url.searchParams.set("categories", this.#categories.join());
    }
    return url;
  }

  /** Returns nothing if tabs cannot share a connection on this page. */
  #joinTabs(name: string): Tabs | undefined {
    try {
      return new Tabs(name, {
        state: () => ({ status: this.#status, position: this.#resume.position }),
        onElected: () => void this.#connection.open(),
        onFollow: () => this.#connection.cancel(),
        onDenied: () => {
          this.#tabs = undefined;
          this.#connect();
        },
        onCheck: () => this.#connection.check(),
        onDelivery: (delivery) => this.#dispatch(delivery),
        onState: ({ status, position }) => {
          this.#resume.setPosition(position);
          this.#setStatus(status);
        },
        onIncomplete: () => this.#reportIncomplete(),
      });
    } catch {
      return undefined;
    }
  }

  /** Handles a notification of this tab's own connection. */
  #deliver(notification: Notification): void {
    const { event_id, id } = notification;
    const identity = event_id ?? id ?? (this.#tabs && newIdentity());
    this.#dispatch({ notification, identity });
  }

  #dispatch(delivery: Delivery): void {
    const { notification, identity } = delivery;
    const { event, id, category } = notification;
    const previousPosition = this.#resume.position;
    if (identity === undefined || this.#resume.isFirstDelivery(identity)) {
      this.#tabs?.share(delivery, previousPosition);
      const categories = this.#categories;
      const selected = categories.length === 0 || !category || categories.includes(category);
      if (selected) {
        this.#listeners.emit(`event ${event}`, notification);
        if (event !== READ_STATE_EVENT) this.#listeners.emit("any", notification);
      }
    } else this.#listeners.emit("repeated", id);
    // After the listeners: if the page is unloaded before, the notification is sent again.
    this.#resume.advance(id);
  }

  #setStatus(status: Status): void {
    this.#status = status;
    this.#tabs?.broadcast({ kind: "state", status, position: this.#resume.position });
    this.#listeners.emit("status", status);
  }

  #reportIncomplete(): void {
    this.#tabs?.broadcast({ kind: "incomplete" });
    this.#listeners.emit("incomplete", undefined);
  }
}
