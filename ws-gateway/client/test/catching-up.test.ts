// What a tab learns from the one that owns the connection when it opens.

import { beforeEach, expect, test, vi } from "vitest";
import { FakeChannel, FakeLocks } from "./fake-tabs.ts";
import { advance, fakeStorage, TestContext, useFakes } from "./context.ts";

beforeEach(() => {
  useFakes();
  let name = 0;
  vi.mocked(Math.random).mockImplementation(() => (name += 1));
  FakeChannel.all = [];
  vi.stubGlobal("BroadcastChannel", FakeChannel);
  vi.stubGlobal("navigator", { onLine: true, locks: new FakeLocks() });
});

const tab = (more = {}) => new TestContext({ shareAs: "u", ...more });

/** Returns the tab that owns the connection. */
async function leader(): Promise<TestContext> {
  const first = tab();
  await advance(5);
  first.socket.receivesAuthenticated();
  return first;
}

test("a tab is open once it has caught up, and misses nothing from then on", async () => {
  const first = tab();
  await advance(5);
  const second = tab();
  first.socket.receivesAuthenticated();
  first.socket.receivesNotification("2-0", "a");
  await advance(1);
  // The notification is before the beginning of the second tab, which has not begun.
  expect([second.state, second.delivered]).toEqual(["idle", []]);
  await advance(4);
  first.socket.receivesNotification("3-0", "b");
  await advance(5);
  expect([second.state, second.delivered]).toEqual(["open", ["b"]]);
});

test("a reopened tab receives what it missed", async () => {
  const first = await leader();
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
  const first = await leader();
  const gone = tab({ storage });
  await advance(5);
  gone.client.close();
  for (let n = 0; n < 300; n += 1) first.socket.receivesNotification(`2-${n}`);
  const again = tab({ storage });
  await advance(5);
  expect(again.incompleteCount).toBe(1);
  expect(again.delivered).toHaveLength(256);
});
