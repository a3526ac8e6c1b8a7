// Elects one leader among the tabs of a browser: the tab that holds a Web Lock.

/** A tab that may be elected. */
export abstract class Candidate {
  readonly #name: string;
  /** The request that is queued or granted. */
  #request: AbortController | undefined;
  #release: (() => void) | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** This tab has become the leader. */
  protected abstract onElected(): void;

  /** Another tab has taken the leadership from this one, which did not answer. */
  protected abstract onDeposed(): void;

  /** The page may not use Web Locks, as in a sandboxed frame. */
  protected abstract onDenied(): void;

  get isLeader(): boolean {
    return this.#release !== undefined;
  }

  /** Whether this tab becomes the leader when there is no other. */
  get isCandidate(): boolean {
    return this.#request !== undefined;
  }

  /** Becomes a candidate. */
  join(): void {
    if (!this.isCandidate) void this.#lock(false);
  }

  /** Takes the leadership from another tab, which does not answer. */
  seize(): void {
    this.#request?.abort();
    void this.#lock(true);
  }

  /** Gives up leadership and candidacy. */
  resign(): void {
    this.#request?.abort();
    this.#release?.();
    this.#request = this.#release = undefined;
  }

  async #lock(steal: boolean): Promise<void> {
    const request = (this.#request = new AbortController());
    const { signal } = request;
    const hold = () =>
      new Promise<void>((release) => {
        if (signal.aborted) return release();
        this.#release = release;
        this.onElected();
      });
    try {
      // A request that takes the lock waits for no other, and excludes a signal.
      await navigator.locks.request(this.#name, steal ? { steal } : { signal }, hold);
    } catch {
      if (signal.aborted) return;
      const wasLeader = this.isLeader;
      this.#request = this.#release = undefined;
      if (wasLeader) this.onDeposed();
      else this.onDenied();
    }
  }
}
