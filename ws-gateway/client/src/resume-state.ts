// The resume position, kept across page loads where storage is available, and the ids of the events
// already delivered, so that none is delivered twice.

/** Where the position is stored; the tab's `sessionStorage` fits. */
export type PositionStorage = Pick<Storage, "getItem" | "setItem">;

/** Returns the tab's `sessionStorage`, unless the browser forbids access. */
export function tabStorage(): PositionStorage | undefined {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}

/** More than the gateway keeps of a user's history. */
const MAX_DELIVERED_IDS = 1024;

export class ResumeState {
  readonly #storage: PositionStorage | undefined;
  readonly #url: string;
  readonly #delivered = new Set<string>();
  #key: string | undefined;
  /** The id of the last notification. */
  position: string | undefined;

  /** Without `user`, the user is the subject of the first token. */
  constructor(url: string, storage: PositionStorage | undefined, user: string | undefined) {
    this.#url = url;
    this.#storage = storage;
    if (user !== undefined) this.#load(user);
  }

  /** Loads the stored position of the token's subject, once. */
  loadFor(token: string): void {
    if (this.#key === undefined) this.#load(subject(token));
  }

  #load(user: string): void {
    this.#key = `live-notifications ${this.#url} ${user}`;
    try {
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
function subject(token: string): string {
  try {
    const claims = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/");
    return String(JSON.parse(atob(claims ?? "")).sub);
  } catch {
    return "";
  }
}
