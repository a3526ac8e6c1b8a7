import { beforeEach, expect, test, vi } from "vitest";
import { countdown, Feed, is, type Notification, type SuggestedMatch } from "../src/index.ts";
import { begin, memory, opened, pass, tokenOf, World } from "./world.ts";

beforeEach(begin);

test("a listener hears its own kind, typed, until it stops", async () => {
  const world = await opened();
  const matches: (SuggestedMatch[] | null)[] = [];
  const off = world.client.on("student_matches_suggested", (n) => {
    matches.push(n.data.suggested_matches);
  });
  const own: unknown[] = [];
  world.client.on("batch_files_uploaded", (n) => own.push(n.data["upload_status"]));
  const data = { suggested_matches: [] };
  world.socket.tells("2-0", "a", { event: "student_matches_suggested", data });
  world.socket.tells("3-0", "b");
  world.socket.tells("4-0", "c", { event: "batch_files_uploaded", data: { upload_status: "ok" } });
  off();
  world.socket.tells("5-0", "d", { event: "student_matches_suggested", data });
  expect(matches).toEqual([[]]);
  expect(own).toEqual(["ok"]);
  expect(world.told).toEqual(["a", "b", "c", "d"]);
});

test("the same event is told once, whatever its position", async () => {
  const world = await opened();
  world.socket.tells("2-0", "a");
  world.socket.tells("3-0", "a");
  world.socket.ends();
  await pass(500);
  expect(world.socket.url.searchParams.get("last_event_id")).toBe("3-0");
  world.socket.authenticates({ resume: "complete" });
  world.socket.tells("2-0", "a");
  world.socket.tells("4-0", "b");
  expect(world.told).toEqual(["a", "b"]);
});

test("what has no event id is known by its position, and what has neither is always told", async () => {
  const world = await opened();
  const seen: unknown[] = [];
  world.client.on("marker", (n) => seen.push(n.id));
  for (const id of ["2-0", "2-0", "3-0"]) {
    world.socket.hears({ id, event: "marker", event_id: null, data: {} });
  }
  for (let time = 0; time < 2; time += 1) world.socket.hears({ event: "marker", data: {} });
  expect(seen).toEqual(["2-0", "3-0", undefined, undefined]);
});

test("a listener that fails keeps nobody else from hearing", async () => {
  const report = vi.fn();
  vi.stubGlobal("reportError", report);
  const world = new World();
  world.client.onAny(() => {
    throw new Error("a bug of the app");
  });
  const after = vi.fn();
  world.client.onAny(after);
  await pass(0);
  world.socket.authenticates();
  world.socket.tells("2-0");
  expect(after).toHaveBeenCalledOnce();
  expect(report).toHaveBeenCalledOnce();
});

test("the app is told when history does not reach back", async () => {
  const world = await opened();
  world.socket.ends();
  await pass(500);
  world.socket.authenticates({ resume: "incomplete", last_event_id: "9-0" });
  expect(world.incompletes).toBe(1);
  world.socket.ends();
  await pass(1_000);
  // What is left was still to come, so the position is that of what came.
  expect(world.socket.url.searchParams.get("last_event_id")).toBe("1-0");
  world.socket.authenticates({ resume: "incomplete", last_event_id: "0-77" });
  world.socket.authenticates({ resume: "incomplete", last_event_id: "0-77" });
  expect(world.incompletes).toBe(3);
  world.socket.ends();
  await pass(2_000);
  expect(world.socket.url.searchParams.get("last_event_id")).toBe("0-77");
});

test("the position outlives a page load, for its user alone", async () => {
  const storage = memory();
  const first = await opened({ storage });
  first.socket.tells("6-0");
  first.client.close();
  const again = new World({ storage });
  await pass(0);
  expect(again.socket.url.searchParams.get("last_event_id")).toBe("6-0");
  const other = new World({ storage, token: () => tokenOf("somebody else") });
  await pass(0);
  expect(other.socket.url.searchParams.has("last_event_id")).toBe(false);
});

test("a storage that the browser forbids is done without", async () => {
  const storage = {
    getItem: () => {
      throw new Error("forbidden");
    },
    setItem: () => {
      throw new Error("forbidden");
    },
  };
  const world = await opened({ storage });
  world.socket.tells("2-0");
  expect(world.told).toEqual(["e-2-0"]);
});

test("a filter reaches the gateway, on the live connection and on the next", async () => {
  const world = await opened();
  world.client.filter(["system_alerts"]);
  expect(world.socket.sent).toEqual([{ type: "filter", categories: ["system_alerts"] }]);
  world.socket.tells("2-0");
  expect(world.told).toEqual([]);
  world.socket.ends();
  await pass(500);
  expect(world.socket.url.searchParams.get("categories")).toBe("system_alerts");
  // This address may be on its way with the old filter.
  world.client.filter([]);
  await pass(0);
  expect(world.socket.url.searchParams.has("categories")).toBe(false);
});

test("what is no frame is ignored", async () => {
  const world = await opened();
  world.socket.onmessage?.({ data: "not JSON" });
  world.socket.hears({ type: "pong" });
  world.socket.hears({ type: "something new" });
  world.socket.state({ state: "error", error_code: "AUTHENTICATION_ERROR", message: "m" });
  expect(world.told).toEqual([]);
  expect(world.state).toBe("open");
});

test("a feed holds what a page shows, newest first, in snapshots that do not change", async () => {
  const world = new World();
  const feed = new Feed(world.client, 2);
  const changes = vi.fn();
  const off = feed.subscribe(changes);
  await pass(0);
  world.socket.authenticates({ resume: "incomplete" });
  const before = feed.snapshot();
  for (const id of ["2-0", "3-0", "4-0"]) world.socket.tells(id);
  expect(before.notifications).toEqual([]);
  expect(feed.snapshot().notifications.map(({ id }) => id)).toEqual(["4-0", "3-0"]);
  expect(feed.snapshot()).toMatchObject({ complete: false, status: { state: "open" } });
  feed.reloaded();
  expect(feed.snapshot().complete).toBe(true);
  const called = changes.mock.calls.length;
  off();
  world.socket.tells("5-0");
  expect(changes).toHaveBeenCalledTimes(called);
});

test("a countdown ends at its deadline", () => {
  const now = Date.parse("2025-08-06T09:00:00Z");
  expect(countdown("2025-08-07T09:00:00Z", now)).toMatchObject({ text: "24:00:00", over: false });
  expect(countdown("2025-08-06T09:00:00.2Z", now)).toMatchObject({ text: "00:00:01" });
  expect(countdown("2025-08-06T10:02:03Z", now)).toMatchObject({ hours: 1, minutes: 2, seconds: 3 });
  for (const past of ["2025-08-06T09:00:00Z", "2024-01-01T00:00:00Z", "soon"]) {
    expect(countdown(past, now)).toMatchObject({ text: "00:00:00", over: true });
  }
});

test("a notification can be told from others by its name", () => {
  const other = { event: "batch_file_added" } as Notification;
  expect(is(other, "batch_file_added")).toBe(true);
  expect(is(other, "class_created")).toBe(false);
});
