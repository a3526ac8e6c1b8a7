// A client under test with fake sockets, clock and randomness.

import { vi } from "vitest";
import { connect, type Client, type Options, type Status } from "../src/index.ts";

/** The longest delay after an open connection was lost. */
export const LOST_SPREAD_MS = 10_000;

export class FakeSocket {
  static all: FakeSocket[] = [];
  readonly url: URL;
  readonly protocols: string[];
  readonly sent: Record<string, unknown>[] = [];
  closed = false;
  /** False simulates a half-open connection. */
  answersPings = true;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  constructor(url: URL, protocols: string[]) {
    this.url = new URL(url);
    this.protocols = protocols;
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    const message = JSON.parse(text);
    this.sent.push(message);
    if (message.type === "ping" && this.answersPings) this.receives({ type: "pong" });
  }

  close(): void {
    this.closed = true;
  }

  /** Simulates the end of the handshake. */
  opens(): void {
    this.onopen?.();
  }

  /** Simulates a frame of the gateway. */
  receives(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  receivesState(data: object): void {
    this.receives({ event: "connection_state", timestamp: new Date().toISOString(), data });
  }

  receivesAuthenticated(more: object = {}): void {
    this.receivesState({
      state: "authenticated",
      connection_id: "c-1",
      last_event_id: "1-0",
      resume: "none",
      ping_interval_s: 30,
      token_expires_at: timeIn(3_600_000),
      ...more,
    });
  }

  receivesNotification(id: string, eventId = `e-${id}`, more: object = {}): void {
    this.receives({
      id,
      event: "class_created",
      category: "class_management",
      event_id: eventId,
      ...more,
    });
  }

  /** Simulates a closed connection. */
  closes(code = 1006, reason = ""): void {
    this.closed = true;
    this.onclose?.({ code, reason });
  }
}

export const timeIn = (ms: number) => new Date(Date.now() + ms).toISOString();

/** A token with the claims that the client reads. */
export const tokenFor = (sub: string, mark = "") => `h.${btoa(JSON.stringify({ sub, mark }))}.s`;

export function fakeStorage(): Storage & { values: Map<string, string> } {
  const values = new Map<string, string>();
  return {
    values,
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => void values.set(key, value),
  } as unknown as Storage & { values: Map<string, string> };
}

/** A client, and what it reported. */
export class TestContext {
  readonly delivered: string[] = [];
  readonly statuses: Status[] = [];
  incompleteCount = 0;
  tokens = 0;
  readonly client: Client;

  constructor(options: Partial<Options> = {}) {
    this.client = connect({
      url: "wss://live.example.org/ws",
      token: () => tokenFor("u", String(++this.tokens)),
      storage: null,
      ...options,
    });
    this.client.onAny(({ event_id }) => this.delivered.push(String(event_id)));
    this.client.onStatus((status) => this.statuses.push(status));
    this.client.onIncomplete(() => (this.incompleteCount += 1));
  }

  /** The socket of the latest attempt. */
  get socket(): FakeSocket {
    const socket = FakeSocket.all.at(-1);
    if (!socket) throw new Error("no attempt yet");
    return socket;
  }

  get attempts(): number {
    return FakeSocket.all.length;
  }

  get state(): string {
    return this.client.status.state;
  }
}

/** Fakes clock, sockets and randomness; every back-off has its full length. */
export function useFakes(): void {
  // Discards the timers of earlier tests.
  vi.useRealTimers();
  vi.useFakeTimers({ now: Date.parse("2025-08-06T09:00:00Z") });
  vi.spyOn(Math, "random").mockReturnValue(1);
  vi.stubGlobal("WebSocket", FakeSocket);
  FakeSocket.all = [];
}

/** Advances the clock and runs what is due. */
export const advance = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** Returns a context whose connection is authenticated. */
export async function connected(options: Partial<Options> = {}): Promise<TestContext> {
  const context = new TestContext(options);
  await advance(0);
  context.socket.receivesAuthenticated();
  return context;
}
