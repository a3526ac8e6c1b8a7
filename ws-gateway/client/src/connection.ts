// One WebSocket that is made again whenever it is lost. Knows the gateway's frames and close codes;
// what a notification means, who wants it and where the position is kept is not its business.

import {
  STATE_EVENT,
  STOP_CODES,
  SUBPROTOCOL,
  TOKEN_CODES,
  TOKEN_PREFIX,
  type ClientMessage,
  type Notification,
  type StateFrame,
} from "./contract.ts";
import type { Status } from "./status.ts";

/** Longest pause after the first failure; it doubles with each further one, up to the longest. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
/** Longest wait for a token and a connection together. */
const OPEN_LIMIT_MS = 15_000;
/** Longest wait for a sign of life when there is doubt. */
const PULSE_LIMIT_MS = 5_000;
/** A connection that has stood this long was a success; a shorter one counts as a failure. */
const STEADY_MS = 1_000;
/** A token is renewed when a fifth of its time is left, and no earlier than this before its end. */
const RENEWAL_SHARE = 0.2;
const EARLIEST_RENEWAL_MS = 60_000;
const RENEWAL_RETRY_MS = 1_000;
/** The longest time that a browser's timers can wait. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What a connection needs and to whom it tells what. */
export interface Owner {
  /** A token that is valid now. */
  token(): Promise<string> | string;
  /** Where to connect, as of now, with this token: address, position, categories. */
  address(token: string): URL;
  notification(notification: Notification): void;
  status(status: Status): void;
  /** The newest position, told when it is the client's own from now on. */
  startsAt(position: string): void;
  /** Something was missed that will not come. */
  incomplete(): void;
}

type Timer = ReturnType<typeof setTimeout>;

export class Connection {
  readonly #owner: Owner;
  #socket: WebSocket | undefined;
  /** Counts attempts and losses, so that whatever belongs to an earlier one is ignored. */
  #turn = 0;
  #failures = 0;
  #newTokenTried = false;
  #openSince: number | undefined;
  #pause: number | undefined;
  #waiting = false;
  #next: Timer | undefined;
  #pulse: Timer | undefined;
  #doubt: Timer | undefined;
  #renewal: Timer | undefined;

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  /** Makes a connection now, whatever there is. */
  async open(): Promise<void> {
    this.#drop();
    const turn = this.#turn;
    this.#owner.status({ state: "connecting" });
    this.#next = setTimeout(() => this.#later(), OPEN_LIMIT_MS);
    try {
      const token = await this.#owner.token();
      if (turn !== this.#turn) return;
      const offers = [SUBPROTOCOL, TOKEN_PREFIX + token];
      const socket = new WebSocket(this.#owner.address(token), offers);
      socket.onmessage = ({ data }) => {
        if (turn === this.#turn) this.#hear(data);
      };
      socket.onclose = ({ code, reason }) => {
        if (turn === this.#turn) this.#closed(code, reason);
      };
      this.#socket = socket;
    } catch {
      // No token to be had: the app may be as much cut off as we are.
      if (turn === this.#turn) this.#later();
    }
  }

  /** Something happened to the network or the tab: looks at once whether the connection lives. */
  wake(): void {
    if (this.#waiting) void this.open();
    else this.#ask();
  }

  /** The browser says that it is offline, which need not be so for every address. */
  doubt(): void {
    if (this.#waiting) this.#later();
    else this.#ask();
  }

  say(message: ClientMessage): void {
    if (this.#openSince !== undefined) this.#socket?.send(JSON.stringify(message));
  }

  stop(message: string, code?: number): void {
    this.#drop();
    this.#owner.status({ state: "stopped", message, ...(code !== undefined && { code }) });
  }

  #drop(): void {
    this.#turn += 1;
    for (const timer of [this.#next, this.#pulse, this.#doubt, this.#renewal]) clearTimeout(timer);
    this.#doubt = this.#pause = this.#openSince = undefined;
    this.#waiting = false;
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** Tries again after the pause that the gateway named, else after a random one. */
  #later(): void {
    const pause = this.#pause;
    this.#drop();
    const longest = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures, LONGEST_PAUSE_MS);
    this.#failures += 1;
    const wait = pause ?? Math.random() * longest;
    this.#waiting = true;
    const offline = globalThis.navigator?.onLine === false;
    this.#owner.status({ state: "waiting", retryAt: Date.now() + wait, offline });
    this.#next = setTimeout(() => this.open(), wait);
  }

  #closed(code: number, reason: string): void {
    if (this.#openSince !== undefined && Date.now() - this.#openSince >= STEADY_MS) {
      this.#failures = 0;
      this.#newTokenTried = false;
    }
    if (STOP_CODES.includes(code)) return this.stop(readable(reason), code);
    if (!TOKEN_CODES.includes(code)) return this.#later();
    if (this.#newTokenTried) return this.stop(readable(reason), code);
    this.#newTokenTried = true;
    void this.open();
  }

  #hear(text: string): void {
    clearTimeout(this.#doubt);
    this.#doubt = undefined;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.event === STATE_EVENT) this.#state(frame);
    else if (typeof frame.event === "string") this.#owner.notification(frame);
  }

  #state({ data, timestamp }: StateFrame): void {
    switch (data.state) {
      case "authenticated":
        this.#authenticated(data);
        return this.#renewBefore(data.token_expires_at, timestamp);
      case "connected":
        return this.#renewBefore(data.token_expires_at, timestamp);
      case "disconnected":
        this.#pause = data.reconnect_after_ms;
    }
  }

  #authenticated(data: Extract<StateFrame["data"], { state: "authenticated" }>): void {
    clearTimeout(this.#next);
    this.#openSince ??= Date.now();
    clearInterval(this.#pulse);
    this.#pulse = setInterval(() => this.#ask(), data.ping_interval_s * 1000);
    // Who resumes takes the position from the frames that follow; none follow an empty history.
    if (data.resume === "none" || data.last_event_id.startsWith("0-")) {
      this.#owner.startsAt(data.last_event_id);
    }
    this.#owner.status({ state: "open", connectionId: data.connection_id, resume: data.resume });
    if (data.resume === "incomplete") this.#owner.incomplete();
  }

  /** Asks for a sign of life; without one in time the connection is made again. */
  #ask(): void {
    if (this.#openSince === undefined || this.#doubt !== undefined) return;
    this.#doubt = setTimeout(() => this.open(), PULSE_LIMIT_MS);
    this.say({ type: "ping" });
  }

  /** Measures in the gateway's time, as clocks of browsers are often wrong. */
  #renewBefore(expiry: string, now: string): void {
    const left = Date.parse(expiry) - Date.parse(now);
    const early = Math.min(left * RENEWAL_SHARE, EARLIEST_RENEWAL_MS);
    this.#renewIn(left - early, Date.now() + left);
  }

  #renewIn(wait: number, expiry: number): void {
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => this.#renew(expiry), Math.min(wait, LONGEST_TIMER_MS));
  }

  /** An accepted token brings a frame that plans the next renewal; until then it tries again. */
  async #renew(expiry: number): Promise<void> {
    const turn = this.#turn;
    this.#renewIn(Math.max((expiry - Date.now()) / 2, RENEWAL_RETRY_MS), expiry);
    try {
      const token = await this.#owner.token();
      if (turn === this.#turn) this.say({ type: "auth", token });
    } catch {
      // The old token still runs, and the next try is planned.
    }
  }
}

/** The message for people in a close reason, which may be JSON. */
function readable(reason: string): string {
  try {
    return String(JSON.parse(reason).message);
  } catch {
    return reason;
  }
}
