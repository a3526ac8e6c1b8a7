import { beforeEach, expect, test, vi } from "vitest";
import { useFakes, FakeSocket, fakeStorage, advance, TestContext } from "./context.ts";

/** The channels of one browser; a message arrives 1 ms later, in order, at all others. */
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

/** One lock per name, granted in request order. */
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
  useFakes();
  let name = 0;
  vi.mocked(Math.random).mockImplementation(() => (name += 1));
  FakeChannel.all = [];
  vi.stubGlobal("BroadcastChannel", FakeChannel);
  vi.stubGlobal("navigator", { onLine: true, locks: new FakeLocks() });
});

const tab = (more = {}) => new TestContext({ shareAs: "u", ...more });

/** Two tabs; the first is the connected leader. */
async function two(): Promise<[TestContext, TestContext]> {
  const tabs: [TestContext, TestContext] = [tab(), tab()];
  await advance(5);
  tabs[0].socket.receivesAuthenticated();
  await advance(5);
  return tabs;
}

test("two tabs share one connection, and both receive notifications", async () => {
  const [first, second] = await two();
  first.socket.receivesNotification("2-0", "a");
  await advance(5);
  expect(FakeSocket.all).toHaveLength(1);
  expect([first.delivered, second.delivered]).toEqual([["a"], ["a"]]);
  expect(second.state).toBe("open");
});

test("tabs of different users share nothing", async () => {
  tab();
  tab({ shareAs: "v" });
  await advance(5);
  expect(FakeSocket.all).toHaveLength(2);
});

test("when the leader closes, another tab resumes from its last notification", async () => {
  const [first, second] = await two();
  first.socket.receivesNotification("2-0", "a");
  await advance(5);
  first.client.close();
  await advance(5);
  expect(FakeSocket.all).toHaveLength(2);
  expect(second.socket.url.searchParams.get("last_event_id")).toBe("2-0");
  second.socket.receivesAuthenticated({ resume: "complete" });
  second.socket.receivesNotification("2-0", "a");
  second.socket.receivesNotification("3-0", "b");
  expect(second.delivered).toEqual(["a", "b"]);
});

test("a reopened tab receives what it missed", async () => {
  const [first] = await two();
  const storage = fakeStorage();
  const gone = tab({ storage });
  await advance(5);
  first.socket.receivesNotification("2-0", "a");
  await advance(5);
  gone.client.close();
  first.socket.receivesNotification("3-0", "b");
  first.socket.receivesNotification("4-0", "c");
  const again = tab({ storage });
  await advance(5);
  first.socket.receivesNotification("5-0", "d");
  await advance(5);
  expect(gone.delivered).toEqual(["a"]);
  expect(again.delivered).toEqual(["b", "c", "d"]);
  expect(again.incompleteCount).toBe(0);
});

test("a tab that missed more than is kept reports it", async () => {
  const storage = fakeStorage();
  const [first] = await two();
  const gone = tab({ storage });
  await advance(5);
  gone.client.close();
  for (let n = 0; n < 300; n += 1) first.socket.receivesNotification(`2-${n}`);
  const again = tab({ storage });
  await advance(5);
  expect(again.incompleteCount).toBe(1);
  expect(again.delivered).toHaveLength(256);
});

test("every tab reports gaps and the end", async () => {
  const [first, second] = await two();
  first.socket.receivesAuthenticated({ resume: "incomplete", last_event_id: "8-0" });
  await advance(5);
  expect(second.incompleteCount).toBe(1);
  first.socket.closes(4000, "");
  await advance(5);
  expect(second.client.status).toMatchObject({ state: "stopped", code: 4000 });
});

test("each tab filters the shared notifications itself", async () => {
  const [first, second] = await two();
  first.client.filter(["system_alerts"]);
  first.socket.receivesNotification("2-0", "a");
  await advance(5);
  expect(first.socket.sent).toEqual([]);
  expect([first.delivered, second.delivered]).toEqual([[], ["a"]]);
});

test("any tab can retry", async () => {
  const [first, second] = await two();
  first.socket.closes();
  vi.mocked(Math.random).mockReturnValue(1);
  await advance(5);
  second.client.retry();
  await advance(5);
  expect(FakeSocket.all).toHaveLength(2);
});

test("without Web Locks each tab has its own connection", async () => {
  vi.stubGlobal("navigator", { onLine: true });
  tab();
  tab();
  await advance(5);
  expect(FakeSocket.all).toHaveLength(2);
});
