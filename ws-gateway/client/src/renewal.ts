// Schedules the renewal of the token on an open connection.

/** A token is renewed when a fifth of its lifetime is left, at most a minute before it expires. */
const RENEWAL_FRACTION = 0.2;
const MAX_RENEWAL_LEAD_MS = 60_000;
/** Bounds the calls of `token()` when it returns a cached token that is about to expire. */
const MIN_RENEWAL_INTERVAL_MS = 2_000;
/** Eleven days: `setTimeout` supports no more than 24. */
const MAX_TIMER_MS = 1e9;

export class Renewal {
  readonly #renew: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(renew: () => void) {
    this.#renew = renew;
  }

  /** Replaces the schedule. Uses the gateway's clock, as browser clocks are often wrong. */
  schedule(expiresAt: string, gatewayTime: string): void {
    const lifetime = Date.parse(expiresAt) - Date.parse(gatewayTime);
    const lead = Math.min(lifetime * RENEWAL_FRACTION, MAX_RENEWAL_LEAD_MS);
    this.#set(lifetime - lead, Date.now() + lifetime);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #set(delay: number, expiry: number): void {
    this.stop();
    // Without a valid expiry, the gateway's close asks for the next token.
    if (Number.isNaN(delay)) return;
    const bounded = Math.min(Math.max(delay, MIN_RENEWAL_INTERVAL_MS), MAX_TIMER_MS);
    this.#timer = setTimeout(() => {
      // The next try; the gateway's confirmation replaces it.
      this.#set((expiry - Date.now()) / 2, expiry);
      this.#renew();
    }, bounded);
  }
}
