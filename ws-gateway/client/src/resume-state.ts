// The resume position, kept across page loads where storage is available, and the ids of the events
// already delivered, so that none is delivered twice.

/** Where the position is stored; the tab's `sessionStorage` fits. */
export type PositionStorage = Pick<Storage, "getItem" | "setItem">;

/** More than the gateway keeps of a user's history. */
const MAX_DELIVERED_IDS = 1024;
/** `<ms>-<seq>`, the id of an entry of a Redis stream. */
const POSITION = /^\d{1,20}-\d{1,20}$/;

export class ResumeState {
  #storage: PositionStorage | null | undefined;
  readonly #delivered = new Set<string>();
  #key: string | undefined;
  /** Where the next connection resumes. */
  position: string | undefined;

  /** Stores nothing if `storage` is `null`, and in the tab's `sessionStorage` if it is missing. */
  constructor(storage: PositionStorage | null | undefined) {
    this.#storage = storage;
  }

  /** Loads the position that is stored under a key for a gateway and user, once. */
  load(key: string): void {
    if (this.#key !== undefined) return;
    this.#key = key;
    try {
      if (this.#storage === undefined) this.#storage = globalThis.sessionStorage;
      this.position ??= this.#storage?.getItem(this.#key) ?? undefined;
    } catch {
      // Forbidden by the browser: a page load starts without a position.
    }
  }

  /** Takes the newest position of a history that did not, or not completely, resume. */
  start(newest: string): void {
    // Only moves back: frames follow, or their position, and move it forward.
    const { position } = this;
    if (!position || order(position) > order(newest)) this.setPosition(newest);
  }

  /** Moves the position forward, to the id of a notification. */
  advance(id: string | undefined): void {
    if (order(this.position) < order(id)) this.setPosition(id);
  }

  /** Ignores a text that is not a position. */
  setPosition(position = ""): void {
    if (!POSITION.test(position)) return;
    this.position = position;
    try {
      if (this.#key !== undefined) this.#storage?.setItem(this.#key, position);
    } catch {
      // Forbidden, or the storage is full.
    }
  }

  /** Records the id; returns false if it was recorded before. */
  isFirstDelivery(id: string): boolean {
    if (this.#delivered.has(id)) return false;
    this.#delivered.add(id);
    if (this.#delivered.size > MAX_DELIVERED_IDS) {
      const [oldest = ""] = this.#delivered;
      this.#delivered.delete(oldest);
    }
    return true;
  }
}

/** Returns a text that compares as positions do: each number has 20 digits; lowest without one. */
export function order(position = ""): string {
  return String(position).replace(/\d+/g, (digits) => digits.padStart(20, "0"));
}

/** Returns the `sub` claim of an unverified token; empty if the token cannot be parsed. */
export function subject(token: string): string {
  try {
    const claims = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/");
    return String(JSON.parse(atob(claims ?? "")).sub);
  } catch {
    return "";
  }
}
