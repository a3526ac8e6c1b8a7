import { beforeEach, expect, test, vi } from "vitest";
import { useFakes, timeIn, connected, advance, tokenFor, TestContext } from "./context.ts";

beforeEach(useFakes);

test("the token is renewed on the open connection before it expires", async () => {
  const context = await connected();
  await advance(3_600_000 - 60_001);
  const auth = () => context.socket.sent.filter(({ type }) => type === "auth");
  expect(auth()).toEqual([]);
  await advance(1);
  expect(auth()).toEqual([{ type: "auth", token: tokenFor("u", "2") }]);
  context.socket.receivesState({
    state: "connected",
    connection_id: "c-1",
    token_expires_at: timeIn(10_000),
  });
  await advance(8_000);
  expect(auth()).toHaveLength(2);
  expect(context.attempts).toBe(1);
});

test("renewal follows the gateway's clock, not the browser's", async () => {
  const context = new TestContext();
  await advance(0);
  context.socket.receives({
    event: "connection_state",
    timestamp: "2031-01-01T00:00:00Z",
    data: {
      state: "authenticated",
      connection_id: "c",
      last_event_id: "1-0",
      resume: "none",
      ping_interval_s: 3_000,
      token_expires_at: "2031-01-01T00:01:40Z",
    },
  });
  await advance(79_999);
  expect(context.socket.sent).toEqual([]);
  await advance(1);
  expect(context.socket.sent).toMatchObject([{ type: "auth" }]);
});

test("a failed renewal is retried until the token expires", async () => {
  let fails = false;
  let asked = 0;
  const context = await connected({
    token: () => {
      asked += 1;
      return fails ? Promise.reject(new Error("the API is unreachable")) : tokenFor("u");
    },
  });
  fails = true;
  await advance(3_600_000 - 1);
  expect(asked).toBeGreaterThan(5);
  expect(asked).toBeLessThan(20);
  expect(context.state).toBe("open");
});

test("a lifetime or an interval beyond the longest timer does not act early", async () => {
  const context = new TestContext();
  await advance(0);
  context.socket.receivesAuthenticated({
    ping_interval_s: 1e10,
    token_expires_at: timeIn(90 * 86_400_000),
  });
  await advance(86_400_000);
  expect(context.socket.sent).toEqual([]);
});

test("a refused token is replaced at once, then after growing delays", async () => {
  const context = new TestContext();
  await advance(0);
  const refusal = '{"error_code":"AUTHENTICATION_ERROR","message":"Invalid authentication token"}';
  context.socket.closes(1008, refusal);
  await advance(0);
  expect(context.attempts).toBe(2);
  expect(context.socket.protocols[1]).toContain(tokenFor("u", "2"));
  for (const delay of [2_000, 4_000, 8_000]) {
    context.socket.closes(1008, refusal);
    expect(context.client.status).toEqual({
      state: "waiting",
      retryAt: Date.now() + delay,
      offline: false,
      code: 1008,
      message: "Invalid authentication token",
    });
    await advance(delay);
  }
  expect(context.socket.protocols[1]).toContain(tokenFor("u", "5"));
  context.socket.receivesAuthenticated();
  expect(context.state).toBe("open");
});

test("a cached token near its end does not cause frequent renewals", async () => {
  const context = new TestContext();
  await advance(0);
  const token_expires_at = timeIn(12_000);
  context.socket.receivesAuthenticated({ token_expires_at });
  for (let time = 0; time < 12_000; time += 10) {
    const sent = context.socket.sent.length;
    await advance(10);
    // The gateway confirms the same token.
    if (context.socket.sent.length > sent) {
      context.socket.receivesState({ state: "connected", connection_id: "c-1", token_expires_at });
    }
  }
  expect(context.tokens).toBeLessThanOrEqual(5);
});

test("each expiry on a stable connection allows one replacement", async () => {
  const context = await connected();
  for (let attempts = 2; attempts < 6; attempts += 1) {
    await advance(2_000);
    context.socket.closes(1008, "{}");
    await advance(0);
    expect(context.attempts).toBe(attempts);
    context.socket.receivesAuthenticated();
  }
});

test("a failed token request is retried with back-off", async () => {
  let tries = 0;
  const context = new TestContext({
    token: async () => {
      tries += 1;
      if (tries < 3) throw new Error("the API is unreachable");
      return tokenFor("u");
    },
  });
  await advance(0);
  expect(context.client.status).toMatchObject({
    state: "waiting",
    message: "no token: Error: the API is unreachable",
  });
  await advance(1_500);
  expect(context.attempts).toBe(1);
  context.socket.receivesAuthenticated();
  expect(context.state).toBe("open");
});

test("white space around a token is removed", async () => {
  const context = new TestContext({ token: () => `${tokenFor("u")}\n` });
  await advance(0);
  expect(context.socket.protocols[1]).toBe(`huleedu.token.${tokenFor("u")}`);
});

test("the status does not contain a token that the browser refuses", async () => {
  class Refusing {
    constructor(_url: URL, protocols: string[]) {
      throw new DOMException(`The subprotocol '${protocols[1]}' is invalid.`, "SyntaxError");
    }
  }
  vi.stubGlobal("WebSocket", Refusing);
  const context = new TestContext({ token: () => "secret token" });
  await advance(0);
  expect(context.client.status).toMatchObject({
    state: "waiting",
    message: "SyntaxError: The subprotocol 'huleedu.token.…' is invalid.",
  });
});

test("a token that does not arrive is asked for again", async () => {
  let asked = 0;
  const context = new TestContext({
    token: () => {
      asked += 1;
      return asked === 1 ? new Promise<string>(() => {}) : tokenFor("u");
    },
  });
  await advance(8_000);
  expect(context.client.status).toMatchObject({ state: "waiting", message: "token timed out" });
  await advance(500);
  expect(context.attempts).toBe(1);
});
