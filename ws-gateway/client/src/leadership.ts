// Elects one leader among the tabs of a browser: the tab that holds a Web Lock.

/** What an election reports to its tab. */
export interface LeadershipHandler {
  /** This tab has become the leader. */
  onElected(): void;
  /** Another tab has taken the leadership from this one, which did not answer. */
  onDeposed(): void;
  /** The page may not use Web Locks, as in a sandboxed frame. */
  onDenied(): void;
}

export class Leadership {
  readonly #name: string;
  readonly #handler: LeadershipHandler;
  /** The request that is queued or granted. */
  #request: AbortController | undefined;
  #release: (() => void) | undefined;

  constructor(name: string, handler: LeadershipHandler) {
    this.#name = name;
    this.#handler = handler;
  }

  get isLeader(): boolean {
    return this.#release !== undefined;
  }

  /** Whether this tab becomes the leader when there is no other. */
  get isCandidate(): boolean {
    return this.#request !== undefined;
  }

  /** Becomes a candidate. */
  join(): void {
    if (!this.isCandidate) void this.#lock({});
  }

  /** Takes the leadership from a tab that does not answer. */
  seize(): void {
    if (this.isLeader) return;
    this.#request?.abort();
    void this.#lock({ steal: true });
  }

  /** Gives up leadership and candidacy. */
  resign(): void {
    const release = this.#release;
    this.#request?.abort();
    this.#request = this.#release = undefined;
    release?.();
  }

  async #lock(options: LockOptions): Promise<void> {
    const request = (this.#request = new AbortController());
    const { signal } = request;
    const hold = () =>
      new Promise<void>((release) => {
        if (signal.aborted) return release();
        this.#release = release;
        this.#handler.onElected();
      });
    try {
      // A request that takes the lock waits for no other, and excludes a signal.
      await navigator.locks.request(this.#name, options.steal ? options : { signal }, hold);
    } catch {
      if (signal.aborted) return;
      const wasLeader = this.isLeader;
      this.#request = this.#release = undefined;
      if (wasLeader) this.#handler.onDeposed();
      else this.#handler.onDenied();
    }
  }
}
