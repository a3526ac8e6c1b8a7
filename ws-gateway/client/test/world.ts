// A world for the client: sockets that a test opens and closes, a clock that it turns, and chance
// that it decides.

import { vi } from "vitest";
import { connect, type Client, type Options, type Status } from "../src/index.ts";

export class FakeSocket {
  static all: FakeSocket[] = [];
  readonly url: URL;
  readonly protocols: string[];
  readonly sent: Record<string, unknown>[] = [];
  closed = false;
  /** Whether the other side is still there to answer. */
  lives = true;
  onmessage: ((event: { data: string }) => void) | undefined;
  onclose: ((event: { code: number; reason: string }) => void) | undefined;

  constructor(url: URL, protocols: string[]) {
    this.url = new URL(url);
    this.protocols = protocols;
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    const message = JSON.parse(text);
    this.sent.push(message);
    if (message.type === "ping" && this.lives) this.hears({ type: "pong" });
  }

  close(): void {
    this.closed = true;
  }

  /** The gateway says something. */
  hears(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  state(data: object): void {
    this.hears({ event: "connection_state", timestamp: new Date().toISOString(), data });
  }

  authenticates(more: object = {}): void {
    this.state({
      state: "authenticated",
      connection_id: "c-1",
      last_event_id: "1-0",
      resume: "none",
      ping_interval_s: 30,
      token_expires_at: inMs(3_600_000),
      ...more,
    });
  }

  tells(id: string, eventId = `e-${id}`, more: object = {}): void {
    this.hears({ id, event: "class_created", category: "class_management", event_id: eventId, ...more });
  }

  /** The connection ends. */
  ends(code = 1006, reason = ""): void {
    this.closed = true;
    this.onclose?.({ code, reason });
  }
}

export const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();

/** A token of this user, as far as it is read. */
export const tokenOf = (sub: string, mark = "") => `h.${btoa(JSON.stringify({ sub, mark }))}.s`;

export function memory(): Storage & { values: Map<string, string> } {
  const values = new Map<string, string>();
  return {
    values,
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => void values.set(key, value),
  } as unknown as Storage & { values: Map<string, string> };
}

/** A client in a fresh world, and what it told. */
export class World {
  readonly told: string[] = [];
  readonly statuses: Status[] = [];
  incompletes = 0;
  tokens = 0;
  readonly client: Client;

  constructor(options: Partial<Options> = {}) {
    this.client = connect({
      url: "wss://live.example.org/ws",
      token: () => tokenOf("u", String(++this.tokens)),
      storage: null,
      ...options,
    });
    this.client.onAny(({ event_id }) => this.told.push(String(event_id)));
    this.client.onStatus((status) => this.statuses.push(status));
    this.client.onIncomplete(() => (this.incompletes += 1));
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

/** Fakes the clock and the sockets; every pause is as long as chance allows. */
export function begin(): void {
  // What an earlier test left running ends with its clock.
  vi.useRealTimers();
  vi.useFakeTimers({ now: Date.parse("2025-08-06T09:00:00Z") });
  vi.spyOn(Math, "random").mockReturnValue(1);
  vi.stubGlobal("WebSocket", FakeSocket);
  FakeSocket.all = [];
}

/** Lets time pass, and everything happen that is due. */
export const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

export async function opened(options: Partial<Options> = {}): Promise<World> {
  const world = new World(options);
  await pass(0);
  world.socket.authenticates();
  return world;
}
