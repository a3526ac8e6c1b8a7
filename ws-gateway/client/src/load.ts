// Loads a page's own state without a race between it and notifications.

import type { Client } from "./client.ts";
import type { Notification } from "./contract.ts";
import type { Unsubscribe } from "./listeners.ts";

/** The delays after a state could not be fetched. */
const INITIAL_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** More notifications are not kept while the state is fetched: another fetch contains them. */
const MAX_PENDING = 1024;

/** What a page does with its state and what follows it. */
export interface LoadHandler<S> {
  /** Fetches the state through the API. */
  fetchState(): Promise<S> | S;
  /** Replaces the state. */
  onState(state: S): void;
  /** Applies a notification that the state may not contain yet: in order, each once. */
  onNotification(notification: Notification): void;
}

/**
 * Fetches the state once the client knows its position, and applies every notification after it;
 * both again when notifications were lost. Starts the client. Returns how to stop.
 */
export function load<S>(client: Client, handler: LoadHandler<S>): Unsubscribe {
  /** Notifications since the position from which the state is fetched; none once it is there. */
  let pending: Notification[] | undefined = [];
  let isKnown = false;
  /** Incremented with each fetch, so that earlier ones are ignored. */
  let turn = 0;
  let failures = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function fetchState(): Promise<void> {
    clearTimeout(timer);
    const current = ++turn;
    pending ??= [];
    try {
      const state = await handler.fetchState();
      if (current !== turn) return;
      failures = 0;
      handler.onState(state);
      const missed = pending;
      pending = undefined;
      missed.forEach((notification) => handler.onNotification(notification));
    } catch (error) {
      if (current !== turn) return;
      globalThis.reportError?.(error);
      const longest = Math.min(INITIAL_RETRY_MS * 2 ** failures++, MAX_RETRY_MS);
      timer = setTimeout(fetchState, Math.random() * longest);
    }
  }

  const subscriptions = [
    client.onAny((notification) => {
      if (!pending) handler.onNotification(notification);
      else if (pending.push(notification) > MAX_PENDING) {
        pending = [];
        void fetchState();
      }
    }),
    client.onIncomplete(() => {
      isKnown = true;
      void fetchState();
    }),
    client.onStatus(({ state }) => {
      if (isKnown || state !== "open") return;
      isKnown = true;
      void fetchState();
    }),
  ];
  return () => {
    turn += 1;
    clearTimeout(timer);
    subscriptions.forEach((unsubscribe) => unsubscribe());
  };
}
