import { beforeEach, expect, test, vi } from "vitest";
import { longPoll, ReadMarks, type OpenTransport } from "../src/index.ts";
import { MockGateway } from "../src/mock.ts";
import { advance, TestContext, useFakes } from "./context.ts";

let gateway: MockGateway;

beforeEach(() => {
  useFakes();
  gateway = new MockGateway();
});

/** A device of the user, and the numbers that its badge showed. */
class Device {
  readonly context: TestContext;
  readonly marks: ReadMarks;
  readonly shown: number[] = [];

  constructor(transports: OpenTransport = gateway.transport) {
    this.context = new TestContext({ transports });
    const options = { url: "wss://mock/ws", token: () => "t", fetch: gateway.fetch };
    this.marks = new ReadMarks(this.context.client, options);
    this.marks.onUnread((unread) => this.shown.push(unread));
  }

  /** What the badge shows. */
  get badge(): [number | undefined, boolean] {
    return [this.marks.unread, this.marks.exact];
  }
}

async function connected(): Promise<Device> {
  const device = new Device();
  await advance(0);
  return device;
}

test("the badges of all devices agree, whichever marks notifications as read", async () => {
  const [first, second] = [await connected(), await connected()];
  const { id } = gateway.send("class_created");
  gateway.sendAll();
  expect([first.badge, second.badge]).toEqual([[19, true], [19, true]]);
  await first.marks.markRead(id);
  expect([first.badge, second.badge]).toEqual([[18, true], [18, true]]);
  gateway.markRead();
  expect([first.badge, second.badge]).toEqual([[0, true], [0, true]]);
  // The position never goes back.
  await second.marks.markRead(id);
  const { position } = gateway;
  const state = { up_to: position, unread: 0, exact: true, last_event_id: position };
  expect(gateway.readState).toEqual(state);
});

test("a device that connects later shows the number without a request", async () => {
  gateway.sendAll();
  gateway.markRead(gateway.send("class_created").id);
  gateway.send("student_created");
  const requests = vi.spyOn(gateway, "respond");
  expect((await connected()).shown).toEqual([1]);
  expect(requests).not.toHaveBeenCalled();
});

test("the frames are those of a gateway", async () => {
  gateway.send("class_created");
  const { position } = gateway;
  const frames: unknown[] = [];
  const onFrame = (frame: unknown) => void frames.push(frame);
  const url = () => new URL("wss://mock/ws");
  const connection = gateway.transport(url, "t", { onFrame, onClose: () => {} });
  await advance(0);
  connection.send({ type: "read", up_to: position });
  connection.send({ type: "read" });
  const read = { up_to: position, unread: 0, exact: true, last_event_id: position };
  const summary = { unread: 1, read_up_to: "0-0", exact: true, counted_to: position };
  expect(frames).toEqual([
    expect.objectContaining({ data: expect.objectContaining(summary) }),
    { event: "read_state", data: read },
    { event: "read_state", data: read },
  ]);
});

test("the number is not exact once unread notifications have left the history", async () => {
  const device = await connected();
  for (let number = 0; number < 256; number += 1) gateway.send("class_created");
  expect(device.badge).toEqual([256, true]);
  gateway.send("class_created");
  await advance(0);
  expect(device.badge).toEqual([256, false]);
  await device.marks.markRead();
  expect(device.badge).toEqual([0, true]);
  gateway.send("class_created");
  expect(device.badge).toEqual([1, true]);
  gateway.loseHistory();
  gateway.restart();
  await advance(500);
  expect(device.badge).toEqual([0, false]);
});

test("a poll is answered when another device marks notifications as read", async () => {
  vi.stubGlobal("fetch", gateway.fetch);
  const device = new Device(longPoll);
  await advance(0);
  gateway.send("class_created");
  await advance(0);
  gateway.markRead();
  await advance(0);
  expect(device.shown).toEqual([0, 1, 0]);
  device.context.client.close();
});

test("marking as read fails with the token or the gateway, not at the limit", async () => {
  const { marks } = await connected();
  gateway.send("class_created");
  gateway.refuse(1008, "expired");
  await expect(marks.markRead()).rejects.toThrow("HTTP status 401");
  gateway.refuse(4000);
  await marks.markRead();
  expect(marks.unread).toBe(0);
  gateway.fault = "fails";
  await expect(marks.markRead()).rejects.toThrow("marking as read failed");
});

test("a gateway whose clock stands still loses and counts no notification less", async () => {
  gateway = new MockGateway({ now: () => 0 });
  const device = await connected();
  gateway.restart();
  gateway.send("class_created");
  await advance(500);
  gateway.send("student_created");
  expect(device.context.delivered).toHaveLength(2);
  expect(device.badge).toEqual([2, true]);
});
