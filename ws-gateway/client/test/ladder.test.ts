import { beforeEach, expect, test, vi } from "vitest";
import { eventStream, ladder, longPoll, type Options } from "../src/index.ts";
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

test("a WebSocket that shows no life is given up", async () => {
  const context = await started();
  await advance(LIFE_MS);
  expect(context.socket.closed).toBe(true);
  expect(FakeRequest.last.headers["Accept"]).toBe("text/event-stream");
});

test("what worked is remembered, and the better transport tried after 10 minutes", async () => {
  const first = await started();
  await refuseWebSockets(first);
  await FakeRequest.last.streams();
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
});

test("the page of a proxy in place of a stream is a failure", async () => {
  const context = await started();
  await refuseWebSockets(context);
  await FakeRequest.last.answers({ hint: "sign in to the school network" });
  expect(FakeRequest.last.headers["Accept"]).toBe("application/json");
  await FakeRequest.last.fails();
  expect(context.state).toBe("waiting");
});

test("an event may arrive in parts, and an invalid one is ignored", async () => {
  const context = await started({ transports: eventStream });
  const stream = FakeRequest.last;
  await stream.streams();
  await stream.receivesAuthenticated();
  const text = JSON.stringify(notification("5-0"));
  await stream.receives(`id: 5-0\ndata: ${text.slice(0, 9)}`);
  await stream.receives(`${text.slice(9)}\n`);
  expect(context.delivered).toEqual([]);
  await stream.receives("\ndata: {not JSON\n\nid: 6-0\n\n");
  await stream.receivesNotification("7-0");
  expect(context.delivered).toEqual(["e-5-0", "e-7-0"]);
});

test("the last event of a stream is what a close frame is for a WebSocket", async () => {
  const context = await started({ transports: eventStream });
  const stream = FakeRequest.last;
  await stream.streams();
  await stream.receivesAuthenticated();
  const data = { state: "disconnected", reason: "restarting", reconnect_after_ms: 700 };
  await stream.receivesFrame({ event: "connection_state", data });
  await stream.receives('event: close\ndata: {"code":1012,"reason":"restarting: reconnect"}\n\n');
  expect(context.client.status).toMatchObject({ state: "waiting", code: 1012 });
  await advance(700);
  expect(FakeRequest.all).toHaveLength(2);
});

test("a silent stream is opened again", async () => {
  await started({ transports: eventStream });
  const stream = FakeRequest.last;
  await stream.streams();
  await stream.receivesAuthenticated();
  await advance(35_000);
  expect(stream.aborted).toBe(true);
  expect(FakeRequest.all).toHaveLength(2);
});

test("a new token or filter opens the stream anew, from the last position", async () => {
  const context = await started({ transports: eventStream });
  const stream = FakeRequest.last;
  await stream.streams();
  await stream.receivesAuthenticated();
  await stream.receivesNotification("5-0");
  context.client.filter(["system_alerts"]);
  expect(stream.aborted).toBe(true);
  const { searchParams } = FakeRequest.last.url;
  expect(searchParams.get("categories")).toBe("system_alerts");
  expect(searchParams.get("last_event_id")).toBe("5-0");
  expect(context.state).toBe("open");
});

test("a refused token is replaced at once", async () => {
  const context = await started({ transports: longPoll });
  await FakeRequest.last.answers({ error: "Authentication token has expired", code: 1008 }, 401);
  expect(context.tokens).toBe(2);
  expect(FakeRequest.last.headers["Authorization"]).toBe(`Bearer ${tokenFor("u", "2")}`);
});

test("each poll continues at the position of the last answer, also without frames", async () => {
  const context = await started({ transports: longPoll });
  expect(FakeRequest.last.url.searchParams.get("wait")).toBe("0");
  await FakeRequest.last.answers({ frames: [], next: "4-0", resume: "none" });
  expect(transport(context)).toBe("long_poll");
  const { searchParams } = FakeRequest.last.url;
  expect([searchParams.get("last_event_id"), searchParams.get("wait")]).toEqual(["4-0", "25"]);
  await FakeRequest.last.answers({ frames: [], next: "9-0", resume: "complete" });
  expect(FakeRequest.last.url.searchParams.get("last_event_id")).toBe("9-0");
  await FakeRequest.last.answers({ frames: [], next: "2-0", resume: "incomplete" });
  expect(context.incompleteCount).toBe(1);
  await advance(1_000);
  expect(FakeRequest.last.url.searchParams.get("last_event_id")).toBe("2-0");
});

test("incomplete or empty polls answered at once are 1 s apart, then up to 8 s", async () => {
  const context = await started({ transports: longPoll });
  const answer = { frames: [], next: "4-0", resume: "incomplete" };
  for (const [index, interval] of [1_000, 2_000, 4_000, 8_000, 8_000].entries()) {
    await FakeRequest.last.answers(answer);
    expect(context.incompleteCount).toBe(index + 1);
    await advance(interval - 1);
    expect(FakeRequest.all).toHaveLength(index + 1);
    await advance(1);
    expect(FakeRequest.all).toHaveLength(index + 2);
  }
  const frames = [notification("5-0")];
  await FakeRequest.last.answers({ frames, next: "5-0", resume: "complete" });
  expect(FakeRequest.all).toHaveLength(7);
  await advance(25_000);
  const empty = { frames: [], next: "5-0", resume: "complete" };
  await FakeRequest.last.answers(empty);
  expect(FakeRequest.all).toHaveLength(8);
  await FakeRequest.last.answers(empty);
  await advance(999);
  expect(FakeRequest.all).toHaveLength(8);
  context.client.close();
  expect(vi.getTimerCount()).toBe(0);
});

test("a poll that names a delay ends the connection until then", async () => {
  const context = await started({ transports: longPoll });
  await FakeRequest.last.answers({ frames: [], next: "4-0", resume: "none" });
  const answer = { frames: [], next: "4-0", resume: "complete", retry_after_ms: 700 };
  await FakeRequest.last.answers(answer);
  expect(context.client.status).toMatchObject({ state: "waiting", code: 1012 });
  await advance(700);
  expect(FakeRequest.all).toHaveLength(3);
});

test("a poll that hangs, and a closed client, abort the request", async () => {
  const context = await started({ transports: longPoll });
  await FakeRequest.last.answers({ frames: [], next: "4-0", resume: "none" });
  const hanging = FakeRequest.last;
  await advance(35_000);
  expect(hanging.aborted).toBe(true);
  expect(context.state).toBe("waiting");
  await advance(20_000);
  context.client.close();
  expect(FakeRequest.last.aborted).toBe(true);
});
