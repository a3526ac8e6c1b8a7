import { beforeEach, expect, test, vi } from "vitest";
import { begin, opened, pass } from "./world.ts";

let page: EventTarget & { visibilityState: string };

beforeEach(() => {
  begin();
  page = Object.assign(new EventTarget(), { visibilityState: "visible" });
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", page);
  vi.stubGlobal("navigator", { onLine: true });
});

const happens = (event: string) => window.dispatchEvent(new Event(event));

test("back online it does not wait for the end of a pause", async () => {
  const world = await opened();
  world.socket.ends();
  happens("online");
  await pass(0);
  expect(world.attempts).toBe(2);
});

test("a tab that slept asks at once whether its connection lives", async () => {
  const world = await opened();
  world.socket.lives = false;
  page.dispatchEvent(new Event("visibilitychange"));
  expect(world.socket.sent).toEqual([{ type: "ping" }]);
  await pass(4_999);
  expect(world.attempts).toBe(1);
  await pass(1);
  expect(world.attempts).toBe(2);
});

test("a connection that answers is kept, however often the tab wakes", async () => {
  const world = await opened();
  for (const event of ["online", "pageshow", "offline"]) {
    happens(event);
  }
  await pass(20_000);
  expect(world.attempts).toBe(1);
  expect(world.socket.sent).toHaveLength(3);
});

test("offline is a doubt, as the gateway may be on this machine", async () => {
  vi.stubGlobal("navigator", { onLine: false });
  const world = await opened();
  world.socket.lives = false;
  happens("offline");
  await pass(5_000);
  expect(world.attempts).toBe(2);
  world.socket.ends();
  expect(world.client.status).toMatchObject({ state: "waiting", offline: true });
});

test("a hidden tab is left alone, and a closed client hears nothing of the page", async () => {
  const world = await opened();
  page.visibilityState = "hidden";
  page.dispatchEvent(new Event("visibilitychange"));
  page.visibilityState = "visible";
  world.client.close();
  happens("online");
  page.dispatchEvent(new Event("visibilitychange"));
  await pass(20_000);
  expect(world.attempts).toBe(1);
  expect(world.socket.sent).toEqual([]);
});
