// One WebSocket that reconnects. Knows the gateway's frames and close codes; dispatching
// notifications, filters and storage of the position are the handler's task.

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

/** Back-off with full jitter: doubles with each failed attempt, up to the maximum. */
const INITIAL_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 20_000;
/** Covers fetching the token, connecting and authentication. */
const CONNECT_TIMEOUT_MS = 15_000;
const PONG_TIMEOUT_MS = 5_000;
/** A connection that lasts this long resets the back-off. */
const STABLE_AFTER_MS = 1_000;
/** A token is renewed when a fifth of its lifetime is left, at most a minute before it expires. */
const RENEWAL_FRACTION = 0.2;
const MAX_RENEWAL_LEAD_MS = 60_000;
const MIN_RENEWAL_RETRY_MS = 1_000;
/** The longest delay that `setTimeout` supports. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** What a connection needs from its client, and what it reports. */
export interface ConnectionHandler {
  /** Returns a token that is valid now. */
  token(): Promise<string> | string;
  /** Returns the URL for the next attempt: with position and categories. */
  connectUrl(token: string): URL;
  onNotification(notification: Notification): void;
  onStatus(status: Status): void;
  /** The position to resume from while no notification has arrived. */
  onStartPosition(position: string): void;
  /** The history no longer reaches back to the client's position. */
  onIncomplete(): void;
}

type Timer = ReturnType<typeof setTimeout>;

export class Connection {
  readonly #handler: ConnectionHandler;
  #socket: WebSocket | undefined;
  /** Incremented by each attempt and close, so that callbacks of earlier sockets are ignored. */
  #generation = 0;
  #failures = 0;
  #tokenReplaced = false;
  #authenticatedAt: number | undefined;
  /** `reconnect_after_ms` of the gateway. */
  #requestedDelay: number | undefined;
  #waiting = false;
  #attemptTimer: Timer | undefined;
  #pingTimer: Timer | undefined;
  #pongTimer: Timer | undefined;
  #renewalTimer: Timer | undefined;

  constructor(handler: ConnectionHandler) {
    this.#handler = handler;
  }

  /** Connects now; closes the current socket, if any. */
  async open(): Promise<void> {
    this.#reset();
    const generation = this.#generation;
    this.#handler.onStatus({ state: "connecting" });
    this.#attemptTimer = setTimeout(() => this.#scheduleRetry(), CONNECT_TIMEOUT_MS);
    try {
      const token = await this.#handler.token();
      if (generation !== this.#generation) return;
      const subprotocols = [SUBPROTOCOL, TOKEN_PREFIX + token];
      const socket = new WebSocket(this.#handler.connectUrl(token), subprotocols);
      socket.onmessage = ({ data }) => {
        if (generation === this.#generation) this.#onMessage(data);
      };
      socket.onclose = ({ code, reason }) => {
        if (generation === this.#generation) this.#onClose(code, reason);
      };
      this.#socket = socket;
    } catch {
      // Without a token, as without a network: retry.
      if (generation === this.#generation) this.#scheduleRetry();
    }
  }

  /** Retries now, or pings an open connection: after the network or the tab was suspended. */
  check(): void {
    if (this.#waiting) void this.open();
    else this.#ping();
  }

  /** Handles the browser's `offline` event: a loopback gateway may still be reachable. */
  checkOffline(): void {
    if (this.#waiting) this.#scheduleRetry();
    else this.#ping();
  }

  send(message: ClientMessage): void {
    if (this.#authenticatedAt !== undefined) this.#socket?.send(JSON.stringify(message));
  }

  stop(message: string, code?: number): void {
    this.#reset();
    this.#handler.onStatus({ state: "stopped", message, ...(code !== undefined && { code }) });
  }

  #reset(): void {
    this.#generation += 1;
    const timers = [this.#attemptTimer, this.#pingTimer, this.#pongTimer, this.#renewalTimer];
    for (const timer of timers) clearTimeout(timer);
    this.#pongTimer = this.#requestedDelay = this.#authenticatedAt = undefined;
    this.#waiting = false;
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** Retries after the delay that the gateway requested, else after a random back-off. */
  #scheduleRetry(): void {
    const requested = this.#requestedDelay;
    this.#reset();
    const backoff = Math.min(INITIAL_BACKOFF_MS * 2 ** this.#failures, MAX_BACKOFF_MS);
    this.#failures += 1;
    const delay = requested ?? Math.random() * backoff;
    this.#waiting = true;
    const offline = globalThis.navigator?.onLine === false;
    this.#handler.onStatus({ state: "waiting", retryAt: Date.now() + delay, offline });
    this.#attemptTimer = setTimeout(() => this.open(), delay);
  }

  #onClose(code: number, reason: string): void {
    if (this.#authenticatedAt !== undefined && Date.now() - this.#authenticatedAt >= STABLE_AFTER_MS) {
      this.#failures = 0;
      this.#tokenReplaced = false;
    }
    if (STOP_CODES.includes(code)) return this.stop(closeMessage(reason), code);
    if (!TOKEN_CODES.includes(code)) return this.#scheduleRetry();
    if (this.#tokenReplaced) return this.stop(closeMessage(reason), code);
    this.#tokenReplaced = true;
    void this.open();
  }

  #onMessage(text: string): void {
    clearTimeout(this.#pongTimer);
    this.#pongTimer = undefined;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.event === STATE_EVENT) this.#onState(frame);
    else if (typeof frame.event === "string") this.#handler.onNotification(frame);
  }

  #onState({ data, timestamp }: StateFrame): void {
    switch (data.state) {
      case "authenticated":
        this.#onAuthenticated(data);
        return this.#scheduleRenewal(data.token_expires_at, timestamp);
      case "connected":
        return this.#scheduleRenewal(data.token_expires_at, timestamp);
      case "disconnected":
        this.#requestedDelay = data.reconnect_after_ms;
    }
  }

  #onAuthenticated(data: Extract<StateFrame["data"], { state: "authenticated" }>): void {
    clearTimeout(this.#attemptTimer);
    this.#authenticatedAt ??= Date.now();
    clearInterval(this.#pingTimer);
    this.#pingTimer = setInterval(() => this.#ping(), data.ping_interval_s * 1000);
    // A resuming client takes its position from the frames that follow; an empty history has none.
    if (data.resume === "none" || data.last_event_id.startsWith("0-")) {
      this.#handler.onStartPosition(data.last_event_id);
    }
    this.#handler.onStatus({ state: "open", connectionId: data.connection_id, resume: data.resume });
    if (data.resume === "incomplete") this.#handler.onIncomplete();
  }

  /** Sends a ping; reconnects unless any frame arrives within the timeout. */
  #ping(): void {
    if (this.#authenticatedAt === undefined || this.#pongTimer !== undefined) return;
    this.#pongTimer = setTimeout(() => this.open(), PONG_TIMEOUT_MS);
    this.send({ type: "ping" });
  }

  /** Uses the gateway's clock, as browser clocks are often wrong. */
  #scheduleRenewal(expiresAt: string, gatewayTime: string): void {
    const lifetime = Date.parse(expiresAt) - Date.parse(gatewayTime);
    const lead = Math.min(lifetime * RENEWAL_FRACTION, MAX_RENEWAL_LEAD_MS);
    this.#setRenewalTimer(lifetime - lead, Date.now() + lifetime);
  }

  #setRenewalTimer(delay: number, expiry: number): void {
    clearTimeout(this.#renewalTimer);
    this.#renewalTimer = setTimeout(() => this.#renew(expiry), Math.min(delay, MAX_TIMER_MS));
  }

  /** Sends a new token, and schedules a retry that the gateway's confirmation replaces. */
  async #renew(expiry: number): Promise<void> {
    const generation = this.#generation;
    this.#setRenewalTimer(Math.max((expiry - Date.now()) / 2, MIN_RENEWAL_RETRY_MS), expiry);
    try {
      const token = await this.#handler.token();
      if (generation === this.#generation) this.send({ type: "auth", token });
    } catch {
      // The current token is still valid, and the retry is scheduled.
    }
  }
}

/** Returns the message of a close reason, which may be JSON. */
function closeMessage(reason: string): string {
  try {
    return String(JSON.parse(reason).message);
  } catch {
    return reason;
  }
}
