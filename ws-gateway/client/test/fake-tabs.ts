// What the tabs of one browser share: channels and locks.

/** A message arrives 1 ms later, in order, at all other channels of its name. */
export class FakeChannel {
  static all: FakeChannel[] = [];
  onmessage: ((event: { data: unknown }) => void) | undefined;
  readonly name: string;
  #closed = false;
  /** The messages that a frozen tab has not received yet. */
  #held: unknown[] | undefined;

  constructor(name: string) {
    this.name = name;
    FakeChannel.all.push(this);
  }

  postMessage(data: unknown): void {
    if (this.#closed) throw new Error("closed");
    const others = FakeChannel.all.filter((other) => other !== this && other.name === this.name);
    for (const other of others) setTimeout(() => other.#receive(data), 1);
  }

  close(): void {
    this.#closed = true;
  }

  freeze(): void {
    this.#held = [];
  }

  thaw(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const data of held) this.#receive(data);
  }

  #receive(data: unknown): void {
    if (this.#held) this.#held.push(data);
    else if (!this.#closed) this.onmessage?.({ data });
  }
}

interface LockRequest {
  run: () => Promise<void>;
  resolve: () => void;
  reject: (reason: Error) => void;
}

/** Grants a lock in request order, or at once to a request that steals it. */
export class FakeLocks {
  readonly #holders = new Map<string, LockRequest>();
  readonly #queues = new Map<string, LockRequest[]>();
  /** Set while the holder is frozen and cannot learn that its lock was stolen. */
  #heldRejection: (() => void) | undefined;
  #holderIsFrozen = false;

  freezeHolder(): void {
    this.#holderIsFrozen = true;
  }

  thawHolder(): void {
    this.#holderIsFrozen = false;
    this.#heldRejection?.();
  }

  request(name: string, options: LockOptions, run: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = { run, resolve, reject };
      if (options.steal) {
        const holder = this.#holders.get(name);
        const reject = () => holder?.reject(new Error("stolen"));
        if (this.#holderIsFrozen) this.#heldRejection = reject;
        else reject();
        return this.#grant(name, request);
      }
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, [...queue, request]);
      options.signal?.addEventListener("abort", () => this.#abort(name, request));
      queueMicrotask(() => this.#grantNext(name));
    });
  }

  #abort(name: string, request: LockRequest): void {
    const queue = this.#queues.get(name) ?? [];
    if (!queue.includes(request)) return;
    this.#queues.set(
      name,
      queue.filter((other) => other !== request),
    );
    request.reject(new Error("aborted"));
  }

  #grantNext(name: string): void {
    if (this.#holders.has(name)) return;
    const next = this.#queues.get(name)?.shift();
    if (next) this.#grant(name, next);
  }

  #grant(name: string, request: LockRequest): void {
    this.#holders.set(name, request);
    void request.run().then(() => {
      request.resolve();
      if (this.#holders.get(name) !== request) return;
      this.#holders.delete(name);
      this.#grantNext(name);
    });
  }
}
