// The transports over plain HTTP, without the ladder.

import { beforeEach, expect, test, vi } from "vitest";
import { eventStream, longPoll, type OpenTransport } from "../src/index.ts";
import { advance, TestContext, tokenFor, useFakes } from "./context.ts";
import { FakeRequest, notification, useFakeFetch } from "./fake-fetch.ts";

beforeEach(() => {
  useFakes();
  useFakeFetch();
});

/** Returns a context that has begun to connect. */
async function started(transports: OpenTransport): Promise<TestContext> {
  const context = new TestContext({ transports });
  await advance(0);
  return context;
}

test("an event may arrive in parts, and an invalid one is ignored", async () => {
  const context = await started(eventStream);
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
  const context = await started(eventStream);
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
  await started(eventStream);
  const stream = FakeRequest.last;
  await stream.streams();
  await stream.receivesAuthenticated();
  await advance(35_000);
  expect(stream.aborted).toBe(true);
  expect(FakeRequest.all).toHaveLength(2);
});

test("a new token or filter opens the stream anew, from the last position", async () => {
  const context = await started(eventStream);
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
  const context = await started(longPoll);
  await FakeRequest.last.answers({ error: "Authentication token has expired", code: 1008 }, 401);
  expect(context.tokens).toBe(2);
  expect(FakeRequest.last.headers["Authorization"]).toBe(`Bearer ${tokenFor("u", "2")}`);
});

test("each poll continues at the position of the last answer, also without frames", async () => {
  const context = await started(longPoll);
  expect(FakeRequest.last.url.searchParams.get("wait")).toBe("0");
  await FakeRequest.last.answers({ frames: [], next: "4-0", resume: "none" });
  expect(context.client.status).toMatchObject({ transport: "long_poll" });
  const { searchParams } = FakeRequest.last.url;
  expect([searchParams.get("last_event_id"), searchParams.get("wait")]).toEqual(["4-0", "25"]);
  await FakeRequest.last.answers({ frames: [], next: "9-0", resume: "complete" });
  expect(FakeRequest.last.url.searchParams.get("last_event_id")).toBe("9-0");
  await FakeRequest.last.answers({ frames: [], next: "2-0", resume: "incomplete" });
  expect(context.incompleteCount).toBe(1);
  await advance(1_000);
  expect(FakeRequest.last.url.searchParams.get("last_event_id")).toBe("2-0");
});

test("an event that Redis has lost and a poll is answered again is delivered once", async () => {
  const context = await started(longPoll);
  await FakeRequest.last.answers({ frames: [], next: "4-0", resume: "none" });
  const frames = [notification("5-0"), notification("6-0")];
  await FakeRequest.last.answers({ frames, next: "6-0", resume: "complete" });
  const restored = frames.map((frame) => ({ ...frame, id: "8-0", restored: true }));
  await FakeRequest.last.answers({ frames: restored, next: "8-0", resume: "complete" });
  expect(context.delivered).toEqual(["e-5-0", "e-6-0"]);
  expect(FakeRequest.last.url.searchParams.get("last_event_id")).toBe("8-0");
});

test("incomplete or empty polls answered at once are 1 s apart, then up to 8 s", async () => {
  const context = await started(longPoll);
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
  const context = await started(longPoll);
  await FakeRequest.last.answers({ frames: [], next: "4-0", resume: "none" });
  const answer = { frames: [], next: "4-0", resume: "complete", retry_after_ms: 700 };
  await FakeRequest.last.answers(answer);
  expect(context.client.status).toMatchObject({ state: "waiting", code: 1012 });
  await advance(700);
  expect(FakeRequest.all).toHaveLength(3);
});

test("a frame of a poll with missing or invalid fields harms nothing", async () => {
  const context = await started(longPoll);
  const odd = [null, 5, "text", { event: "read_state" }, { event: "read_state", data: null }];
  const frames = [...odd, { event: "connection_state", data: 5 }, notification("5-0")];
  await FakeRequest.last.answers({ frames, next: "5-0", resume: "none" });
  expect([context.delivered, context.state]).toEqual([["e-5-0"], "open"]);
  expect(FakeRequest.last.url.searchParams.get("last_event_id")).toBe("5-0");
});

test("a poll that hangs, and a closed client, abort the request", async () => {
  const context = await started(longPoll);
  await FakeRequest.last.answers({ frames: [], next: "4-0", resume: "none" });
  const hanging = FakeRequest.last;
  await advance(35_000);
  expect(hanging.aborted).toBe(true);
  expect(context.state).toBe("waiting");
  await advance(20_000);
  context.client.close();
  expect(FakeRequest.last.aborted).toBe(true);
});
