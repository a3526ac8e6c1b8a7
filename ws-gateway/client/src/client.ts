// What an app holds: one client for one user, from sign-in to sign-out.

import { Connection } from "./connection.ts";
import type { Category, Notification, Notifications, OtherNotification } from "./contract.ts";
import { Memory, tabStorage, type Store } from "./memory.ts";
import type { Status } from "./status.ts";
import { Tabs } from "./tabs.ts";

/** How to connect. */
export interface Options {
  /** The gateway's address, such as `wss://live.example.org/ws`. */
  url: string | URL;
  /** Gives a token that is valid now; asked before each connection and before a token ends. */
  token: () => Promise<string> | string;
  /** What to receive; left out: everything. */
  categories?: readonly Category[];
  /** Where the position outlives a page load; `null`: nowhere. Left out: `sessionStorage`. */
  storage?: Store | null;
  /** Names the user: all tabs that say the same share one connection. Left out: each has its own. */
  shareAs?: string;
}

type Listener<N> = (notification: N) => void;
type Off = () => void;

/** Makes a connection and keeps it until `close()`. */
export function connect(options: Options): Client {
  return new Client(options);
}

/** Whether a notification is the one of this name; tells TypeScript as well. */
export function is<E extends keyof Notifications>(
  notification: Notification,
  event: E,
): notification is Notifications[E] {
  return notification.event === event;
}

export class Client {
  readonly #url: URL;
  readonly #memory: Memory;
  readonly #connection: Connection;
  readonly #tabs: Tabs | undefined;
  readonly #listeners = new Map<string, Set<(value: never) => void>>();
  readonly #ends = new AbortController();
  #categories: readonly Category[];
  #status: Status = { state: "connecting" };

  constructor(options: Options) {
    // Thrown now rather than tried for ever.
    this.#url = new URL(options.url, globalThis.location?.href);
    this.#categories = options.categories ?? [];
    const { storage = tabStorage(), shareAs } = options;
    this.#memory = new Memory(this.#url.href, storage ?? undefined, shareAs);
    this.#connection = new Connection({
      token: options.token,
      address: (token) => this.#address(token),
      notification: (notification) => this.#tell(notification),
      status: (status) => this.#setStatus(status),
      startsAt: (position) => this.#memory.moveTo(position),
      incomplete: () => this.#incomplete(),
    });
    if (shareAs !== undefined && Tabs.canShare()) this.#tabs = this.#share(`${this.#url} ${shareAs}`);
    else void this.#connection.open();
    this.#watchPage();
  }

  /** How things stand now. */
  get status(): Status {
    return this.#status;
  }

  /** Listens to one kind of notification; returns how to stop that. */
  on<E extends keyof Notifications>(event: E, listener: Listener<Notifications[E]>): Off;
  /** The same for those that a service has worded itself. */
  on(event: string, listener: Listener<OtherNotification>): Off;
  on(event: string, listener: Listener<never>): Off {
    return this.#listen(`event ${event}`, listener);
  }

  /** Listens to every notification. */
  onAny(listener: Listener<Notification>): Off {
    return this.#listen("any", listener);
  }

  /** Is told the status now and whenever it changes. */
  onStatus(listener: (status: Status) => void): Off {
    listener(this.#status);
    return this.#listen("status", listener);
  }

  /** Is told when something was missed that will not come: load the state through the API. */
  onIncomplete(listener: () => void): Off {
    return this.#listen("incomplete", listener);
  }

  /** Receives only these categories from now on; none: all. */
  filter(categories: readonly Category[]): void {
    this.#categories = categories;
    // What tabs share must be everything.
    if (this.#tabs) return;
    // An address with the old ones may be on its way.
    if (this.#status.state === "connecting") void this.#connection.open();
    else this.#connection.say({ type: "filter", categories: [...categories] });
  }

  /** Tries now instead of waiting; does no harm to a connection that lives. */
  retry(): void {
    if (this.#status.state === "stopped") return;
    if (!this.#tabs || this.#tabs.leads) this.#connection.wake();
    else {
      this.#tabs.pass({ kind: "wake" });
      this.#tabs.catchUp();
    }
  }

  /** Ends it for good, as when the user signs out. */
  close(): void {
    this.#ends.abort();
    this.#tabs?.close();
    this.#connection.stop("closed by the app");
  }

  #address(token: string): URL {
    this.#memory.recall(token);
    const address = new URL(this.#url);
    const { position } = this.#memory;
    if (position !== undefined) address.searchParams.set("last_event_id", position);
    if (this.#categories.length > 0 && !this.#tabs) {
      address.searchParams.set("categories", this.#categories.join());
    }
    return address;
  }

  #share(name: string): Tabs {
    const client = this;
    return new Tabs(`live-notifications ${name}`, {
      get position() {
        return client.#memory.position;
      },
      get status() {
        return client.#status;
      },
      lead: () => void this.#connection.open(),
      wake: () => this.#connection.wake(),
      notification: (notification) => this.#tell(notification),
      setStatus: (status) => this.#setStatus(status),
      startsAt: (position) => this.#memory.moveTo(position),
      incomplete: () => this.#incomplete(),
    });
  }

  /** Looks after the connection whenever the network or the tab may have been away. */
  #watchPage(): void {
    if (typeof window === "undefined") return;
    const { signal } = this.#ends;
    const wake = () => this.retry();
    const seen = () => document.visibilityState === "visible" && wake();
    window.addEventListener("online", wake, { signal });
    window.addEventListener("pageshow", wake, { signal });
    document.addEventListener("visibilitychange", seen, { signal });
    window.addEventListener("offline", () => this.#connection.doubt(), { signal });
  }

  #tell(notification: Notification): void {
    const { event, id, category } = notification;
    const before = this.#memory.position;
    const name = notification.event_id ?? id;
    if (name === undefined || this.#memory.isNew(name)) {
      this.#tabs?.keep(notification, before);
      this.#tabs?.pass({ kind: "told", notification });
      const wanted = this.#categories.length === 0 || !category || this.#categories.includes(category);
      if (wanted) {
        this.#call(`event ${event}`, notification);
        this.#call("any", notification);
      }
    }
    // Only now: had the page gone away meanwhile, it would come again.
    if (id !== undefined) this.#memory.moveTo(id);
  }

  #setStatus(status: Status): void {
    this.#status = status;
    this.#tabs?.pass({ kind: "status", status });
    this.#call("status", status);
  }

  #incomplete(): void {
    this.#tabs?.pass({ kind: "incomplete" });
    this.#call("incomplete", undefined);
  }

  #listen<V>(topic: string, listener: (value: V) => void): Off {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners);
    // Wrapped, so that the same function can listen twice.
    const own = (value: V) => listener(value);
    listeners.add(own);
    return () => void listeners.delete(own);
  }

  /** A listener that fails must not keep others from hearing. */
  #call(topic: string, value: unknown): void {
    for (const listener of this.#listeners.get(topic) ?? []) {
      try {
        listener(value as never);
      } catch (error) {
        globalThis.reportError?.(error);
      }
    }
  }
}
