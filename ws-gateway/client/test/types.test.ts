// The types that an app relies on; `npm run check` compiles this file.

import { expectTypeOf, test } from "vitest";
import {
  connect,
  is,
  type Category,
  type Client,
  type Feed,
  type Notification,
  type OtherNotification,
  type Options,
  type ReadState,
  type ReadStateOptions,
  type Snapshot,
  type Status,
  type StudentMatchesSuggested,
  type SuggestedMatch,
} from "../src/index.ts";
import type { MockGateway } from "../src/mock.ts";
import type { useNotifications } from "../src/react.ts";
import type { notifications } from "../src/svelte.ts";

const client: Client = connect({
  url: "wss://live.example.org/ws",
  token: () => "t",
  enabled: false,
});

test("a listener receives the type of its event", () => {
  client.on("student_matches_suggested", (notification) => {
    expectTypeOf(notification).toEqualTypeOf<StudentMatchesSuggested>();
    expectTypeOf(notification.data.suggested_matches).toEqualTypeOf<SuggestedMatch[] | null>();
  });
  // @ts-expect-error: this notification says nothing of matches.
  client.on("class_created", ({ data }) => data.suggested_matches);
  client.on("an event of a service", (notification) => {
    expectTypeOf(notification).toEqualTypeOf<OtherNotification>();
  });
  client.onAny((notification) => {
    expectTypeOf(notification).toEqualTypeOf<Notification>();
    if (is(notification, "student_matches_suggested")) {
      expectTypeOf(notification).toEqualTypeOf<StudentMatchesSuggested>();
    }
  });
});

test("categories and options are checked", () => {
  expectTypeOf(client.filter).parameter(0).toEqualTypeOf<readonly Category[]>();
  // @ts-expect-error: there is no such category.
  client.filter(["gossip"]);
  expectTypeOf<Options["token"]>().returns.toEqualTypeOf<Promise<string> | string>();
  // @ts-expect-error: the token is required.
  expectTypeOf<{ url: string }>().toExtend<Options>();
});

test("a status is narrowed by its state", () => {
  const describe = (status: Status) => {
    if (status.state === "waiting") {
      expectTypeOf(status.retryAt).toEqualTypeOf<number>();
      expectTypeOf(status.code).toEqualTypeOf<number | undefined>();
    }
    if (status.state === "open") expectTypeOf(status.connectionId).toEqualTypeOf<string>();
  };
  expectTypeOf(client.onStatus).toBeCallableWith(describe);
});

test("a badge takes any fetch, such as that of the mock gateway", () => {
  type Fetch = NonNullable<ReadStateOptions["fetch"]>;
  expectTypeOf<typeof fetch>().toExtend<Fetch>();
  expectTypeOf<MockGateway["fetch"]>().toExtend<Fetch>();
  expectTypeOf<MockGateway["readState"]>().toEqualTypeOf<ReadState>();
});

test("the bindings return snapshots of a feed", () => {
  expectTypeOf<typeof useNotifications>().toEqualTypeOf<(feed?: Feed) => Snapshot>();
  expectTypeOf<Parameters<typeof notifications>>().toEqualTypeOf<[feed: Feed]>();
});
