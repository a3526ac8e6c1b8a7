// Detects a half-open connection: pings at an interval and on demand.

const PONG_TIMEOUT_MS = 5_000;
/** Applies if the gateway does not state a valid interval. */
const DEFAULT_PING_INTERVAL_S = 30;
/** Timers fire at once if their delay exceeds 2^31 ms. */
const MAX_PING_INTERVAL_S = 1e6;

export class Liveness {
  readonly #ping: () => void;
  readonly #onTimeout: () => void;
  #pingTimer: ReturnType<typeof setInterval> | undefined;
  #pongTimer: ReturnType<typeof setTimeout> | undefined;
  #isProbed = false;

  constructor(ping: () => void, onTimeout: () => void) {
    this.#ping = ping;
    this.#onTimeout = onTimeout;
  }

  start(intervalSeconds: number): void {
    clearInterval(this.#pingTimer);
    const stated = intervalSeconds >= 1 ? intervalSeconds : DEFAULT_PING_INTERVAL_S;
    const seconds = Math.min(stated, MAX_PING_INTERVAL_S);
    this.#pingTimer = setInterval(() => this.#sendPing(), seconds * 1000);
  }

  /** Pings because the network or the page was suspended. */
  probe(): void {
    this.#isProbed = true;
    this.#sendPing();
  }

  /** Whether nothing has arrived since a probe. */
  get isProbed(): boolean {
    return this.#isProbed;
  }

  /** Sends a ping; the connection has timed out unless any frame arrives in time. */
  #sendPing(): void {
    if (this.#pongTimer !== undefined) return;
    this.#pongTimer = setTimeout(this.#onTimeout, PONG_TIMEOUT_MS);
    this.#ping();
  }

  /** Records that a frame has arrived. */
  confirm(): void {
    this.#isProbed = false;
    clearTimeout(this.#pongTimer);
    this.#pongTimer = undefined;
  }

  stop(): void {
    clearInterval(this.#pingTimer);
    this.confirm();
  }
}
