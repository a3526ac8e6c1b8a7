import { beforeEach, expect, test, vi } from "vitest";
import { LOST_SPREAD_MS, useFakes, connected, advance, TestContext } from "./context.ts";

let page: EventTarget & { hidden: boolean };

beforeEach(() => {
  useFakes();
  page = Object.assign(new EventTarget(), { hidden: false });
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", page);
  vi.stubGlobal("navigator", { onLine: true });
});

const dispatch = (event: string) => window.dispatchEvent(new Event(event));

test("the online event ends a back-off", async () => {
  const context = await connected();
  context.socket.closes();
  dispatch("online");
  await advance(0);
  expect(context.attempts).toBe(2);
});

test("a tab that becomes visible pings at once", async () => {
  const context = await connected();
  context.socket.answersPings = false;
  page.dispatchEvent(new Event("visibilitychange"));
  expect(context.socket.sent).toEqual([{ type: "ping" }]);
  await advance(4_999);
  expect(context.attempts).toBe(1);
  await advance(1);
  expect(context.attempts).toBe(2);
});

test("a connection attempt is given up 5 s after the tab wakes up", async () => {
  const context = new TestContext();
  await advance(2_000);
  page.dispatchEvent(new Event("visibilitychange"));
  await advance(4_000);
  // A later event does not extend the limit.
  dispatch("online");
  expect(context.attempts).toBe(1);
  await advance(1_000);
  expect(context.attempts).toBe(2);
});

test("an attempt that began because the tab woke up has its own limit", async () => {
  const context = new TestContext();
  await advance(0);
  const wakeEvery = async (interval: number, times: number) => {
    for (let time = 0; time < times; time += 1) {
      dispatch("online");
      await advance(interval);
    }
  };
  await wakeEvery(1_000, 5);
  expect(context.attempts).toBe(2);
  await wakeEvery(800, 15);
  expect(context.attempts).toBe(2);
  context.socket.receivesAuthenticated();
  expect(context.state).toBe("open");
  context.socket.answersPings = false;
  dispatch("online");
  await advance(5_000);
  expect(context.attempts).toBe(3);
  // A later attempt may be dead again.
  dispatch("online");
  await advance(5_000);
  expect(context.attempts).toBe(4);
});

test("a connection attempt from before a suspension is given up at once", async () => {
  const context = new TestContext();
  await advance(0);
  vi.setSystemTime(Date.now() + 3_600_000);
  page.dispatchEvent(new Event("visibilitychange"));
  await advance(0);
  expect(context.attempts).toBe(2);
});

test("waking up ends the delay after a refusal, but not a stop", async () => {
  const context = await connected();
  context.socket.closes(4000);
  page.dispatchEvent(new Event("visibilitychange"));
  await advance(0);
  expect(context.attempts).toBe(2);
  context.socket.closes(1002);
  page.dispatchEvent(new Event("visibilitychange"));
  await advance(0);
  expect(context.state).toBe("stopped");
});

test("a connection that answers pings is kept, however often the tab wakes up", async () => {
  const context = await connected();
  for (const event of ["online", "pageshow", "offline"]) {
    dispatch(event);
  }
  await advance(20_000);
  expect(context.attempts).toBe(1);
  expect(context.socket.sent).toHaveLength(3);
});

test("offline only pings, as the gateway may be reachable", async () => {
  vi.stubGlobal("navigator", { onLine: false });
  const context = await connected();
  context.socket.answersPings = false;
  dispatch("offline");
  await advance(5_000);
  expect(context.attempts).toBe(2);
  context.socket.closes();
  expect(context.client.status).toMatchObject({ state: "waiting", offline: true });
});

test("a client is back sooner after a loss of its own network than of the gateway", async () => {
  const context = await connected();
  context.socket.answersPings = false;
  dispatch("offline");
  await advance(4_000);
  context.socket.closes();
  expect(context.client.status).toMatchObject({ retryAt: Date.now() + 500 });
  await advance(500);
  context.socket.receivesAuthenticated();
  await advance(1_000);
  // The pong shows that the network works.
  dispatch("online");
  context.socket.closes();
  expect(context.client.status).toMatchObject({ retryAt: Date.now() + LOST_SPREAD_MS });
});

test("a ping at the interval says nothing about the client's network", async () => {
  const context = await connected();
  context.socket.answersPings = false;
  await advance(31_000);
  context.socket.closes();
  expect(context.client.status).toMatchObject({ retryAt: Date.now() + LOST_SPREAD_MS });
});

test("a client that waits reports that the browser went offline", async () => {
  const context = await connected();
  context.socket.closes();
  const waiting = context.client.status;
  dispatch("offline");
  expect(context.client.status).toEqual({ ...waiting, offline: true });
});

test("a hidden tab and a closed client ignore page events", async () => {
  const context = await connected();
  page.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  page.hidden = false;
  context.client.close();
  dispatch("online");
  page.dispatchEvent(new Event("visibilitychange"));
  await advance(20_000);
  expect(context.attempts).toBe(1);
  expect(context.socket.sent).toEqual([]);
});
