// The bindings render on a server without a connection, and follow the feed in a page.

import assert from "node:assert/strict";
import { connect, Feed } from "@huleedu/live-notifications";
import { MockGateway } from "@huleedu/live-notifications/mock";
import * as react from "@huleedu/live-notifications/react";
import * as svelte from "@huleedu/live-notifications/svelte";
import * as vue from "@huleedu/live-notifications/vue";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { act, create } from "react-test-renderer";
import { get } from "svelte/store";
import { createSSRApp, effectScope, h } from "vue";
import { renderToString as renderVue } from "vue/server-renderer";

const gateway = new MockGateway();
const options = { url: "wss://mock/ws", token: () => "token", transports: gateway.transport };
const newFeed = () => new Feed(connect(options));
const settled = () => new Promise((resolve) => setTimeout(resolve, 50));

const latest = ({ notifications }) => notifications[0]?.event ?? "none";
const Latest = ({ feed }) => latest(react.useNotifications(feed));

const idle = newFeed();
const provided = createElement(react.FeedProvider, { value: idle }, createElement(Latest));
assert.equal(renderToString(provided), "none");
assert.equal(get(svelte.notifications(idle)).status.state, "idle");
const setup = () => {
  const snapshot = vue.useNotifications(idle);
  return () => h("p", latest(snapshot.value));
};
assert.equal(await renderVue(createSSRApp({ setup })), "<p>none</p>");
await settled();
assert.equal(gateway.connections, 0, "a server has connected");

globalThis.window = new EventTarget();
globalThis.document = new EventTarget();
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
let component;
await act(async () => {
  component = create(createElement(Latest, { feed: newFeed() }));
  await settled();
});
let stored;
const unsubscribe = svelte.notifications(newFeed()).subscribe((snapshot) => (stored = snapshot));
const scope = effectScope();
const ref = scope.run(() => vue.useNotifications(newFeed()));
await settled();
await act(async () => void gateway.send("class_created"));
assert.equal(component.toJSON(), "class_created", "React");
assert.equal(latest(stored), "class_created", "Svelte");
assert.equal(latest(ref.value), "class_created", "Vue");
act(() => component.unmount());
unsubscribe();
scope.stop();
// Their clients keep their connections.
process.exit();
