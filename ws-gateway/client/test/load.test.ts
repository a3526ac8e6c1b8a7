import { beforeEach, expect, test, vi } from "vitest";
import { load, type LoadHandler } from "../src/index.ts";
import { MockGateway } from "../src/mock.ts";
import { advance, TestContext, useFakes } from "./context.ts";

/** A page whose state is the number of notifications that the API knows. */
class Page implements LoadHandler<number> {
  readonly gateway = new MockGateway();
  readonly context = new TestContext({ transports: this.gateway.transport });
  readonly log: (number | string)[] = [];
  /** Answers the fetches of the state. */
  readonly fetches: PromiseWithResolvers[] = [];
  readonly stop = load(this.context.client, this);

  fetchState(): Promise<number> {
    let fetch!: PromiseWithResolvers;
    const promise = new Promise<number>((resolve, reject) => (fetch = { resolve, reject }));
    this.fetches.push(fetch);
    return promise;
  }

  onState(state: number): void {
    this.log.push(state);
  }

  onNotification({ event }: { event: string }): void {
    this.log.push(event);
  }

  async answers(state: number): Promise<void> {
    this.fetches.at(-1)?.resolve(state);
    await advance(0);
  }
}

interface PromiseWithResolvers {
  resolve: (state: number) => void;
  reject: (error: Error) => void;
}

beforeEach(useFakes);

test("the state is fetched after the position is known, and notifications follow it", async () => {
  const page = new Page();
  expect(page.fetches).toHaveLength(0);
  await advance(0);
  page.gateway.send("class_created");
  page.gateway.send("student_created");
  expect(page.log).toEqual([]);
  await page.answers(7);
  page.gateway.send("batch_essays_ready");
  expect(page.log).toEqual([7, "class_created", "student_created", "batch_essays_ready"]);
});

test("a complete resume fetches nothing, and an incomplete one the state anew", async () => {
  const page = new Page();
  await advance(0);
  await page.answers(1);
  page.gateway.restart();
  await advance(500);
  expect(page.fetches).toHaveLength(1);
  page.gateway.restart();
  page.gateway.loseHistory();
  page.gateway.send("class_created");
  await advance(500);
  expect(page.fetches).toHaveLength(2);
  page.gateway.send("student_created");
  await page.answers(2);
  expect(page.log).toEqual([1, 2, "class_created", "student_created"]);
});

test("only the latest of two fetches counts", async () => {
  const page = new Page();
  await advance(0);
  page.gateway.restart();
  page.gateway.loseHistory();
  await advance(500);
  page.fetches[0]?.resolve(1);
  await page.answers(2);
  expect(page.log).toEqual([2]);
});

test("a fetch that fails is repeated, with back-off, and keeps what follows", async () => {
  vi.stubGlobal("reportError", vi.fn());
  const page = new Page();
  await advance(0);
  page.gateway.send("class_created");
  for (const delay of [1_000, 2_000, 4_000]) {
    const before = page.fetches.length;
    page.fetches.at(-1)?.reject(new Error("503"));
    await advance(delay - 1);
    expect(page.fetches).toHaveLength(before);
    await advance(1);
    expect(page.fetches).toHaveLength(before + 1);
  }
  await page.answers(3);
  expect(page.log).toEqual([3, "class_created"]);
  expect(reportError).toHaveBeenCalledTimes(3);
});

test("notifications that are too many to keep while a fetch hangs begin another one", async () => {
  const page = new Page();
  await advance(0);
  for (let number = 0; number < 1024; number += 1) page.gateway.send("class_created");
  expect(page.fetches).toHaveLength(1);
  page.gateway.send("class_created");
  expect(page.fetches).toHaveLength(2);
  page.gateway.send("student_created");
  page.fetches[0]?.resolve(1);
  await page.answers(2);
  expect(page.log).toEqual([2, "student_created"]);
});

test("after it is stopped, nothing is fetched or applied", async () => {
  const page = new Page();
  await advance(0);
  page.stop();
  await page.answers(1);
  page.gateway.send("class_created");
  expect(page.log).toEqual([]);
});
