// What a client remembers: its position, across page loads if there is a storage, and what it has
// told, so that nothing is told twice.

/** Where to keep the position; the tab's `sessionStorage` does. */
export type Store = Pick<Storage, "getItem" | "setItem">;

/** The tab's own, where the browser does not forbid it. */
export function tabStorage(): Store | undefined {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}

/** More than the gateway keeps for a user to resume from. */
const REMEMBERED = 1024;

export class Memory {
  readonly #store: Store | undefined;
  readonly #url: string;
  readonly #told = new Set<string>();
  #key: string | undefined;
  /** The id of the last notification. */
  position: string | undefined;

  /** Of `user`, if that is known; else of the user that the first token is for. */
  constructor(url: string, store: Store | undefined, user: string | undefined) {
    this.#url = url;
    this.#store = store;
    if (user !== undefined) this.#recall(user);
  }

  /** Takes up the position of the user that a token is for. */
  recall(token: string): void {
    if (this.#key === undefined) this.#recall(subject(token));
  }

  #recall(user: string): void {
    this.#key = `live-notifications ${this.#url} ${user}`;
    try {
      this.position ??= this.#store?.getItem(this.#key) ?? undefined;
    } catch {
      // A browser may forbid it; then a page load starts anew.
    }
  }

  moveTo(position: string): void {
    this.position = position;
    try {
      if (this.#key !== undefined) this.#store?.setItem(this.#key, position);
    } catch {
      // As above, or it is full.
    }
  }

  /** Whether this is told for the first time. */
  isNew(id: string): boolean {
    if (this.#told.has(id)) return false;
    this.#told.add(id);
    if (this.#told.size > REMEMBERED) {
      for (const oldest of this.#told) {
        this.#told.delete(oldest);
        break;
      }
    }
    return true;
  }
}

/** Whom a token is for; it is not checked here, and need not be readable. */
function subject(token: string): string {
  try {
    const claims = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/");
    return String(JSON.parse(atob(claims ?? "")).sub);
  } catch {
    return "";
  }
}
