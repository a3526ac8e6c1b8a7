// Drives headless Chromium over its DevTools pipe: commands and answers are JSON, each ended by a
// zero byte.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const PROGRAMS = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--no-first-run",
  "--remote-debugging-pipe",
];
/** Longest wait for a value. */
const LIMIT_MS = 60_000;

export class Chromium {
  #profile = mkdtempSync(join(tmpdir(), "chromium-"));
  #process;
  #calls = 0;
  #pending = new Map();

  constructor() {
    this.#process = spawn(program(), [...ARGUMENTS, `--user-data-dir=${this.#profile}`], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    let received = "";
    this.#process.stdio[4].setEncoding("utf8").on("data", (text) => {
      const messages = (received + text).split("\0");
      received = messages.pop();
      for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
        const { resolve, reject } = this.#pending.get(id) ?? {};
        this.#pending.delete(id);
        if (error) reject?.(new Error(error.message));
        else resolve?.(result);
      }
    });
  }

  /** Opens a page; returns a function that evaluates an expression in it. */
  async open(url) {
    const { targetId } = await this.#call("Target.createTarget", { url });
    const { sessionId } = await this.#call("Target.attachToTarget", { targetId, flatten: true });
    return async (expression) => {
      const evaluate = { expression, returnByValue: true };
      const { result } = await this.#call("Runtime.evaluate", evaluate, sessionId);
      return result.value;
    };
  }

  async close() {
    const closed = once(this.#process, "exit");
    this.#process.kill();
    await closed;
    await removeFolder(this.#profile);
  }

  #call(method, params, sessionId) {
    const id = (this.#calls += 1);
    this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }
}

/** Removes a folder in which processes that are ending may still create files. */
async function removeFolder(folder) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if (attempt === 50) throw error;
      await sleep(100);
    }
  }
}

/** Waits until a check returns `expected`; fails with its last value. */
export async function waitFor(what, expected, check) {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const value = await check();
    if (value === expected) return;
    if (Date.now() > deadline) throw new Error(`${what}: expected ${expected}, got ${value}`);
    await sleep(100);
  }
}

function program() {
  const paths = (process.env.PATH ?? "").split(delimiter);
  const candidates = PROGRAMS.flatMap((name) => paths.map((path) => join(path, name)));
  const found = candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error("Chromium is not installed");
  return found;
}
