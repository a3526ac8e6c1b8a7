import { beforeEach, expect, test, vi } from "vitest";
import { ladder, type Options } from "../src/index.ts";
import { advance, fakeStorage, TestContext, tokenFor, useFakes } from "./context.ts";
import { FakeRequest, notification, useFakeFetch } from "./fake-fetch.ts";

/** How long a transport may show no life. */
const LIFE_MS = 3_000;
const BETTER_AFTER_MS = 600_000;

beforeEach(() => {
  useFakes();
  useFakeFetch();
  vi.stubGlobal("sessionStorage", fakeStorage());
});

const transport = ({ client }: TestContext) =>
  client.status.state === "open" ? client.status.transport : client.status.state;

/** Returns a context that has begun to connect. */
async function started(options: Partial<Options> = {}): Promise<TestContext> {
  const context = new TestContext({ transports: ladder(), ...options });
  await advance(0);
  return context;
}

/** Fails two WebSockets, as behind a proxy that refuses upgrades. */
async function refuseWebSockets(context: TestContext): Promise<void> {
  context.socket.closes();
  await advance(500);
  context.socket.closes();
  await advance(0);
}

test("a WebSocket that receives a frame is the only transport", async () => {
  const context = await started();
  context.socket.opens();
  await advance(LIFE_MS - 1);
  context.socket.receivesAuthenticated();
  await advance(2 * LIFE_MS);
  expect(transport(context)).toBe("websocket");
  expect(FakeRequest.all).toHaveLength(0);
});

test("a WebSocket that opens and receives no frame has failed", async () => {
  const context = await started();
  context.socket.opens();
  await advance(LIFE_MS);
  expect(context.socket.closed).toBe(true);
  expect(FakeRequest.last.headers["Accept"]).toBe("text/event-stream");
  await FakeRequest.last.fails();
  expect(FakeRequest.last.headers["Accept"]).toBe("application/json");
  await FakeRequest.last.answers({ frames: [], next: "5-0", resume: "none" });
  expect(transport(context)).toBe("long_poll");
});

test("after two failed WebSockets it opens an event stream with a token header", async () => {
  const context = await started({ categories: ["system_alerts"] });
  await refuseWebSockets(context);
  const { url, headers } = FakeRequest.last;
  expect(url.href).toBe("https://live.example.org/events?categories=system_alerts");
  expect(headers).toEqual({
    Accept: "text/event-stream",
    Authorization: `Bearer ${tokenFor("u", "2")}`,
  });
  await FakeRequest.last.streams();
  await FakeRequest.last.receivesAuthenticated("none");
  await FakeRequest.last.receivesNotification("5-0");
  expect(transport(context)).toBe("event_stream");
  expect(context.delivered).toEqual(["e-5-0"]);
});

test("behind a proxy that buffers streams the first notification comes within 5 s", async () => {
  const context = await started();
  const begin = Date.now();
  await refuseWebSockets(context);
  await advance(LIFE_MS);
  const [stream, poll] = FakeRequest.all;
  expect(stream?.aborted).toBe(true);
  expect(poll?.headers["Accept"]).toBe("application/json");
  await poll?.answers({ frames: [notification("5-0")], next: "5-0", resume: "none" });
  expect(context.delivered).toEqual(["e-5-0"]);
  expect(transport(context)).toBe("long_poll");
  expect(Date.now() - begin).toBeLessThan(5_000);
});

test.each([
  ["once", 100, 1],
  ["every 0.8 s", 800, Infinity],
])("a tab that wakes up %s shows its first notification within 5 s", async (_, interval, wakes) => {
  const window = new EventTarget();
  vi.stubGlobal("window", window);
  vi.stubGlobal("document", new EventTarget());
  const context = await started();
  const begin = Date.now();
  const polls = () => FakeRequest.all.filter(({ url }) => url.searchParams.has("wait"));
  for (let wake = 1; polls().length === 0 && Date.now() - begin < 60_000; wake += 1) {
    await advance(interval);
    if (wake <= wakes) window.dispatchEvent(new Event("pageshow"));
  }
  await polls()[0]?.answers({ frames: [notification("5-0")], next: "5-0", resume: "none" });
  expect(context.delivered).toEqual(["e-5-0"]);
  expect(Date.now() - begin).toBeLessThan(5_000);
});

test("an attempt that is cut off as the tab wakes up continues at the same transport", async () => {
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", new EventTarget());
  const context = await started();
  await advance(4_000);
  window.dispatchEvent(new Event("pageshow"));
  await advance(5_000);
  const [, first, second] = FakeRequest.all;
  expect(first?.aborted).toBe(true);
  expect(second?.headers["Accept"]).toBe("application/json");
  await second?.answers({ frames: [], next: "5-0", resume: "none" });
  expect(transport(context)).toBe("long_poll");
  expect(context.attempts).toBe(1);
});

test("a WebSocket that shows no life is given up", async () => {
  const context = await started();
  await advance(LIFE_MS);
  expect(context.socket.closed).toBe(true);
  expect(FakeRequest.last.headers["Accept"]).toBe("text/event-stream");
});

test("a stream of which only the first bytes come through is given up", async () => {
  const context = await started();
  await refuseWebSockets(context);
  await FakeRequest.last.streams();
  await advance(LIFE_MS);
  expect(FakeRequest.last.headers["Accept"]).toBe("application/json");
  await FakeRequest.last.answers({ frames: [], next: "5-0", resume: "none" });
  expect(transport(context)).toBe("long_poll");
});

test("what worked is remembered, and the better transport tried after 10 minutes", async () => {
  const first = await started();
  await refuseWebSockets(first);
  await FakeRequest.last.streams();
  await FakeRequest.last.receivesAuthenticated();
  first.client.close();
  const context = await started({ transports: ladder() });
  expect(context.attempts).toBe(2);
  const stream = FakeRequest.last;
  await stream.streams();
  await stream.receivesAuthenticated();
  await stream.receivesNotification("5-0");
  await keepAlive(stream, BETTER_AFTER_MS);
  expect(context.attempts).toBe(3);
  expect(stream.aborted).toBe(true);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("5-0");
  context.socket.opens();
  context.socket.receivesAuthenticated({ resume: "complete" });
  context.socket.receivesNotification("5-0");
  context.socket.receivesNotification("6-0");
  expect(transport(context)).toBe("websocket");
  expect(context.delivered).toEqual(["e-5-0", "e-6-0"]);
});

test("a WebSocket that had worked is tried again after 30 s, then ever later", async () => {
  const context = await started();
  context.socket.receivesAuthenticated();
  await advance(1_000);
  context.socket.closes();
  await advance(10_000);
  // The gateway refuses for now, which a browser reports as a failed WebSocket.
  context.socket.closes();
  await advance(1_000);
  context.socket.closes();
  await advance(0);
  for (const pause of [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000]) {
    const { attempts } = context;
    await FakeRequest.last.streams();
    await FakeRequest.last.receivesAuthenticated();
    expect(transport(context)).toBe("event_stream");
    await keepAlive(FakeRequest.last, pause - 15_000);
    expect(context.attempts).toBe(attempts);
    await keepAlive(FakeRequest.last, 15_000);
    expect(context.attempts).toBe(attempts + 1);
    context.socket.closes();
    await advance(0);
  }
  await FakeRequest.last.streams();
  await FakeRequest.last.receivesAuthenticated();
  await keepAlive(FakeRequest.last, BETTER_AFTER_MS);
  context.socket.receivesAuthenticated({ resume: "complete" });
  expect(transport(context)).toBe("websocket");
});

test("a filter that is set while a better transport is tried is not lost", async () => {
  const context = await started();
  await refuseWebSockets(context);
  await FakeRequest.last.streams();
  await FakeRequest.last.receivesAuthenticated();
  await keepAlive(FakeRequest.last, BETTER_AFTER_MS);
  const former = context.socket;
  context.client.filter(["system_alerts"]);
  expect(former.closed).toBe(true);
  expect(context.socket.url.searchParams.get("categories")).toBe("system_alerts");
  context.socket.receivesAuthenticated({ resume: "complete" });
  expect(transport(context)).toBe("websocket");
});

/** Advances the clock while the gateway sends comments. */
async function keepAlive(stream: FakeRequest, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 15_000) {
    await stream.receives(":\n\n");
    await advance(15_000);
  }
}

test("an outage of the gateway is no reason to remember another transport", async () => {
  const context = await started();
  for (let attempt = 0; attempt < 5; attempt += 1) {
    context.socket.closes();
    await advance(0);
    while (context.state === "connecting") await FakeRequest.last.fails();
    context.client.retry();
    await advance(0);
  }
  context.socket.opens();
  context.socket.receivesAuthenticated();
  expect(transport(context)).toBe("websocket");
});

test("a gateway that refuses for now is asked again, over the same transports", async () => {
  const context = await started();
  await refuseWebSockets(context);
  await FakeRequest.last.answers({ error: "limit of connections reached (limit: 1)" }, 503);
  expect(context.client.status).toMatchObject({ state: "waiting", code: 1013 });
  expect(FakeRequest.all).toHaveLength(1);
  // It refused the WebSockets as well, so that no single failure shows a fault of the network.
  context.client.retry();
  await advance(0);
  context.socket.closes();
  expect(context.state).toBe("waiting");
  expect(FakeRequest.all).toHaveLength(1);
});

test("the page of a proxy in place of a stream is a failure", async () => {
  const context = await started();
  await refuseWebSockets(context);
  await FakeRequest.last.answers({ hint: "sign in to the school network" });
  expect(FakeRequest.last.headers["Accept"]).toBe("application/json");
  await FakeRequest.last.fails();
  expect(context.state).toBe("waiting");
});
