// How long to wait before the next attempt to connect.

/** After a failed attempt: full jitter, doubling with each failure. */
const INITIAL_FAILURE_MS = 500;
const MAX_FAILURE_MS = 20_000;
/** After an open connection ended without advice of the gateway, which may have been killed: its
 * 10,000 clients return at a rate of 1,000 a second, which another gateway accepts by default
 * (`MAX_HANDSHAKES_PER_SECOND`). */
const LOST_SPREAD_MS = 10_000;
/** After the gateway refused: half jitter, doubling with each refusal. */
const INITIAL_REFUSAL_MS = 2_000;
const MAX_REFUSAL_MS = 300_000;
/** A connection that lasts this long resets the delay after failures. */
const STABLE_AFTER_MS = 1_000;
/** A connection that lasts this long resets the delay after refusals: with `evict_oldest`, clients
 * above the limit would otherwise replace each other every few seconds. */
const ACCEPTED_AFTER_MS = MAX_REFUSAL_MS;

export class Backoff {
  #failures = 0;
  #refusals = 0;

  /** Records that an open connection ended; returns whether it was stable. */
  recordConnection(lastedMs: number): boolean {
    if (lastedMs >= ACCEPTED_AFTER_MS) this.#refusals = 0;
    if (lastedMs < STABLE_AFTER_MS) return false;
    this.#failures = 0;
    return true;
  }

  /** Returns the delay after an attempt failed, or after the loss of an open connection, which may
   * concern all clients of a gateway. */
  afterFailure(mayConcernAll: boolean): number {
    const longest = Math.min(INITIAL_FAILURE_MS * 2 ** this.#failures, MAX_FAILURE_MS);
    this.#failures += 1;
    return Math.random() * (mayConcernAll ? Math.max(longest, LOST_SPREAD_MS) : longest);
  }

  /** Returns the delay after the gateway refused the token or the connection. */
  afterRefusal(): number {
    const longest = Math.min(INITIAL_REFUSAL_MS * 2 ** this.#refusals, MAX_REFUSAL_MS);
    this.#refusals += 1;
    return (longest * (1 + Math.random())) / 2;
  }
}
