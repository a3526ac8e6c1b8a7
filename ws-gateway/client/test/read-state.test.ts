import { beforeEach, expect, test, vi } from "vitest";
import { effectScope } from "vue";
import { longPoll, ReadMarks } from "../src/index.ts";
import { unread } from "../src/svelte.ts";
import { useUnread } from "../src/vue.ts";
import { advance, LOST_SPREAD_MS, TestContext, tokenFor, useFakes } from "./context.ts";
import { FakeRequest } from "./fake-fetch.ts";

beforeEach(() => {
  useFakes();
  FakeRequest.all = [];
  vi.stubGlobal("fetch", (url: URL, init: RequestInit) => new FakeRequest(url, init).response);
});

const state = (up_to: string, unread: number, last_event_id: string) => ({
  up_to,
  unread,
  exact: true,
  last_event_id,
});

/** A connected client with a badge, and the numbers that the badge showed. */
async function badge(authenticated: object = {}) {
  const context = new TestContext();
  const options = { url: "wss://live.example.org/ws", token: () => tokenFor("u") };
  const marks = new ReadMarks(context.client, options);
  const shown: number[] = [];
  marks.onUnread((unread) => shown.push(unread));
  await advance(0);
  context.socket.receivesAuthenticated(authenticated);
  await advance(0);
  const receives = (data: object) => context.socket.receives({ event: "read_state", data });
  return { context, marks, shown, receives };
}

test("the state is asked for after connecting, and later notifications are added", async () => {
  const { context, marks, shown } = await badge();
  expect(FakeRequest.last.url.href).toBe("https://live.example.org/read");
  context.socket.receivesNotification("2-0");
  context.socket.receivesNotification("3-0");
  expect([marks.unread, marks.exact]).toEqual([undefined, false]);
  // The gateway has counted the first of them.
  await FakeRequest.last.answers(state("1-0", 5, "2-0"));
  context.socket.receivesNotification("4-0");
  expect(shown).toEqual([6, 7]);
  expect([marks.unread, marks.exact]).toEqual([7, true]);
});

test("the state of a connection that opens is not asked for, also if it is older", async () => {
  const read = { unread: 5, read_up_to: "1-0", exact: true, counted_to: "2-0" };
  const { context, marks, shown } = await badge(read);
  context.socket.receivesNotification("3-0");
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  // Redis has lost its data.
  const lost = { unread: 0, read_up_to: "0-0", exact: true, counted_to: "0-1" };
  context.socket.receivesAuthenticated({ ...lost, resume: "incomplete", last_event_id: "0-1" });
  await advance(60_000);
  expect([shown, marks.exact, FakeRequest.all.length]).toEqual([[5, 6, 0], true, 0]);
  // A second answer to the same resume has no read state.
  context.socket.receivesAuthenticated({ resume: "incomplete" });
  await advance(0);
  expect(FakeRequest.all.length).toBe(1);
});

test("the gateway is asked about a state that is older than the known one", async () => {
  const { marks, receives } = await badge();
  await FakeRequest.last.answers(state("7-0", 3, "9-0"));
  await advance(1_000);
  receives(state("0-0", 2, "10-0"));
  await advance(0);
  expect([marks.unread, FakeRequest.all.length]).toEqual([3, 2]);
  await FakeRequest.last.answers(state("0-0", 2, "10-0"));
  expect(marks.unread).toBe(2);
});

test("the state is asked for when an event that was read comes again", async () => {
  const { context, marks } = await badge();
  context.socket.receivesNotification("1-0", "e");
  await FakeRequest.last.answers(state("1-0", 0, "1-0"));
  await advance(1_000);
  // Redis has lost the claim of the event; the client shows it once.
  context.socket.receivesNotification("2-0", "e");
  await advance(0);
  expect([marks.unread, FakeRequest.all.length]).toEqual([0, 2]);
  await FakeRequest.last.answers(state("1-0", 1, "2-0"));
  context.socket.receivesNotification("2-0", "e");
  await advance(60_000);
  expect([marks.unread, FakeRequest.all.length]).toEqual([1, 2]);
});

test("an answer from before a connection is not taken for its state", async () => {
  const { context, marks, receives } = await badge();
  const early = FakeRequest.last;
  receives(state("3-0", 0, "3-0"));
  context.socket.receivesNotification("4-0");
  context.socket.closes();
  await advance(LOST_SPREAD_MS);
  context.socket.receivesAuthenticated({ resume: "complete" });
  await early.answers(state("1-0", 1, "2-0"));
  await advance(1_000);
  await FakeRequest.last.answers(state("3-0", 1, "4-0"));
  expect(marks.unread).toBe(1);
});

test("a poll names the read position that the client knows", async () => {
  const context = new TestContext({ transports: longPoll });
  const marks = new ReadMarks(context.client, { url: "wss://h/ws", token: () => tokenFor("u") });
  marks.onUnread(() => {});
  await advance(0);
  const known = () => FakeRequest.last.url.searchParams.get("read_up_to");
  expect(known()).toBe("");
  const frames = [{ event: "read_state", data: state("1-0", 5, "2-0") }];
  await FakeRequest.last.answers({ frames, next: "2-0", resume: "none" });
  expect([marks.unread, known(), FakeRequest.all.length]).toEqual([5, "1-0", 2]);
  const read = [{ event: "read_state", data: state("2-0", 0, "2-0") }];
  await FakeRequest.last.answers({ frames: read, next: "2-0", resume: "complete" });
  // Without a pause: each answer has brought a frame.
  expect([marks.unread, known(), FakeRequest.all.length]).toEqual([0, "2-0", 3]);
});

test("marking as read on one device changes the number on another", async () => {
  const { context, marks, shown, receives } = await badge();
  await FakeRequest.last.answers(state("1-0", 5, "2-0"));
  context.socket.receivesNotification("10-0");
  const marking = marks.markRead();
  await advance(0);
  expect(FakeRequest.last.url.searchParams.get("up_to")).toBe("10-0");
  await FakeRequest.last.answers(state("10-0", 0, "10-0"));
  await marking;
  context.socket.receivesNotification("11-0");
  receives(state("11-0", 0, "11-0"));
  // An answer from before.
  receives(state("10-0", 1, "11-0"));
  expect(shown).toEqual([5, 6, 0, 1, 0]);
  expect(context.delivered).toEqual(["e-10-0", "e-11-0"]);
});

test("the badges of Svelte and Vue follow the number until they are unmounted", async () => {
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", new EventTarget());
  const { marks } = await badge();
  const numbers: (number | undefined)[] = [];
  const unsubscribe = unread(marks).subscribe((number) => numbers.push(number));
  const scope = effectScope();
  const number = scope.run(() => useUnread(marks));
  await FakeRequest.last.answers(state("1-0", 5, "2-0"));
  expect([numbers, number?.value]).toEqual([[undefined, 5], 5]);
  unsubscribe();
  scope.stop();
  const marking = marks.markRead();
  await advance(0);
  await FakeRequest.last.answers(state("2-0", 0, "2-0"));
  await marking;
  expect([numbers, number?.value]).toEqual([[undefined, 5], 5]);
});

test("everything is marked as read also before the number is known", async () => {
  const { client } = new TestContext({ enabled: false });
  const requested: URL[] = [];
  const request = (url: URL, init: RequestInit) => {
    requested.push(url);
    return new FakeRequest(url, init).response;
  };
  const options = { url: "wss://h/ws", token: () => tokenFor("u"), fetch: request };
  const marks = new ReadMarks(client, options);
  const marking = marks.markRead();
  await advance(0);
  await FakeRequest.last.answers(state("9-0", 0, "9-0"));
  await marking;
  expect(requested.map(({ href }) => href)).toEqual(["https://h/read?up_to=9999999999999-0"]);
  expect([marks.unread, marks.exact]).toEqual([0, true]);
});

test("a refusal rejects, and changes nothing", async () => {
  const { marks } = await badge();
  await FakeRequest.last.answers(state("1-0", 5, "2-0"));
  const marking = expect(marks.markRead("2-0")).rejects.toThrow("HTTP status 503");
  await advance(0);
  await FakeRequest.last.answers({ error: "unavailable" }, 503);
  await marking;
  expect(marks.unread).toBe(5);
});

test("the state is asked for again after a failure, with growing delays", async () => {
  const { marks, shown } = await badge();
  for (const delay of [2_000, 4_000, 8_000]) {
    const asked = FakeRequest.all.length;
    await FakeRequest.last.answers({ error: "limit reached" }, 503);
    await advance(delay);
    expect(FakeRequest.all.length).toBe(asked + 1);
  }
  await FakeRequest.last.answers(state("1-0", 5, "2-0"));
  expect([marks.unread, shown]).toEqual([5, [5]]);
  const asked = FakeRequest.all.length;
  await advance(600_000);
  expect(FakeRequest.all.length).toBe(asked);
});

test.each([
  ["an answer", () => tokenFor("u")],
  ["a token", () => new Promise<string>(() => {})],
])("a request for the state without %s is given up and repeated", async (_, token) => {
  const context = new TestContext();
  let tokens = 0;
  const options = {
    url: "wss://live.example.org/ws",
    token: () => (++tokens === 1 ? token() : tokenFor("u")),
  };
  const marks = new ReadMarks(context.client, options);
  marks.onUnread(() => {});
  await advance(0);
  context.socket.receivesAuthenticated();
  await advance(15_000);
  expect(tokens).toBe(1);
  await advance(2_000);
  expect(tokens).toBe(2);
  await FakeRequest.last.answers(state("1-0", 5, "2-0"));
  expect(marks.unread).toBe(5);
});

test("many uncounted notifications are asked for at most once a second", async () => {
  const { context, marks } = await badge();
  await FakeRequest.last.answers(state("1-0", 0, "1-0"));
  const asked = FakeRequest.all.length;
  for (let number = 2; number < 1_202; number += 1) {
    context.socket.receivesNotification(`${number}-0`);
  }
  await advance(1_000);
  expect(FakeRequest.all.length).toBe(asked + 1);
  await advance(10_000);
  expect(FakeRequest.all.length).toBe(asked + 1);
  await FakeRequest.last.answers(state("1-0", 256, "1201-0"));
  expect(marks.unread).toBe(256);
});

test("after a loss of data the state of the gateway counts, also if it is older", async () => {
  const { context, marks } = await badge();
  await FakeRequest.last.answers(state("7-0", 0, "9-0"));
  await advance(1_000);
  context.socket.receivesAuthenticated({ resume: "incomplete" });
  await advance(1_000);
  await FakeRequest.last.answers(state("0-0", 2, "9-0"));
  expect(marks.unread).toBe(2);
});

test("after a gap, what was counted is in the state of the gateway or lost", async () => {
  const { context, marks } = await badge();
  await FakeRequest.last.answers(state("1-0", 0, "2-0"));
  await advance(1_000);
  context.socket.receivesNotification("9-0");
  expect(marks.unread).toBe(1);
  context.socket.receivesAuthenticated({ resume: "incomplete" });
  await advance(1_000);
  await FakeRequest.last.answers(state("0-1", 0, "0-1"));
  expect(marks.unread).toBe(0);
});
