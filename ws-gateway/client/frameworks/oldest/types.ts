// The types of the bindings, as an app uses them.

import { connect, Feed, ReadMarks } from "@huleedu/live-notifications";
import * as react from "@huleedu/live-notifications/react";
import * as svelte from "@huleedu/live-notifications/svelte";
import * as vue from "@huleedu/live-notifications/vue";
import { createElement } from "react";
import { get } from "svelte/store";

const options = { url: "wss://live.example.org/ws", token: () => "token" };
const client = connect(options);
const feed = new Feed(client);
const marks = new ReadMarks(client, options);

export function App() {
  const { status } = react.useNotifications();
  const number: number | undefined = react.useUnread(marks);
  // @ts-expect-error: the state is a text.
  const state: number = status.state;
  return createElement("p", null, state, number);
}
export const page = createElement(react.FeedProvider, { value: feed }, createElement(App));
export const seconds: number = get(svelte.countdownTo("2030-01-01T00:00:00Z")).seconds;
export const state: string = vue.useNotifications(feed).value.status.state;
// @ts-expect-error: the number is not known at first.
export const unread: number = vue.useUnread(marks).value;
