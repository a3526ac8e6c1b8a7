// A fake `fetch`, whose requests the test answers.

import { vi } from "vitest";
import { advance } from "./context.ts";

export class FakeRequest {
  static all: FakeRequest[] = [];
  readonly url: URL;
  readonly headers: Record<string, string>;
  aborted = false;
  #resolve!: (response: Response) => void;
  #reject!: (error: unknown) => void;
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  readonly response = new Promise<Response>((resolve, reject) => {
    this.#resolve = resolve;
    this.#reject = reject;
  });

  constructor(url: URL, { headers, signal }: RequestInit) {
    this.url = url;
    this.headers = headers as Record<string, string>;
    signal?.addEventListener("abort", () => {
      this.aborted = true;
      this.#reject(new DOMException("aborted", "AbortError"));
    });
    FakeRequest.all.push(this);
  }

  static get last(): FakeRequest {
    const request = FakeRequest.all.at(-1);
    if (!request) throw new Error("no request yet");
    return request;
  }

  /** Fails as when a proxy closes the connection. */
  async fails(): Promise<void> {
    this.#reject(new TypeError("Failed to fetch"));
    await advance(0);
  }

  /** Answers with JSON. */
  async answers(body: object, status = 200): Promise<void> {
    this.#resolve(Response.json(body, { status }));
    await advance(0);
  }

  /** Begins an event stream, with the first bytes that the gateway sends. */
  async streams(): Promise<void> {
    const body = new ReadableStream<Uint8Array>({ start: (body) => void (this.#body = body) });
    this.#resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }));
    await this.receives(":\n\n");
  }

  /** Simulates a part of the stream. */
  async receives(text: string): Promise<void> {
    this.#body?.enqueue(new TextEncoder().encode(text));
    await advance(0);
  }

  /** Simulates a frame in the stream. */
  receivesFrame(frame: object, id = ""): Promise<void> {
    return this.receives(`${id && `id: ${id}\n`}data: ${JSON.stringify(frame)}\n\n`);
  }

  receivesAuthenticated(resume = "complete"): Promise<void> {
    const data = { state: "authenticated", connection_id: "c-2", resume, ping_interval_s: 30 };
    return this.receivesFrame({
      event: "connection_state",
      data: { ...data, last_event_id: "1-0" },
    });
  }

  receivesNotification(id: string): Promise<void> {
    return this.receivesFrame(notification(id), id);
  }
}

export const notification = (id: string) => ({ id, event: "class_created", event_id: `e-${id}` });

export function useFakeFetch(): void {
  FakeRequest.all = [];
  vi.stubGlobal("fetch", (url: URL, init: RequestInit) => new FakeRequest(url, init).response);
}
