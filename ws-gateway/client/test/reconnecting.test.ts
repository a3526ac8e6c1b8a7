import { beforeEach, expect, test, vi } from "vitest";
import { STOP_CODES } from "../src/index.ts";
import { begin, opened, pass, tokenOf, World } from "./world.ts";

beforeEach(begin);

test("it speaks the gateway's subprotocol and brings its token in another", async () => {
  const world = new World({ categories: ["system_alerts", "batch_progress"] });
  await pass(0);
  expect(world.socket.protocols).toEqual(["huleedu.v1", `huleedu.token.${tokenOf("u", "1")}`]);
  expect(world.socket.url.searchParams.get("categories")).toBe("system_alerts,batch_progress");
  expect(world.socket.url.searchParams.has("last_event_id")).toBe(false);
});

test("pauses double from half a second to twenty, and chance shortens each", async () => {
  const world = new World();
  for (const longest of [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]) {
    await pass(0);
    const before = world.attempts;
    world.socket.ends();
    expect(world.client.status).toMatchObject({ state: "waiting", retryAt: Date.now() + longest });
    await pass(longest - 1);
    expect(world.attempts).toBe(before);
    await pass(1);
    expect(world.attempts).toBe(before + 1);
  }
  vi.mocked(Math.random).mockReturnValue(0.25);
  world.socket.ends();
  expect(world.client.status).toMatchObject({ retryAt: Date.now() + 5000 });
});

test("a connection that stood makes the next pause short again", async () => {
  const world = new World();
  for (let failure = 0; failure < 5; failure += 1) {
    await pass(20_000);
    world.socket.ends();
  }
  await pass(20_000);
  world.socket.authenticates();
  await pass(1_000);
  world.socket.ends();
  expect(world.client.status).toMatchObject({ retryAt: Date.now() + 500 });
});

test("the pause that the gateway names is kept to the millisecond", async () => {
  const world = await opened();
  world.socket.state({ state: "disconnected", reason: "restarting", reconnect_after_ms: 7_321 });
  world.socket.ends(1012);
  await pass(7_320);
  expect(world.attempts).toBe(1);
  await pass(1);
  expect(world.attempts).toBe(2);
});

test("it resumes from the last notification, or from where it began", async () => {
  const world = await opened();
  world.socket.ends(1013);
  await pass(500);
  expect(world.socket.url.searchParams.get("last_event_id")).toBe("1-0");
  world.socket.authenticates({ resume: "complete", last_event_id: "9-0" });
  world.socket.tells("5-3");
  world.socket.ends(1011);
  await pass(1_000);
  expect(world.socket.url.searchParams.get("last_event_id")).toBe("5-3");
});

test.each(STOP_CODES)("after %i it stays away", async (code) => {
  const world = await opened();
  world.socket.ends(code, '{"error_code":"QUOTA_EXCEEDED","message":"Connection limit exceeded"}');
  expect(world.client.status).toEqual({
    state: "stopped",
    code,
    message: "Connection limit exceeded",
  });
  await pass(120_000);
  expect(world.attempts).toBe(1);
});

test.each([1000, 1001, 1005, 1006, 1011, 1012, 1013])("after %i it comes back", async (code) => {
  const world = await opened();
  world.socket.ends(code);
  await pass(500);
  expect(world.attempts).toBe(2);
});

test("an attempt that hangs is given up", async () => {
  const world = new World();
  await pass(14_999);
  expect(world.socket.closed).toBe(false);
  await pass(1);
  expect(world.socket.closed).toBe(true);
  await pass(500);
  expect(world.attempts).toBe(2);
});

test("a connection that gives no sign of life is made again", async () => {
  const world = await opened();
  await pass(30_000);
  expect(world.socket.sent).toEqual([{ type: "ping" }]);
  await pass(5_000);
  expect(world.attempts).toBe(1);
  world.socket.lives = false;
  await pass(25_000);
  expect(world.socket.sent).toHaveLength(2);
  await pass(5_000);
  expect(world.attempts).toBe(2);
});

test("what an abandoned socket still says is ignored", async () => {
  const world = await opened();
  const first = world.socket;
  first.ends();
  await pass(500);
  world.socket.authenticates();
  first.tells("7-0");
  first.ends(1008);
  expect(world.told).toEqual([]);
  expect(world.state).toBe("open");
});

test("an address that is none is said at once", () => {
  expect(() => new World({ url: "no address" })).toThrow();
});

test("once closed it does nothing more", async () => {
  const world = await opened();
  world.client.close();
  world.client.close();
  expect(world.client.status).toEqual({ state: "stopped", message: "closed by the app" });
  world.client.retry();
  await pass(120_000);
  expect(world.attempts).toBe(1);
  expect(world.socket.closed).toBe(true);
});
