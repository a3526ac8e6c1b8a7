// The client of one signed-in user: dispatches notifications to listeners and shares its connection
// between tabs.

import { Connection } from "./connection.ts";
import type { Category, Notification, Notifications, OtherNotification } from "./contract.ts";
import { ResumeState, tabStorage, type PositionStorage } from "./resume-state.ts";
import type { Status } from "./status.ts";
import { Tabs } from "./tabs.ts";

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
}

type Listener<N> = (notification: N) => void;
type Unsubscribe = () => void;

/** Connects, and reconnects until `close()` is called. */
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
  readonly #url: URL;
  readonly #resume: ResumeState;
  readonly #connection: Connection;
  readonly #tabs: Tabs | undefined;
  readonly #listeners = new Map<string, Set<(value: never) => void>>();
  readonly #closed = new AbortController();
  #categories: readonly Category[];
  #status: Status = { state: "connecting" };

  constructor(options: Options) {
    // Throws on an invalid URL, which no retry can change.
    this.#url = new URL(options.url, globalThis.location?.href);
    this.#categories = options.categories ?? [];
    const { storage = tabStorage(), shareAs } = options;
    this.#resume = new ResumeState(this.#url.href, storage ?? undefined, shareAs);
    this.#connection = new Connection({
      token: options.token,
      connectUrl: (token) => this.#connectUrl(token),
      onNotification: (notification) => this.#dispatch(notification),
      onStatus: (status) => this.#setStatus(status),
      onStartPosition: (position) => this.#resume.setPosition(position),
      onIncomplete: () => this.#reportIncomplete(),
    });
    if (shareAs !== undefined && Tabs.isSupported()) {
      this.#tabs = this.#joinTabs(`${this.#url} ${shareAs}`);
    } else void this.#connection.open();
    this.#listenToPage();
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
    listener(this.#status);
    return this.#subscribe("status", listener);
  }

  /** Subscribes to losses: notifications were missed that history no longer holds; reload. */
  onIncomplete(listener: () => void): Unsubscribe {
    return this.#subscribe("incomplete", listener);
  }

  /** Replaces the category filter; an empty list selects all. */
  filter(categories: readonly Category[]): void {
    this.#categories = categories;
    // A shared connection receives all categories; each tab filters for itself.
    if (this.#tabs) return;
    // The handshake under way may carry the previous filter.
    if (this.#status.state === "connecting") void this.#connection.open();
    else this.#connection.send({ type: "filter", categories: [...categories] });
  }

  /** Reconnects now instead of after the back-off; an open connection is only pinged. */
  retry(): void {
    if (this.#status.state === "stopped") return;
    if (!this.#tabs || this.#tabs.isLeader) this.#connection.check();
    else {
      this.#tabs.broadcast({ kind: "check" });
      this.#tabs.catchUp();
    }
  }

  /** Closes the connection for good, as at sign-out. */
  close(): void {
    this.#closed.abort();
    this.#tabs?.close();
    this.#connection.stop("closed by the app");
  }

  #connectUrl(token: string): URL {
    this.#resume.loadFor(token);
    const url = new URL(this.#url);
    const { position } = this.#resume;
    if (position !== undefined) url.searchParams.set("last_event_id", position);
    if (this.#categories.length > 0 && !this.#tabs) {
      url.searchParams.set("categories", this.#categories.join());
    }
    return url;
  }

  #joinTabs(name: string): Tabs {
    const client = this;
    return new Tabs(`live-notifications ${name}`, {
      get position() {
        return client.#resume.position;
      },
      get status() {
        return client.#status;
      },
      onLeader: () => void this.#connection.open(),
      onCheck: () => this.#connection.check(),
      onNotification: (notification) => this.#dispatch(notification),
      onStatus: (status) => this.#setStatus(status),
      onStartPosition: (position) => this.#resume.setPosition(position),
      onIncomplete: () => this.#reportIncomplete(),
    });
  }

  /** Checks the connection whenever the network or the tab may have been suspended. */
  #listenToPage(): void {
    if (typeof window === "undefined") return;
    const { signal } = this.#closed;
    const retry = () => this.retry();
    const retryIfVisible = () => document.visibilityState === "visible" && retry();
    window.addEventListener("online", retry, { signal });
    window.addEventListener("pageshow", retry, { signal });
    document.addEventListener("visibilitychange", retryIfVisible, { signal });
    window.addEventListener("offline", () => this.#connection.checkOffline(), { signal });
  }

  #dispatch(notification: Notification): void {
    const { event, id, category } = notification;
    const previousPosition = this.#resume.position;
    const identity = notification.event_id ?? id;
    if (identity === undefined || this.#resume.isFirstDelivery(identity)) {
      this.#tabs?.remember(notification, previousPosition);
      this.#tabs?.broadcast({ kind: "notification", notification });
      const selected = this.#categories.length === 0 || !category || this.#categories.includes(category);
      if (selected) {
        this.#emit(`event ${event}`, notification);
        this.#emit("any", notification);
      }
    }
    // After the listeners: if the page is unloaded before, the notification is sent again.
    if (id !== undefined) this.#resume.setPosition(id);
  }

  #setStatus(status: Status): void {
    this.#status = status;
    this.#tabs?.broadcast({ kind: "status", status });
    this.#emit("status", status);
  }

  #reportIncomplete(): void {
    this.#tabs?.broadcast({ kind: "incomplete" });
    this.#emit("incomplete", undefined);
  }

  #subscribe<V>(topic: string, listener: (value: V) => void): Unsubscribe {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners);
    // Wrapped, so that one function can subscribe twice.
    const wrapped = (value: V) => listener(value);
    listeners.add(wrapped);
    return () => void listeners.delete(wrapped);
  }

  /** Calls every listener; one that throws does not affect the others. */
  #emit(topic: string, value: unknown): void {
    for (const listener of this.#listeners.get(topic) ?? []) {
      try {
        listener(value as never);
      } catch (error) {
        globalThis.reportError?.(error);
      }
    }
  }
}
