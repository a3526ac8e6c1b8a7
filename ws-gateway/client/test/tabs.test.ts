import { beforeEach, expect, test, vi } from "vitest";
import { FakeChannel, FakeLocks } from "./fake-tabs.ts";
import {
  LOST_SPREAD_MS,
  useFakes,
  FakeSocket,
  advance,
  tokenFor,
  TestContext,
} from "./context.ts";

let locks: FakeLocks;

beforeEach(() => {
  useFakes();
  locks = new FakeLocks();
  let name = 0;
  vi.mocked(Math.random).mockImplementation(() => (name += 1));
  FakeChannel.all = [];
  vi.stubGlobal("BroadcastChannel", FakeChannel);
  vi.stubGlobal("navigator", { onLine: true, locks });
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

test("a frame without ids is delivered once in each tab, however often it wakes up", async () => {
  const [first, second] = await two();
  first.socket.receivesNotification("2-0", "a");
  first.socket.receivesNotification("3-0", "b", { event_id: null });
  for (let time = 0; time < 2; time += 1) first.socket.receives({ event: "marker", data: {} });
  await advance(5);
  for (let time = 0; time < 3; time += 1) {
    second.client.retry();
    await advance(5);
  }
  const expected = ["a", "null", "undefined", "undefined"];
  expect([first.delivered, second.delivered]).toEqual([expected, expected]);
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

test("a tab resumes from the leader's position although there was no notification", async () => {
  const [first, second] = await two();
  first.client.close();
  await advance(5);
  expect(second.socket.url.searchParams.get("last_event_id")).toBe("1-0");
});

test("every tab reports gaps", async () => {
  const [first, second] = await two();
  first.socket.receivesAuthenticated({ resume: "incomplete", last_event_id: "8-0" });
  await advance(5);
  expect(second.incompleteCount).toBe(1);
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

test("a leader that is refused gives way to a tab with a good token, and follows it", async () => {
  const refused = tab({ token: () => tokenFor("u", "stale") });
  const other = tab({ token: () => tokenFor("u", "good") });
  await advance(5);
  for (let time = 0; time < 2; time += 1) {
    FakeSocket.all[time]?.closes(1008);
    await advance(5);
  }
  expect(other.socket.protocols[1]).toContain(tokenFor("u", "good"));
  other.socket.receivesAuthenticated();
  other.socket.receivesNotification("2-0", "a");
  await advance(600_000);
  expect(FakeSocket.all).toHaveLength(3);
  expect([refused.delivered, other.delivered]).toEqual([["a"], ["a"]]);
  expect(refused.state).toBe("open");
  other.client.close();
  await advance(5);
  expect(FakeSocket.all).toHaveLength(4);
  expect(refused.socket.url.searchParams.get("last_event_id")).toBe("2-0");
});

test.each([1002, 4000])(
  "a tab opened after the others were closed with %i connects",
  async (code) => {
    const [first, second] = await two();
    first.socket.closes(code);
    await advance(5);
    FakeSocket.all[1]?.closes(code);
    await advance(5);
    expect(FakeSocket.all).toHaveLength(2);
    const fresh = tab();
    await advance(5);
    fresh.socket.receivesAuthenticated();
    await advance(5);
    expect([first.state, second.state, fresh.state]).toEqual(["open", "open", "open"]);
    expect(FakeSocket.all).toHaveLength(3);
  },
);

test.each([
  ["fails", () => Promise.reject(new Error("signed out"))],
  ["does not arrive", () => new Promise<string>(() => {})],
])("a tab takes over from one whose token %s, within 10 s", async (_, token) => {
  tab({ token });
  const other = tab();
  await advance(10_000);
  other.socket.receivesAuthenticated();
  expect(other.state).toBe("open");
});

test("a tab whose token does not arrive is replaced in 10 s although tabs wake up", async () => {
  tab({ token: () => new Promise<string>(() => {}) });
  const other = tab();
  for (let second = 0; second < 10; second += 1) {
    other.client.retry();
    await advance(1_000);
  }
  other.socket.receivesAuthenticated();
  expect(other.state).toBe("open");
});

test("tabs that are all refused try one after another, and rarely", async () => {
  const tabs = [tab(), tab(), tab()];
  vi.mocked(Math.random).mockReturnValue(1);
  for (let second = 0; second < 60; second += 1) {
    for (const socket of FakeSocket.all) if (!socket.closed) socket.closes(4000);
    await advance(1_000);
  }
  // Each at 0, 2, 6, 14, 30 and 62 s.
  expect(FakeSocket.all.length).toBeLessThanOrEqual(tabs.length * 5);
  tabs[1]?.client.retry();
  const before = FakeSocket.all.length;
  await advance(5);
  expect(FakeSocket.all).toHaveLength(before + 1);
});

test("a leader that is frozen is replaced within 10 s, and follows when it wakes up", async () => {
  const [first, second] = await two();
  const third = tab();
  await advance(5);
  first.socket.receivesNotification("2-0", "a");
  await advance(5);
  FakeChannel.all[0]?.freeze();
  locks.freezeHolder();
  await advance(10_000);
  expect(FakeSocket.all).toHaveLength(2);
  expect(second.socket.url.searchParams.get("last_event_id")).toBe("2-0");
  second.socket.receivesAuthenticated({ resume: "complete" });
  second.socket.receivesNotification("3-0", "b");
  second.socket.receives({ event: "marker", data: {} });
  await advance(5);
  // The first tab wakes up, and its socket still has what arrived meanwhile.
  FakeSocket.all[0]?.receivesNotification("3-0", "b");
  FakeChannel.all[0]?.thaw();
  locks.thawHolder();
  await advance(5);
  expect(FakeSocket.all[0]?.closed).toBe(true);
  second.socket.receivesNotification("4-0", "c");
  await advance(20_000);
  expect(FakeSocket.all).toHaveLength(2);
  const expected = ["a", "b", "undefined", "c"];
  expect(second.delivered).toEqual(expected);
  expect(first.delivered).toEqual(expected);
  expect(third.delivered).toEqual(expected);
  expect([first.incompleteCount, second.incompleteCount, third.incompleteCount]).toEqual([0, 0, 0]);
});

test("a replaced leader that answers before it knows that costs no notification", async () => {
  const [, second] = await two();
  const third = tab();
  await advance(5);
  FakeChannel.all[0]?.freeze();
  locks.freezeHolder();
  await advance(10_000);
  second.socket.receivesAuthenticated({ resume: "complete", connection_id: "c-2" });
  second.socket.receivesNotification("2-0", "a");
  await advance(5);
  // It answers what the others asked meanwhile.
  FakeChannel.all[0]?.thaw();
  await advance(2);
  second.socket.receivesNotification("3-0", "b");
  await advance(2);
  locks.thawHolder();
  await advance(5);
  second.socket.receivesNotification("4-0", "c");
  await advance(5);
  expect(third.delivered).toEqual(["a", "b", "c"]);
  expect(third.client.status).toMatchObject({ connectionId: "c-2" });
  expect(third.incompleteCount).toBe(0);
});

test("a leader that answers keeps the leadership", async () => {
  const [first] = await two();
  await advance(600_000);
  expect(FakeSocket.all).toHaveLength(1);
  expect(first.state).toBe("open");
});

test.each([
  [
    "Web Locks",
    () =>
      vi.stubGlobal("navigator", { locks: { request: () => Promise.reject(new Error("denied")) } }),
  ],
  ["Web Locks by throwing", () => vi.stubGlobal("navigator", { locks: { request: throwDenied } })],
  ["BroadcastChannel", () => vi.stubGlobal("BroadcastChannel", throwDenied)],
])("each tab has its own, filtered connection if the browser denies %s", async (_, deny) => {
  deny();
  tab({ categories: ["system_alerts"] });
  const second = tab();
  await advance(5);
  expect(FakeSocket.all).toHaveLength(2);
  expect(FakeSocket.all[0]?.url.searchParams.get("categories")).toBe("system_alerts");
  second.socket.receivesAuthenticated();
  second.socket.receivesNotification("2-0", "a");
  vi.mocked(Math.random).mockReturnValue(1);
  second.socket.closes();
  await advance(LOST_SPREAD_MS);
  expect(FakeSocket.all).toHaveLength(3);
  expect(second.delivered).toEqual(["a"]);
});

function throwDenied(): never {
  throw new Error("denied");
}

test("without Web Locks each tab has its own connection", async () => {
  vi.stubGlobal("navigator", { onLine: true });
  tab();
  tab();
  await advance(5);
  expect(FakeSocket.all).toHaveLength(2);
});
