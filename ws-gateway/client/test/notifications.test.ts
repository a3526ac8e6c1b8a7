import { beforeEach, expect, test, vi } from "vitest";
import { countdown, Feed, is, type Notification, type SuggestedMatch } from "../src/index.ts";
import {
  LOST_SPREAD_MS,
  useFakes,
  fakeStorage,
  connected,
  advance,
  tokenFor,
  TestContext,
} from "./context.ts";

beforeEach(useFakes);

test("a listener receives its own event, typed, until it unsubscribes", async () => {
  const context = await connected();
  const matches: (SuggestedMatch[] | null)[] = [];
  const off = context.client.on("student_matches_suggested", (n) => {
    matches.push(n.data.suggested_matches);
  });
  const own: unknown[] = [];
  context.client.on("batch_files_uploaded", (n) => own.push(n.data["upload_status"]));
  const data = { suggested_matches: [] };
  context.socket.receivesNotification("2-0", "a", { event: "student_matches_suggested", data });
  context.socket.receivesNotification("3-0", "b");
  context.socket.receivesNotification("4-0", "c", {
    event: "batch_files_uploaded",
    data: { upload_status: "ok" },
  });
  off();
  context.socket.receivesNotification("5-0", "d", { event: "student_matches_suggested", data });
  expect(matches).toEqual([[]]);
  expect(own).toEqual(["ok"]);
  expect(context.delivered).toEqual(["a", "b", "c", "d"]);
});

test("an event is delivered once, even under another position", async () => {
  const context = await connected();
  context.socket.receivesNotification("2-0", "a");
  context.socket.receivesNotification("3-0", "a");
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("3-0");
  context.socket.receivesAuthenticated({ resume: "complete" });
  context.socket.receivesNotification("2-0", "a");
  context.socket.receivesNotification("4-0", "b");
  expect(context.delivered).toEqual(["a", "b"]);
});

test("a notification without event id is identified by its position, if it has one", async () => {
  const context = await connected();
  const seen: unknown[] = [];
  context.client.on("marker", (n) => seen.push(n.id));
  for (const id of ["2-0", "2-0", "3-0"]) {
    context.socket.receives({ id, event: "marker", event_id: null, data: {} });
  }
  for (let time = 0; time < 2; time += 1) context.socket.receives({ event: "marker", data: {} });
  expect(seen).toEqual(["2-0", "3-0", undefined, undefined]);
});

test("a listener that throws does not affect the others", async () => {
  const report = vi.fn();
  vi.stubGlobal("reportError", report);
  const context = new TestContext();
  context.client.onAny(() => {
    throw new Error("a bug of the app");
  });
  const after = vi.fn();
  context.client.onAny(after);
  await advance(0);
  context.socket.receivesAuthenticated();
  context.socket.receivesNotification("2-0");
  expect(after).toHaveBeenCalledOnce();
  expect(report).toHaveBeenCalledOnce();
});

test("an incomplete resume is reported, and keeps the position", async () => {
  const context = await connected();
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  context.socket.receivesAuthenticated({ resume: "incomplete", last_event_id: "9-0" });
  expect(context.incompleteCount).toBe(1);
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  // The remaining history was still to come, so the position is that of the last notification.
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("1-0");
  context.socket.receivesAuthenticated({ resume: "incomplete", last_event_id: "0-77" });
  context.socket.receivesAuthenticated({ resume: "incomplete", last_event_id: "0-77" });
  expect(context.incompleteCount).toBe(3);
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("0-77");
});

test("a gap is reported once, also if nothing follows it but the position after it", async () => {
  const context = await connected();
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  context.socket.receivesAuthenticated({ resume: "incomplete", last_event_id: "9-0" });
  context.socket.receivesState({ state: "position", last_event_id: "9-0" });
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("9-0");
  expect(context.incompleteCount).toBe(1);
});

test("only a position that is later than the current one replaces it", async () => {
  const storage = fakeStorage();
  const context = await connected({ storage });
  context.socket.receivesNotification("1754470800000-9");
  const position = () => [...storage.values.values()];
  for (const id of [
    "42",
    "",
    "x-1",
    "1754470800001-",
    "-1",
    "1754470800000-3",
    "9".repeat(21) + "-0",
  ]) {
    context.socket.receives({ event: "announcement", id, data: {} });
    expect(position(), id).toEqual(["1754470800000-9"]);
  }
  for (const id of [42, null, ["a"], {}]) {
    context.socket.receives({ event: "announcement", id, data: {} });
    expect(position()).toEqual(["1754470800000-9"]);
  }
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("1754470800000-9");
  context.socket.receivesAuthenticated({ resume: "complete" });
  context.socket.receivesNotification("1754470800000-10");
  expect(position()).toEqual(["1754470800000-10"]);
});

test("a position ahead of the history moves back to its end", async () => {
  const context = await connected();
  context.socket.receivesNotification("9999999999999-0");
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  context.socket.receivesAuthenticated({ resume: "incomplete", last_event_id: "7-0" });
  context.socket.receivesNotification("8-0");
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  expect(context.incompleteCount).toBe(1);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("8-0");
});

test("the position survives a page load, per user", async () => {
  const storage = fakeStorage();
  const first = await connected({ storage });
  first.socket.receivesNotification("6-0");
  first.client.close();
  const again = new TestContext({ storage });
  await advance(0);
  expect(again.socket.url.searchParams.get("last_event_id")).toBe("6-0");
  const other = new TestContext({ storage, token: () => tokenFor("another user") });
  await advance(0);
  expect(other.socket.url.searchParams.has("last_event_id")).toBe(false);
});

test("a forbidden storage is tolerated", async () => {
  const storage = {
    getItem: () => {
      throw new Error("forbidden");
    },
    setItem: () => {
      throw new Error("forbidden");
    },
  };
  const context = await connected({ storage });
  context.socket.receivesNotification("2-0");
  expect(context.delivered).toEqual(["e-2-0"]);
});

test("a filter is sent on the open connection and on the next one", async () => {
  const context = await connected();
  context.client.filter(["system_alerts"]);
  expect(context.socket.sent).toEqual([{ type: "filter", categories: ["system_alerts"] }]);
  context.socket.receivesNotification("2-0");
  expect(context.delivered).toEqual([]);
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  expect(context.socket.url.searchParams.get("categories")).toBe("system_alerts");
  // The handshake in progress carries the previous filter.
  context.client.filter([]);
  await advance(0);
  expect(context.socket.url.searchParams.has("categories")).toBe(false);
});

test("messages that are not frames are ignored", async () => {
  const context = await connected();
  for (const data of ["not JSON", "null", "5", '"text"', "[]", '{"event":5}', '{"event":null}']) {
    context.socket.onmessage?.({ data });
  }
  context.socket.receives({ type: "pong" });
  context.socket.receives({ type: "something new" });
  context.socket.receivesState({
    state: "error",
    error_code: "AUTHENTICATION_ERROR",
    message: "m",
  });
  expect(context.delivered).toEqual([]);
  expect(context.state).toBe("open");
});

test("a frame about the connection with missing or invalid fields harms nothing", async () => {
  const context = new TestContext();
  await advance(0);
  context.socket.receives({ event: "connection_state" });
  for (const data of [null, 5, "text", true, []]) {
    context.socket.receives({ event: "connection_state", data });
  }
  context.socket.receives({
    event: "connection_state",
    data: { state: "authenticated", resume: "complete" },
  });
  context.socket.receivesState({ state: "connected", token_expires_at: "soon" });
  expect(context.state).toBe("open");
  await advance(60_000);
  expect(context.tokens).toBe(1);
  expect(context.socket.sent).toEqual([{ type: "ping" }, { type: "ping" }]);
  context.socket.receivesState({ state: "disconnected", reason: "restarting" });
  context.socket.closes(1012);
  expect(context.client.status).toMatchObject({
    state: "waiting",
    retryAt: Date.now() + LOST_SPREAD_MS,
  });
});

test("the position of a filtered client advances over what its filter held back", async () => {
  const storage = fakeStorage();
  const context = await connected({ categories: ["system_alerts"], storage });
  context.socket.receivesState({ state: "position", last_event_id: "7-0" });
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  expect(context.socket.url.searchParams.get("last_event_id")).toBe("7-0");
  expect([...storage.values.values()]).toEqual(["7-0"]);
  expect(context.delivered).toEqual([]);
});

test("a feed holds the latest notifications, newest first, in immutable snapshots", async () => {
  const context = new TestContext();
  const feed = new Feed(context.client, 2);
  const changes = vi.fn();
  const off = feed.subscribe(changes);
  await advance(0);
  context.socket.receivesAuthenticated({ resume: "incomplete" });
  const before = feed.snapshot();
  for (const id of ["2-0", "3-0", "4-0"]) context.socket.receivesNotification(id);
  expect(before.notifications).toEqual([]);
  expect(feed.snapshot().notifications.map(({ id }) => id)).toEqual(["4-0", "3-0"]);
  expect(feed.snapshot()).toMatchObject({ complete: false, status: { state: "open" } });
  feed.reloaded();
  expect(feed.snapshot().complete).toBe(true);
  const called = changes.mock.calls.length;
  off();
  context.socket.receivesNotification("5-0");
  expect(changes).toHaveBeenCalledTimes(called);
});

test("a countdown stops at its deadline", () => {
  const now = Date.parse("2025-08-06T09:00:00Z");
  expect(countdown("2025-08-07T09:00:00Z", now)).toMatchObject({ text: "24:00:00", over: false });
  expect(countdown("2025-08-06T09:00:00.2Z", now)).toMatchObject({ text: "00:00:01" });
  expect(countdown("2025-08-06T10:02:03Z", now)).toMatchObject({
    hours: 1,
    minutes: 2,
    seconds: 3,
  });
  for (const past of ["2025-08-06T09:00:00Z", "2024-01-01T00:00:00Z", "soon"]) {
    expect(countdown(past, now)).toMatchObject({ text: "00:00:00", over: true });
  }
});

test("a notification is narrowed by its event name", () => {
  const other = { event: "batch_file_added" } as Notification;
  expect(is(other, "batch_file_added")).toBe(true);
  expect(is(other, "class_created")).toBe(false);
});
