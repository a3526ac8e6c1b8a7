import { beforeEach, expect, test, vi } from "vitest";
import { createRenderer, effectScope } from "vue";
import { connect, Feed, ReadMarks } from "../src/index.ts";
import { MockGateway } from "../src/mock.ts";
import { useCountdown, useNotifications, useUnread } from "../src/vue.ts";
import { advance, TestContext, timeIn, useFakes } from "./context.ts";

beforeEach(() => {
  useFakes();
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", new EventTarget());
});

test("the ref follows the feed until its component is unmounted", async () => {
  const gateway = new MockGateway();
  const { client } = new TestContext({ transports: gateway.transport });
  const feed = new Feed(client);
  const scope = effectScope();
  const snapshot = scope.run(() => useNotifications(feed));
  await advance(0);
  gateway.send("class_created");
  expect(snapshot?.value.status.state).toBe("open");
  expect(snapshot?.value.notifications.map(({ event }) => event)).toEqual(["class_created"]);
  scope.stop();
  gateway.send("class_created");
  expect(snapshot?.value.notifications).toHaveLength(1);
  client.close();
});

/** Renders to nothing. */
const { createApp } = createRenderer<object, object>({
  patchProp: () => {},
  insert: () => {},
  remove: () => {},
  createElement: () => ({}),
  createText: () => ({}),
  createComment: () => ({}),
  setText: () => {},
  setElementText: () => {},
  parentNode: () => null,
  nextSibling: () => null,
});

test("a component first renders what a server did, and connects once it is mounted", async () => {
  const { transport } = new MockGateway();
  const client = connect({ url: "wss://mock/ws", token: () => "t", transports: transport });
  const rendered: string[] = [];
  const setup = () => {
    const live = useNotifications(new Feed(client));
    return () => void rendered.push(live.value.status.state);
  };
  const app = createApp({ setup });
  app.mount({});
  expect(rendered).toEqual(["idle"]);
  await advance(0);
  expect(rendered.at(-1)).toBe("open");
  app.unmount();
  client.close();
});

test("the countdown is updated every second until its component is unmounted", async () => {
  const scope = effectScope();
  const left = scope.run(() => useCountdown(timeIn(10_000)));
  await advance(3_000);
  expect(left?.value.seconds).toBe(7);
  scope.stop();
  await advance(3_000);
  expect(left?.value.seconds).toBe(7);
});

test("rendering on a server subscribes to nothing", () => {
  vi.unstubAllGlobals();
  const { client } = new TestContext({ enabled: false });
  const subscribe = vi.spyOn(client, "onAny");
  useNotifications(new Feed(client));
  useUnread(new ReadMarks(client, { url: "wss://live.example.org/ws", token: () => "t" }));
  expect(subscribe).not.toHaveBeenCalled();
});
