// Falls back to the next transport where a network does not let the better one through.

import type { ClientMessage } from "./contract.ts";
import { eventStream } from "./event-stream.ts";
import { LOST } from "./http.ts";
import { longPoll } from "./long-poll.ts";
import type { OpenTransport, Transport, TransportEvents, TransportName } from "./transport.ts";
import { webSocket } from "./websocket.ts";

/** How long a transport may show no life. Two of them fit into the 5 s in which a page behind a
 * proxy should show its first notification, if one fails at once. */
const LIFE_TIMEOUT_MS = 3_000;
/** After this many failures without life, the next transport is tried. */
const MAX_FAILURES = 2;
/** How long the better transports are not tried after another one worked. */
const BETTER_AFTER_MS = 600_000;
const STORAGE_KEY = "live-notifications transport";

/** Which transport worked, for the session where storage is available. */
interface Memory {
  index: number;
  /** When the better ones are tried again. */
  until: number;
}

/** What outlives an attempt to connect. */
interface LadderState {
  memory: Memory;
  /** How often in a row a transport ended without life. */
  failures: number;
}

/**
 * Returns a transport that uses the first of `transports`, best first, that the network lets
 * through: by default a WebSocket, an event stream or long polls.
 */
export function ladder(
  transports: readonly OpenTransport[] = [webSocket, eventStream, longPoll],
): OpenTransport {
  let state: LadderState | undefined;
  return (url, token, events) => {
    state ??= { memory: recall(), failures: 0 };
    return new Ladder(transports, state, url, token, events);
  };
}

class Ladder implements Transport {
  readonly #transports: readonly OpenTransport[];
  readonly #state: LadderState;
  readonly #url: () => URL;
  readonly #events: TransportEvents;
  #token: string;
  #current: Transport | undefined;
  #isAlive = false;
  /** Incremented with each transport, so that events of earlier ones are ignored. */
  #turn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    transports: readonly OpenTransport[],
    state: LadderState,
    url: () => URL,
    token: string,
    events: TransportEvents,
  ) {
    this.#transports = transports;
    this.#state = state;
    this.#url = url;
    this.#token = token;
    this.#events = events;
    const { index, until } = state.memory;
    this.#open(Date.now() < until && index < transports.length ? index : 0);
  }

  get name(): TransportName {
    return this.#current?.name ?? "websocket";
  }

  send(message: ClientMessage): void {
    if (message.type === "auth") this.#token = message.token;
    if (this.#isAlive) this.#current?.send(message);
  }

  close(): void {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#current?.close();
  }

  #open(index: number): void {
    this.close();
    const turn = this.#turn;
    const isCurrent = () => turn === this.#turn;
    const next = index + 1 < this.#transports.length ? index + 1 : undefined;
    this.#isAlive = false;
    if (next !== undefined) this.#timer = setTimeout(() => this.#giveUp(next), LIFE_TIMEOUT_MS);
    try {
      this.#current = this.#transports[index]?.(this.#url, this.#token, {
        onAlive: () => isCurrent() && this.#onAlive(index),
        onFrame: (frame) => {
          if (isCurrent()) this.#onAlive(index);
          if (isCurrent()) this.#events.onFrame(frame);
        },
        onClose: (code, reason) => isCurrent() && this.#onClose(code, reason, next),
      });
    } catch (error) {
      if (next === undefined) throw error;
      this.#open(next);
    }
  }

  #giveUp(next: number): void {
    this.#state.failures += 1;
    this.#open(next);
  }

  #onAlive(index: number): void {
    if (this.#isAlive) return;
    this.#isAlive = true;
    this.#state.failures = 0;
    clearTimeout(this.#timer);
    const { memory } = this.#state;
    if (memory.index !== index || memory.until <= Date.now()) {
      remember((this.#state.memory = { index, until: Date.now() + BETTER_AFTER_MS }));
    }
    if (index === 0) return;
    const left = this.#state.memory.until - Date.now();
    this.#timer = setTimeout(() => this.#tryBetter(), left);
  }

  #tryBetter(): void {
    // The network is up: one failure is enough.
    this.#state.failures = MAX_FAILURES - 1;
    this.#open(0);
  }

  #onClose(code: number, reason: string, next: number | undefined): void {
    clearTimeout(this.#timer);
    if (!this.#isAlive && code === LOST) {
      this.#state.failures += 1;
      if (this.#state.failures >= MAX_FAILURES && next !== undefined) return this.#open(next);
    }
    this.#events.onClose(code, reason);
  }
}

function recall(): Memory {
  try {
    const [index = 0, until = 0] = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]");
    return { index, until };
  } catch {
    return { index: 0, until: 0 };
  }
}

function remember({ index, until }: Memory): void {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify([index, until]));
  } catch {
    // Forbidden, or outside a browser.
  }
}
