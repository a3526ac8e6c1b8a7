// The resume position, kept across page loads where storage is available, and the ids of the events
// already delivered, so that none is delivered twice.

/** Where the position is stored; the tab's `sessionStorage` fits. */
export type PositionStorage = Pick<Storage, "getItem" | "setItem">;

/** More than the gateway keeps of a user's history. */
const MAX_DELIVERED_IDS = 1024;

export class ResumeState {
  #storage: PositionStorage | null | undefined;
  readonly #delivered = new Set<string>();
  #key: string | undefined;
  /** The id of the last notification. */
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

  setPosition(position: string): void {
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
      for (const oldest of this.#delivered) {
        this.#delivered.delete(oldest);
        break;
      }
    }
    return true;
  }
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
