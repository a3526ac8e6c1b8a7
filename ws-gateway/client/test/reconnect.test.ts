import { beforeEach, expect, test, vi } from "vitest";
import { STOP_CODES, WAIT_CODES } from "../src/index.ts";
import { LOST_SPREAD_MS, useFakes, connected, advance, tokenFor, TestContext } from "./context.ts";

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
    expect(context.client.status).toMatchObject({
      state: "waiting",
      retryAt: Date.now() + longest,
    });
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
  await advance(LOST_SPREAD_MS);
  context.socket.closes();
  expect(context.client.status).toMatchObject({ retryAt: Date.now() + 1_000 });
});

test("10,000 clients of a killed gateway return within another's handshake limit", async () => {
  vi.mocked(Math.random).mockRestore();
  const context = await connected();
  const perHalfSecond = new Map<number, number>();
  for (let client = 0; client < 10_000; client += 1) {
    vi.setSystemTime(Date.now() + 1_000);
    context.socket.closes();
    const { status } = context.client;
    const delay = status.state === "waiting" ? status.retryAt - Date.now() : 0;
    const half = Math.floor(delay / 500);
    perHalfSecond.set(half, (perHalfSecond.get(half) ?? 0) + 1);
    context.client.retry();
    // The token is a promise.
    await Promise.resolve();
    context.socket.receivesAuthenticated();
  }
  // 500 on average; the default of `MAX_HANDSHAKES_PER_SECOND` is 1,000, all of which may come at
  // once.
  expect(perHalfSecond.size).toBe(20);
  expect(Math.max(...perHalfSecond.values())).toBeLessThan(650);
});

test("reconnect_after_ms replaces the back-off", async () => {
  const context = await connected();
  context.socket.receivesState({
    state: "disconnected",
    reason: "restarting",
    reconnect_after_ms: 7_321,
  });
  context.socket.closes(1012);
  await advance(7_320);
  expect(context.attempts).toBe(1);
  await advance(1);
  expect(context.attempts).toBe(2);
});

test("a gateway that requests no delay is not asked again at once", async () => {
  const context = await connected();
  const state = { state: "disconnected", reason: "too slow", reconnect_after_ms: 0 } as const;
  context.socket.receivesState(state);
  context.socket.closes(1013);
  await advance(499);
  expect(context.attempts).toBe(1);
  await advance(1);
  expect(context.attempts).toBe(2);
});

test("it resumes from the last notification, or from its start position", async () => {
  const context = await connected();
  context.socket.closes(1013);
  await advance(LOST_SPREAD_MS);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("1-0");
  context.socket.receivesAuthenticated({ resume: "complete", last_event_id: "9-0" });
  context.socket.receivesNotification("5-3");
  context.socket.closes(1011);
  await advance(LOST_SPREAD_MS);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("5-3");
});

test.each(STOP_CODES)("close code %i stops reconnecting", async (code) => {
  const context = await connected();
  context.socket.closes(
    code,
    '{"error_code":"QUOTA_EXCEEDED","message":"Connection limit exceeded"}',
  );
  expect(context.client.status).toEqual({
    state: "stopped",
    code,
    message: "Connection limit exceeded",
  });
  await advance(3_600_000);
  expect(context.attempts).toBe(1);
  context.client.retry();
  await advance(0);
  expect(context.attempts).toBe(2);
});

test.each(WAIT_CODES)(
  "close code %i waits up to 5 min, with a new token each time",
  async (code) => {
    const context = await connected();
    for (const seconds of [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
      const delay = seconds * 1_000;
      const before = context.attempts;
      context.socket.closes(
        code,
        '{"error_code":"QUOTA_EXCEEDED","message":"Connection limit exceeded"}',
      );
      expect(context.client.status).toEqual({
        state: "waiting",
        retryAt: Date.now() + delay,
        offline: false,
        code,
        message: "Connection limit exceeded",
      });
      await advance(delay - 1);
      expect(context.attempts).toBe(before);
      await advance(1);
      expect(context.attempts).toBe(before + 1);
      expect(context.socket.protocols[1]).toContain(tokenFor("u", String(context.tokens)));
    }
    expect(context.tokens).toBe(11);
  },
);

test("a refused client waits half of the delay at least", async () => {
  vi.mocked(Math.random).mockReturnValue(0);
  const context = await connected();
  context.socket.closes(4000);
  expect(context.client.status).toMatchObject({ retryAt: Date.now() + 1_000 });
});

test("the delay after refusals is reset once a connection has lasted 5 minutes", async () => {
  const context = await connected();
  const refuse = async (delay: number) => {
    context.socket.closes(4000);
    expect(context.client.status).toMatchObject({ retryAt: Date.now() + delay });
    await advance(delay);
  };
  await refuse(2_000);
  context.socket.receivesAuthenticated();
  await advance(60_000);
  await refuse(4_000);
  context.socket.receivesAuthenticated();
  await advance(300_000);
  await refuse(2_000);
});

test("retry ends any delay", async () => {
  const context = await connected();
  for (const code of [1006, 1009, 4000]) {
    context.socket.closes(code);
    expect(context.state).toBe("waiting");
    const before = context.attempts;
    context.client.retry();
    await advance(0);
    expect(context.attempts).toBe(before + 1);
  }
});

test.each([1000, 1001, 1005, 1006, 1011, 1012, 1013])("close code %i reconnects", async (code) => {
  const context = await connected();
  context.socket.closes(code);
  expect(context.client.status).toMatchObject({ code, message: "connection lost" });
  await advance(LOST_SPREAD_MS);
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
  await advance(LOST_SPREAD_MS);
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
