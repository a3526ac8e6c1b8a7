// A connection that reconnects. Knows the gateway's frames and close codes; dispatching
// notifications, filters and storage of the position are the handler's task.

import { Backoff } from "./backoff.ts";
import {
  STATE_EVENT,
  STOP_CODES,
  TOKEN_CODES,
  WAIT_CODES,
  type ClientMessage,
  type Notification,
  type State,
  type StateFrame,
} from "./contract.ts";
import { parse } from "./json.ts";
import { Liveness } from "./liveness.ts";
import { Renewal } from "./renewal.ts";
import type { ResumeState } from "./resume-state.ts";
import type { Status } from "./status.ts";
import type { OpenTransport, Transport } from "./transport.ts";

const TOKEN_TIMEOUT_MS = 8_000;
/** Covers connecting and authentication. */
const CONNECT_TIMEOUT_MS = 15_000;
/** An attempt in progress when the tab wakes up may be dead: it gets this much longer at most. The
 * next one keeps its own limit, so that frequent wakes do not prevent a connection. */
const WAKE_TIMEOUT_MS = 5_000;
/** The shortest and the longest delay that a gateway may request. */
const MIN_REQUESTED_DELAY_MS = 500;
const MAX_REQUESTED_DELAY_MS = 60_000;

/** What a connection needs from its client, and what it reports. */
export interface ConnectionHandler {
  readonly openTransport: OpenTransport;
  /** Where the next connection resumes. */
  readonly resume: Pick<ResumeState, "start" | "advance">;
  /** Returns a token that is valid now. */
  token(): Promise<string> | string;
  /** Returns the URL for the next attempt: with position and categories. */
  connectUrl(token: string): URL;
  onNotification(notification: Notification): void;
  onStatus(status: Status): void;
  /** The history no longer reaches back to the client's position. */
  onIncomplete(): void;
  /** The gateway refused, or this tab has no usable token: another tab may have one. */
  onRefused(): void;
  /** The delay before the next attempt is over. */
  onRetryDue(): void;
}

type Timer = ReturnType<typeof setTimeout>;
type Waiting = Extract<Status, { state: "waiting" }>;
type Authenticated = Extract<State, { state: "authenticated" }>;

export class Connection {
  readonly #handler: ConnectionHandler;
  readonly #backoff = new Backoff();
  readonly #liveness = new Liveness(
    () => this.send({ type: "ping" }),
    () => this.open(),
  );
  readonly #renewal = new Renewal(() => this.#renew());
  #transport: Transport | undefined;
  /** Incremented by each attempt and close, so that tokens for earlier attempts are ignored. */
  #attempt = 0;
  #timer: Timer | undefined;
  /** When the attempt in progress is given up. */
  #deadline: number | undefined;
  /** Whether the attempt replaced one that was given up after the tab woke up. */
  #isFresh: boolean | undefined;
  #openSince: number | undefined;
  #waiting: Waiting | undefined;
  #tokenReplaced = false;
  /** `reconnect_after_ms` of the gateway. */
  #requestedDelay: number | undefined;

  constructor(handler: ConnectionHandler) {
    this.#handler = handler;
  }

  /** Connects now; closes the current connection, if any. */
  async open(): Promise<void> {
    this.cancel();
    const attempt = this.#attempt;
    this.#limit(TOKEN_TIMEOUT_MS, () => this.#onTokenTimeout());
    this.#handler.onStatus({ state: "connecting" });
    // A listener may have closed the client.
    if (attempt !== this.#attempt) return;
    let token: string;
    try {
      // What an endpoint returns as text may end with a line break.
      token = (await this.#handler.token()).trim();
    } catch (error) {
      if (attempt === this.#attempt) this.#onLocalFailure(`no token: ${error}`);
      return;
    }
    if (attempt !== this.#attempt) return;
    this.#limit(CONNECT_TIMEOUT_MS, () => this.#onFailure("connection timed out"));
    try {
      this.#transport = this.#handler.openTransport(() => this.#handler.connectUrl(token), token, {
        onFrame: (frame) => this.#onFrame(frame as Partial<StateFrame> | null),
        onClose: (code, reason) => this.#onClose(code, closeMessage(reason)),
      });
    } catch (error) {
      // The browser's message about a token that it refuses contains it.
      this.#onLocalFailure(String(error).replaceAll(token, "…"));
    }
  }

  /** Checks the connection after the network or the tab was suspended; ends a delay. */
  check(): void {
    if (this.#waiting) void this.open();
    else if (this.#openSince !== undefined) this.#liveness.probe();
    else if (this.#deadline !== undefined && !this.#isFresh) {
      this.#limit(Math.min(this.#deadline - Date.now(), WAKE_TIMEOUT_MS), () => {
        if (!this.#transport) return this.#onTokenTimeout();
        void this.open();
        this.#isFresh = true;
      });
    }
  }

  /** Handles the browser's `offline` event: a loopback gateway may still be reachable. */
  checkOffline(): void {
    if (this.#waiting) {
      this.#waiting = { ...this.#waiting, offline: true };
      this.#handler.onStatus(this.#waiting);
    } else if (this.#openSince !== undefined) this.#liveness.probe();
  }

  send(message: ClientMessage): void {
    if (this.#openSince !== undefined) this.#transport?.send(message);
  }

  stop(message: string, code?: number): void {
    this.cancel();
    this.#handler.onStatus({ state: "stopped", message, code });
  }

  /** Closes the connection, or ends the attempt or the delay, without a new status. */
  cancel(): void {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    this.#liveness.stop();
    this.#renewal.stop();
    this.#transport?.close();
    this.#deadline = this.#openSince = this.#requestedDelay = undefined;
    this.#transport = this.#waiting = this.#isFresh = undefined;
  }

  /** Limits the attempt in progress. */
  #limit(ms: number, onTimeout: () => void): void {
    clearTimeout(this.#timer);
    this.#deadline = Date.now() + ms;
    this.#timer = setTimeout(onTimeout, ms);
  }

  #wait(delay: number, message: string, code?: number): void {
    this.cancel();
    this.#timer = setTimeout(() => this.#handler.onRetryDue(), delay);
    const retryAt = Date.now() + delay;
    const offline = globalThis.navigator?.onLine === false;
    this.#waiting = { state: "waiting", retryAt, offline, message, code };
    this.#handler.onStatus(this.#waiting);
  }

  #onFailure(message: string, code?: number): void {
    // An unanswered probe shows that the cause is this client's network, not the end of a gateway.
    const mayConcernAll = this.#openSince !== undefined && !this.#liveness.isProbed;
    this.#wait(this.#requestedDelay ?? this.#backoff.afterFailure(mayConcernAll), message, code);
  }

  #onTokenTimeout(): void {
    this.#onLocalFailure("token timed out");
  }

  /** Handles a failure before the network was used. */
  #onLocalFailure(message: string): void {
    this.#onFailure(message);
    this.#handler.onRefused();
  }

  #onClose(code: number, message: string): void {
    const since = this.#openSince;
    if (since !== undefined && this.#backoff.recordConnection(Date.now() - since)) {
      this.#tokenReplaced = false;
    }
    const isTokenRefused = TOKEN_CODES.includes(code);
    if (isTokenRefused && !this.#tokenReplaced) {
      this.#tokenReplaced = true;
      return void this.open();
    }
    if (STOP_CODES.includes(code)) this.stop(message, code);
    else if (isTokenRefused || WAIT_CODES.includes(code)) {
      this.#wait(this.#backoff.afterRefusal(), message, code);
    } else return this.#onFailure(message || "connection lost", code);
    this.#handler.onRefused();
  }

  #onFrame(frame: Partial<StateFrame> | null): void {
    this.#liveness.confirm();
    if (frame?.event === STATE_EVENT) {
      if (frame.data) this.#onState(frame.data, frame.timestamp ?? "");
    } else if (typeof frame?.event === "string") {
      this.#handler.onNotification(frame as unknown as Notification);
    }
  }

  #onState(data: State, timestamp: string): void {
    const { token_expires_at: expiresAt } = data as Partial<Authenticated>;
    if (expiresAt) this.#renewal.schedule(expiresAt, timestamp);
    switch (data.state) {
      case "authenticated":
        return this.#onAuthenticated(data);
      case "position":
        return this.#handler.resume.advance(data.last_event_id);
      case "disconnected":
        if (data.reconnect_after_ms >= 0) {
          const delay = Math.max(data.reconnect_after_ms, MIN_REQUESTED_DELAY_MS);
          this.#requestedDelay = Math.min(delay, MAX_REQUESTED_DELAY_MS);
        }
    }
  }

  #onAuthenticated(read: Authenticated): void {
    const { resume, connection_id: connectionId } = read;
    clearTimeout(this.#timer);
    this.#deadline = undefined;
    this.#openSince ??= Date.now();
    this.#liveness.start(read.ping_interval_s);
    if (resume !== "complete") this.#handler.resume.start(read.last_event_id);
    const transport = this.#transport?.name;
    this.#handler.onStatus({ state: "open", connectionId, resume, transport, read });
    if (resume === "incomplete") this.#handler.onIncomplete();
  }

  /** Sends a new token. Without one, the current one stays valid until the next scheduled try. */
  async #renew(): Promise<void> {
    const attempt = this.#attempt;
    try {
      const token = (await this.#handler.token()).trim();
      if (attempt === this.#attempt) this.send({ type: "auth", token });
    } catch {}
  }
}

/** Returns the message of a close reason, which may be JSON. */
function closeMessage(reason: string): string {
  const parsed = parse(reason) as { message?: unknown } | null | undefined;
  return String(parsed?.message ?? reason);
}
