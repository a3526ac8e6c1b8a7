// Falls back to the next transport where a network does not let the better one through.

import type { ClientMessage } from "./contract.ts";
import { eventStream } from "./event-stream.ts";
import { LOST } from "./http.ts";
import { longPoll } from "./long-poll.ts";
import type { OpenTransport, Transport, TransportEvents, TransportName } from "./transport.ts";
import { webSocket } from "./websocket.ts";

/** How long a transport may show no life: half as long after one that showed none, so that both fit
 * into the 5 s in which a page behind a proxy should show its first notification. */
const LIFE_TIMEOUT_MS = 3_000;
/** After this many failures without life, the next transport is tried. */
const MAX_FAILURES = 2;
/** How long the better transports are not tried after another one worked. */
const BETTER_AFTER_MS = 600_000;
/** The same after the loss of a better one that had worked, twice as long each time: a gateway that
 * refuses for now looks like a network that lets no WebSocket through. */
const RETURN_AFTER_MS = 30_000;
/** How long an attempt continues where the one before was cut off. */
const CONTINUE_MS = 15_000;
const STORAGE_KEY = "live-notifications transport";

/** Which transport to begin with, until when. */
interface Start {
  index: number;
  until: number;
}

/** Which transport worked, for the session where storage is available; until the better ones are
 * tried again. */
interface Memory extends Start {
  /** How long they were not tried the last time. */
  pause: number;
}

/** What outlives an attempt to connect. */
interface LadderState {
  memory: Memory;
  /** Where an attempt is that has neither shown life nor failed. */
  progress: Start;
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
    state ??= { memory: recall(), progress: { index: 0, until: 0 }, failures: 0 };
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
    const starts: Start[] = [state.progress, state.memory];
    const start = starts.find(({ until }) => Date.now() < until);
    this.#open(start && start.index < transports.length ? start.index : 0);
  }

  get name(): TransportName {
    return this.#current?.name ?? "websocket";
  }

  send(message: ClientMessage): void {
    if (message.type === "auth") this.#token = message.token;
    if (this.#isAlive) this.#current?.send(message);
    // The attempt in progress carries the previous filter.
    else if (message.type === "filter") this.#open(this.#state.progress.index);
  }

  close(): void {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#current?.close();
  }

  #open(index: number, limit = LIFE_TIMEOUT_MS): void {
    this.close();
    this.#state.progress = { index, until: Date.now() + CONTINUE_MS };
    const turn = this.#turn;
    const isCurrent = () => turn === this.#turn;
    const next = index + 1 < this.#transports.length ? index + 1 : undefined;
    this.#isAlive = false;
    if (next !== undefined) this.#timer = setTimeout(() => this.#giveUp(next), limit);
    try {
      this.#current = this.#transports[index]?.(this.#url, this.#token, {
        // Other bytes are no sign: a proxy may forward the first ones and hold back the rest.
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
    this.#open(next, LIFE_TIMEOUT_MS / 2);
  }

  #onAlive(index: number): void {
    if (this.#isAlive) return;
    this.#isAlive = true;
    this.#state.failures = this.#state.progress.until = 0;
    clearTimeout(this.#timer);
    const { memory } = this.#state;
    if (memory.index !== index || memory.until <= Date.now()) {
      const pause = pauseAfter(memory, index);
      remember((this.#state.memory = { index, until: Date.now() + pause, pause }));
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
    this.#state.progress.until = 0;
    if (!this.#isAlive && code === LOST && next !== undefined) {
      this.#state.failures += 1;
      if (this.#state.failures >= MAX_FAILURES) return this.#open(next);
    } else {
      // The gateway has answered, or no transport works: the network is not the cause.
      this.#state.failures = 0;
    }
    this.#events.onClose(code, reason);
  }
}

/** Returns how long the transports better than `index`, which works now, are not tried. */
function pauseAfter(memory: Memory, index: number): number {
  if (memory.index === index) return Math.min(2 * memory.pause, BETTER_AFTER_MS);
  return memory.index < index ? RETURN_AFTER_MS : BETTER_AFTER_MS;
}

function recall(): Memory {
  try {
    const [index, until, pause] = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "");
    return { index, until, pause };
  } catch {
    // Nothing has worked so far, or storage is forbidden.
    return { index: Infinity, until: 0, pause: BETTER_AFTER_MS };
  }
}

function remember({ index, until, pause }: Memory): void {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify([index, until, pause]));
  } catch {
    // Forbidden, or outside a browser.
  }
}
