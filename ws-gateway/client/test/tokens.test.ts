import { beforeEach, expect, test } from "vitest";
import { begin, inMs, opened, pass, tokenOf, World } from "./world.ts";

beforeEach(begin);

test("the token is renewed on the live connection before it ends", async () => {
  const world = await opened();
  await pass(3_600_000 - 60_001);
  const auth = () => world.socket.sent.filter(({ type }) => type === "auth");
  expect(auth()).toEqual([]);
  await pass(1);
  expect(auth()).toEqual([{ type: "auth", token: tokenOf("u", "2") }]);
  world.socket.state({ state: "connected", connection_id: "c-1", token_expires_at: inMs(10_000) });
  await pass(8_000);
  expect(auth()).toHaveLength(2);
  expect(world.attempts).toBe(1);
});

test("the gateway's clock counts, not the browser's", async () => {
  const world = new World();
  await pass(0);
  world.socket.hears({
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
  await pass(79_999);
  expect(world.socket.sent).toEqual([]);
  await pass(1);
  expect(world.socket.sent).toMatchObject([{ type: "auth" }]);
});

test("a renewal that fails or is refused is tried again until the token ends", async () => {
  let fails = false;
  let asked = 0;
  const world = await opened({
    token: () => {
      asked += 1;
      return fails ? Promise.reject(new Error("the API is away")) : tokenOf("u");
    },
  });
  fails = true;
  await pass(3_600_000 - 1);
  expect(asked).toBeGreaterThan(5);
  expect(asked).toBeLessThan(20);
  expect(world.state).toBe("open");
});

test("a token that lasts longer than a timer can wait is no problem", async () => {
  const world = new World();
  await pass(0);
  world.socket.authenticates({ ping_interval_s: 1e6, token_expires_at: inMs(90 * 86_400_000) });
  await pass(86_400_000);
  expect(world.socket.sent).toEqual([]);
});

test("a refused token is replaced once, then it stays away", async () => {
  const world = new World();
  await pass(0);
  const refusal = '{"error_code":"AUTHENTICATION_ERROR","message":"Invalid authentication token"}';
  world.socket.ends(1008, refusal);
  await pass(0);
  expect(world.attempts).toBe(2);
  expect(world.socket.protocols[1]).toContain(tokenOf("u", "2"));
  world.socket.ends(1008, refusal);
  expect(world.client.status).toEqual({
    state: "stopped",
    code: 1008,
    message: "Invalid authentication token",
  });
  await pass(120_000);
  expect(world.attempts).toBe(2);
});

test("a token that ended on a live connection gets its one replacement each time", async () => {
  const world = await opened();
  for (let attempts = 2; attempts < 6; attempts += 1) {
    await pass(2_000);
    world.socket.ends(1008, "{}");
    await pass(0);
    expect(world.attempts).toBe(attempts);
    world.socket.authenticates();
  }
});

test("without a token it tries again, as without a network", async () => {
  let tries = 0;
  const world = new World({
    token: async () => {
      tries += 1;
      if (tries < 3) throw new Error("the API is away");
      return tokenOf("u");
    },
  });
  await pass(0);
  expect(world.state).toBe("waiting");
  await pass(1_500);
  expect(world.attempts).toBe(1);
  world.socket.authenticates();
  expect(world.state).toBe("open");
});
