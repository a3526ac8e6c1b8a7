import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";
import { Feed } from "../src/index.ts";
import { FeedProvider, useNotifications } from "../src/react.ts";
import { TestContext, useFakes } from "./context.ts";

const State = ({ feed }: { feed?: Feed }) => useNotifications(feed).status.state;

function feed(): Feed {
  const { client } = new TestContext({ enabled: false });
  vi.spyOn(client, "onAny").mockImplementation(() => {
    throw new Error("a server subscribes");
  });
  return new Feed(client);
}

test("a server renders the feed of the nearest provider, or the one that is given", () => {
  const value = feed();
  expect(renderToString(createElement(FeedProvider, { value }, createElement(State)))).toBe("idle");
  expect(renderToString(createElement(State, { feed: value }))).toBe("idle");
});

test("what hydrates after another part has connected renders what the server did", () => {
  useFakes();
  const feed = new Feed(new TestContext().client);
  expect(feed.snapshot().status.state).toBe("connecting");
  expect(renderToString(createElement(State, { feed }))).toBe("idle");
});

test("a component without a feed and a provider is an error that names both", () => {
  expect(() => renderToString(createElement(State))).toThrow("a feed or a FeedProvider");
});
