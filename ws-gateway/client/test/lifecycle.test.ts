import { beforeEach, expect, test, vi } from "vitest";
import { connect, Feed, ReadMarks, type Options } from "../src/index.ts";
import { notifications, unread } from "../src/svelte.ts";
import { FakeChannel, FakeLocks } from "./fake-tabs.ts";
import { advance, FakeSocket, tokenFor, useFakes } from "./context.ts";

beforeEach(useFakes);

const token = vi.fn(() => tokenFor("u"));
const options: Options = { url: "wss://live.example.org/ws", token };

test("import and construction do nothing, in a browser and on a server", async () => {
  const used = vi.fn();
  const watch = (name: string) =>
    vi.stubGlobal(name, new Proxy(class {}, { get: used, construct: used }));
  ["sessionStorage", "window", "document", "navigator", "BroadcastChannel", "WebSocket"].forEach(
    watch,
  );
  vi.resetModules();
  const { connect, Feed, ladder, ReadMarks } = await import("../src/index.ts");
  await import("../src/svelte.ts");
  await import("../src/react.ts");
  // A server renders with a URL that is relative to the page.
  const client = connect({ ...options, url: "/ws", shareAs: "u", transports: ladder() });
  const feed = new Feed(client);
  expect(new ReadMarks(client, { ...options, url: "/ws" }).unread).toBeUndefined();
  expect(feed.snapshot()).toEqual({ status: { state: "idle" }, notifications: [], complete: true });
  await advance(60_000);
  expect(used).not.toHaveBeenCalled();
  expect(token).not.toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(0);
});

test.each<[string, (client: ReturnType<typeof connect>) => void]>([
  ["on", (client) => client.on("class_created", () => {})],
  ["onAny", (client) => client.onAny(() => {})],
  ["onStatus", (client) => client.onStatus(() => {})],
  ["onIncomplete", (client) => client.onIncomplete(() => {})],
  ["start", (client) => client.start()],
  ["retry", (client) => client.retry()],
  ["a feed", (client) => new Feed(client).subscribe(() => {})],
  ["a badge", (client) => new ReadMarks(client, options).onUnread(() => {})],
])("%s connects, and a second time changes nothing", async (_, start) => {
  const client = connect(options);
  for (let time = 0; time < 2; time += 1) start(client);
  await advance(0);
  expect(FakeSocket.all).toHaveLength(1);
  expect(client.status.state).toBe("connecting");
});

test("the first status is that of the connection which the listener has started", () => {
  const states: string[] = [];
  connect(options).onStatus(({ state }) => states.push(state));
  expect(states).toEqual(["connecting"]);
});

test("a client that is not enabled connects on start only", async () => {
  const client = connect({ ...options, enabled: false });
  const states: string[] = [];
  client.onStatus(({ state }) => states.push(state));
  client.filter(["system_alerts"]);
  await advance(60_000);
  expect(states).toEqual(["idle"]);
  client.start();
  await advance(0);
  expect(FakeSocket.all).toHaveLength(1);
  expect(FakeSocket.all[0]?.url.searchParams.get("categories")).toBe("system_alerts");
});

test("close clears timers, page events, lock and channel; start connects again", async () => {
  const page = Object.assign(new EventTarget(), { hidden: false });
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", page);
  vi.stubGlobal("BroadcastChannel", FakeChannel);
  vi.stubGlobal("navigator", { onLine: true, locks: new FakeLocks() });
  const client = connect({ ...options, shareAs: "u" });
  const delivered: unknown[] = [];
  client.onAny(({ event_id }) => delivered.push(event_id));
  await advance(5);
  FakeSocket.all[0]?.receivesAuthenticated();
  FakeSocket.all[0]?.receivesNotification("2-0", "a");
  client.close();
  await advance(5);
  expect(FakeSocket.all[0]?.closed).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  client.retry();
  client.onStatus(() => {});
  window.dispatchEvent(new Event("online"));
  page.dispatchEvent(new Event("visibilitychange"));
  await advance(60_000);
  expect(client.status).toEqual({ state: "stopped", message: "closed by the app" });
  expect(FakeSocket.all).toHaveLength(1);
  client.start();
  await advance(5);
  expect(FakeSocket.all).toHaveLength(2);
  expect(FakeSocket.all[1]?.url.searchParams.get("last_event_id")).toBe("2-0");
  FakeSocket.all[1]?.receivesAuthenticated({ resume: "complete" });
  FakeSocket.all[1]?.receivesNotification("3-0", "b");
  expect(delivered).toEqual(["a", "b"]);
});

test.each(["connecting", "open", "waiting"])("a listener may close it while %s", async (state) => {
  const client = connect(options);
  client.onStatus((status) => status.state === state && client.close());
  await advance(0);
  FakeSocket.all[0]?.receivesAuthenticated();
  FakeSocket.all[0]?.closes();
  await advance(7_200_000);
  expect(client.status.state).toBe("stopped");
  expect(vi.getTimerCount()).toBe(0);
  expect(token.mock.calls.length).toBeLessThanOrEqual(1);
});

test("rendering on a server does not connect", async () => {
  const client = connect(options);
  notifications(new Feed(client)).subscribe(() => {})();
  unread(new ReadMarks(client, options)).subscribe(() => {})();
  await advance(60_000);
  expect(token).not.toHaveBeenCalled();
});

test("components that mount twice, as in React's StrictMode, open one connection", async () => {
  const client = connect(options);
  const feed = new Feed(client);
  const marks = new ReadMarks(client, options);
  for (let mount = 0; mount < 2; mount += 1) {
    feed.subscribe(() => {})();
    marks.onUnread(() => {})();
  }
  feed.subscribe(() => {});
  marks.onUnread(() => {});
  await advance(0);
  expect(FakeSocket.all).toHaveLength(1);
});
