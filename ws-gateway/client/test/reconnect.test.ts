import { beforeEach, expect, test, vi } from "vitest";
import { STOP_CODES } from "../src/index.ts";
import { useFakes, connected, advance, tokenFor, TestContext } from "./context.ts";

beforeEach(useFakes);

test("it offers the gateway's subprotocol and its token as another", async () => {
  const context = new TestContext({ categories: ["system_alerts", "batch_progress"] });
  await advance(0);
  expect(context.socket.protocols).toEqual(["huleedu.v1", `huleedu.token.${tokenFor("u", "1")}`]);
  expect(context.socket.url.searchParams.get("categories")).toBe("system_alerts,batch_progress");
  expect(context.socket.url.searchParams.has("last_event_id")).toBe(false);
});

test("back-off doubles from 0.5 s to 20 s, with full jitter", async () => {
  const context = new TestContext();
  for (const longest of [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]) {
    await advance(0);
    const before = context.attempts;
    context.socket.closes();
    expect(context.client.status).toMatchObject({ state: "waiting", retryAt: Date.now() + longest });
    await advance(longest - 1);
    expect(context.attempts).toBe(before);
    await advance(1);
    expect(context.attempts).toBe(before + 1);
  }
  vi.mocked(Math.random).mockReturnValue(0.25);
  context.socket.closes();
  expect(context.client.status).toMatchObject({ retryAt: Date.now() + 5000 });
});

test("a stable connection resets the back-off", async () => {
  const context = new TestContext();
  for (let failure = 0; failure < 5; failure += 1) {
    await advance(20_000);
    context.socket.closes();
  }
  await advance(20_000);
  context.socket.receivesAuthenticated();
  await advance(1_000);
  context.socket.closes();
  expect(context.client.status).toMatchObject({ retryAt: Date.now() + 500 });
});

test("reconnect_after_ms replaces the back-off", async () => {
  const context = await connected();
  context.socket.receivesState({ state: "disconnected", reason: "restarting", reconnect_after_ms: 7_321 });
  context.socket.closes(1012);
  await advance(7_320);
  expect(context.attempts).toBe(1);
  await advance(1);
  expect(context.attempts).toBe(2);
});

test("it resumes from the last notification, or from its start position", async () => {
  const context = await connected();
  context.socket.closes(1013);
  await advance(500);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("1-0");
  context.socket.receivesAuthenticated({ resume: "complete", last_event_id: "9-0" });
  context.socket.receivesNotification("5-3");
  context.socket.closes(1011);
  await advance(1_000);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("5-3");
});

test.each(STOP_CODES)("close code %i stops reconnecting", async (code) => {
  const context = await connected();
  context.socket.closes(code, '{"error_code":"QUOTA_EXCEEDED","message":"Connection limit exceeded"}');
  expect(context.client.status).toEqual({
    state: "stopped",
    code,
    message: "Connection limit exceeded",
  });
  await advance(120_000);
  expect(context.attempts).toBe(1);
});

test.each([1000, 1001, 1005, 1006, 1011, 1012, 1013])("close code %i reconnects", async (code) => {
  const context = await connected();
  context.socket.closes(code);
  await advance(500);
  expect(context.attempts).toBe(2);
});

test("an attempt that hangs times out", async () => {
  const context = new TestContext();
  await advance(14_999);
  expect(context.socket.closed).toBe(false);
  await advance(1);
  expect(context.socket.closed).toBe(true);
  await advance(500);
  expect(context.attempts).toBe(2);
});

test("a connection without a pong reconnects", async () => {
  const context = await connected();
  await advance(30_000);
  expect(context.socket.sent).toEqual([{ type: "ping" }]);
  await advance(5_000);
  expect(context.attempts).toBe(1);
  context.socket.answersPings = false;
  await advance(25_000);
  expect(context.socket.sent).toHaveLength(2);
  await advance(5_000);
  expect(context.attempts).toBe(2);
});

test("frames of an abandoned socket are ignored", async () => {
  const context = await connected();
  const first = context.socket;
  first.closes();
  await advance(500);
  context.socket.receivesAuthenticated();
  first.receivesNotification("7-0");
  first.closes(1008);
  expect(context.delivered).toEqual([]);
  expect(context.state).toBe("open");
});

test("an invalid URL throws at once", () => {
  expect(() => new TestContext({ url: "not a URL" })).toThrow();
});

test("a closed client stays closed", async () => {
  const context = await connected();
  context.client.close();
  context.client.close();
  expect(context.client.status).toEqual({ state: "stopped", message: "closed by the app" });
  context.client.retry();
  await advance(120_000);
  expect(context.attempts).toBe(1);
  expect(context.socket.closed).toBe(true);
});
