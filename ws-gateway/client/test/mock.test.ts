import { beforeEach, expect, test, vi } from "vitest";
import { longPoll } from "../src/index.ts";
import { MockGateway, OTHER_SAMPLE, SAMPLES } from "../src/mock.ts";
import { advance, TestContext, useFakes } from "./context.ts";

let gateway: MockGateway;

beforeEach(() => {
  useFakes();
  gateway = new MockGateway();
});

async function connected(): Promise<TestContext> {
  const context = new TestContext({ transports: gateway.transport });
  await advance(0);
  return context;
}

test("it plays the sample of all 18 events, each with its type", async () => {
  const context = await connected();
  const events: string[] = [];
  context.client.onAny(({ event }) => events.push(event));
  gateway.sendAll();
  expect(events).toEqual([...Object.keys(SAMPLES), OTHER_SAMPLE.event]);
  expect(events).toHaveLength(18);
  expect(new Set(context.delivered).size).toBe(18);
});

test("fields of a sample can be changed", async () => {
  const context = await connected();
  const listener = vi.fn();
  context.client.on("class_created", ({ data }) => listener(data.class_designation));
  gateway.send("class_created", { data: { class_designation: "9B" } });
  expect(listener).toHaveBeenCalledWith("9B");
  // @ts-expect-error: the event has no such field.
  gateway.send("class_created", { data: { filename: "a" } });
});

test("a client resumes after a restart, completely if the history is kept", async () => {
  const context = await connected();
  gateway.send("class_created");
  gateway.restart(700);
  gateway.send("student_created");
  expect(context.client.status).toMatchObject({ state: "waiting", code: 1012 });
  await advance(700);
  expect(context.client.status).toMatchObject({ state: "open", resume: "complete" });
  expect(context.delivered).toHaveLength(2);
  gateway.restart();
  gateway.loseHistory();
  for (let reconnection = 0; reconnection < 3; reconnection += 1) {
    await advance(500);
    expect(context.state).toBe("open");
    expect(context.incompleteCount).toBe(1);
    gateway.restart();
  }
});

test("it refuses, hangs and fails", async () => {
  const context = await connected();
  gateway.refuse(4000, "Connection limit exceeded");
  gateway.close(1011);
  await advance(10_000);
  expect(context.client.status).toMatchObject({ state: "waiting", code: 4000 });
  gateway.refuse();
  gateway.fault = "hangs";
  context.client.retry();
  await advance(0);
  expect(context.state).toBe("connecting");
  gateway.fault = "fails";
  await advance(0);
  expect(context.state).toBe("waiting");
  gateway.fault = "none";
  context.client.retry();
  await advance(0);
  expect([context.state, gateway.connections]).toEqual(["open", 1]);
});

test("its clock is the one that it is given", async () => {
  const now = Date.parse("2030-01-01T00:00:00Z");
  gateway = new MockGateway({ now: () => now });
  expect(gateway.send("class_created").id).toBe(`${now}-1`);
});

test("it answers long polls, as a handler of MSW", async () => {
  vi.stubGlobal("fetch", gateway.fetch);
  const context = new TestContext({ transports: longPoll });
  await advance(0);
  expect(context.client.status).toMatchObject({ state: "open", transport: "long_poll" });
  await advance(60_000);
  gateway.send("class_created");
  await advance(0);
  gateway.send("student_created");
  await advance(0);
  expect(context.delivered).toHaveLength(2);
  context.client.close();
});
