import { beforeEach, expect, test, vi } from "vitest";
import { begin, FakeSocket, memory, pass, World } from "./world.ts";

/** Channels of one browser; what is said arrives a moment later, in order, at all others. */
class FakeChannel {
  static all: FakeChannel[] = [];
  onmessage: ((event: { data: unknown }) => void) | undefined;
  readonly name: string;
  #closed = false;

  constructor(name: string) {
    this.name = name;
    FakeChannel.all.push(this);
  }

  postMessage(data: unknown): void {
    if (this.#closed) throw new Error("closed");
    const others = FakeChannel.all.filter((other) => other !== this && other.name === this.name);
    for (const other of others) setTimeout(() => other.#closed || other.onmessage?.({ data }), 1);
  }

  close(): void {
    this.#closed = true;
  }
}

/** One lock for each name, handed on in the order of asking. */
class FakeLocks {
  readonly #last = new Map<string, Promise<unknown>>();

  request(name: string, { signal }: { signal: AbortSignal }, run: () => Promise<void>) {
    const before = this.#last.get(name) ?? Promise.resolve();
    const turn = before.then(() => (signal.aborted ? undefined : run()));
    this.#last.set(name, turn);
    return turn;
  }
}

beforeEach(() => {
  begin();
  let name = 0;
  vi.mocked(Math.random).mockImplementation(() => (name += 1));
  FakeChannel.all = [];
  vi.stubGlobal("BroadcastChannel", FakeChannel);
  vi.stubGlobal("navigator", { onLine: true, locks: new FakeLocks() });
});

const tab = (more = {}) => new World({ shareAs: "u", ...more });

/** Two tabs; the first leads and its connection stands. */
async function two(): Promise<[World, World]> {
  const tabs: [World, World] = [tab(), tab()];
  await pass(5);
  tabs[0].socket.authenticates();
  await pass(5);
  return tabs;
}

test("two tabs have one connection, and both are told", async () => {
  const [first, second] = await two();
  first.socket.tells("2-0", "a");
  await pass(5);
  expect(FakeSocket.all).toHaveLength(1);
  expect([first.told, second.told]).toEqual([["a"], ["a"]]);
  expect(second.state).toBe("open");
});

test("tabs of different users share nothing", async () => {
  tab();
  tab({ shareAs: "v" });
  await pass(5);
  expect(FakeSocket.all).toHaveLength(2);
});

test("when the tab with the connection goes, another resumes from what it was told", async () => {
  const [first, second] = await two();
  first.socket.tells("2-0", "a");
  await pass(5);
  first.client.close();
  await pass(5);
  expect(FakeSocket.all).toHaveLength(2);
  expect(second.socket.url.searchParams.get("last_event_id")).toBe("2-0");
  second.socket.authenticates({ resume: "complete" });
  second.socket.tells("2-0", "a");
  second.socket.tells("3-0", "b");
  expect(second.told).toEqual(["a", "b"]);
});

test("a tab that comes again is told what it missed", async () => {
  const [first] = await two();
  const storage = memory();
  const gone = tab({ storage });
  await pass(5);
  first.socket.tells("2-0", "a");
  await pass(5);
  gone.client.close();
  first.socket.tells("3-0", "b");
  first.socket.tells("4-0", "c");
  const again = tab({ storage });
  await pass(5);
  first.socket.tells("5-0", "d");
  await pass(5);
  expect(gone.told).toEqual(["a"]);
  expect(again.told).toEqual(["b", "c", "d"]);
  expect(again.incompletes).toBe(0);
});

test("a tab that was away for too long is told that something is missing", async () => {
  const storage = memory();
  const [first] = await two();
  const gone = tab({ storage });
  await pass(5);
  gone.client.close();
  for (let n = 0; n < 300; n += 1) first.socket.tells(`2-${n}`);
  const again = tab({ storage });
  await pass(5);
  expect(again.incompletes).toBe(1);
  expect(again.told).toHaveLength(256);
});

test("every tab hears of gaps, pauses and the end", async () => {
  const [first, second] = await two();
  first.socket.authenticates({ resume: "incomplete", last_event_id: "8-0" });
  await pass(5);
  expect(second.incompletes).toBe(1);
  first.socket.ends(4000, "");
  await pass(5);
  expect(second.client.status).toMatchObject({ state: "stopped", code: 4000 });
});

test("each tab has its own filter on what all receive", async () => {
  const [first, second] = await two();
  first.client.filter(["system_alerts"]);
  first.socket.tells("2-0", "a");
  await pass(5);
  expect(first.socket.sent).toEqual([]);
  expect([first.told, second.told]).toEqual([[], ["a"]]);
});

test("any tab can ask for another attempt", async () => {
  const [first, second] = await two();
  first.socket.ends();
  vi.mocked(Math.random).mockReturnValue(1);
  await pass(5);
  second.client.retry();
  await pass(5);
  expect(FakeSocket.all).toHaveLength(2);
});

test("a browser without locks or channels gives each tab its own connection", async () => {
  vi.stubGlobal("navigator", { onLine: true });
  tab();
  tab();
  await pass(5);
  expect(FakeSocket.all).toHaveLength(2);
});
