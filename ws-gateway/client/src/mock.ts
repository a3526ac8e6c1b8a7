// A fake gateway for unit tests, stories and service workers. It plays what a real gateway sends,
// by the same types.

import {
  READ_STATE_EVENT,
  STATE_EVENT,
  type ClientMessage,
  type Notification,
  type Notifications,
  type OtherNotification,
  type ReadState,
  type ReadStateFrame,
  type Resume,
  type State,
} from "./contract.ts";
import { order } from "./resume-state.ts";
import { OTHER_SAMPLE, SAMPLES } from "./samples.ts";
import type { OpenTransport, Transport, TransportEvents } from "./transport.ts";

export { OTHER_SAMPLE, SAMPLES };

const TOKEN_LIFETIME_MS = 3_600_000;
/** The gateway keeps as many. */
const MAX_HISTORY = 256;
const TOKEN_REFUSED = 1008;

type Authenticated = Extract<State, { state: "authenticated" }>;
type Sample<E extends keyof Notifications> = Partial<Omit<Notifications[E], "data">> & {
  data?: Partial<Notifications[E]["data"]>;
};

/** One connection of a client. */
interface FakeConnection {
  readonly events: TransportEvents;
  isOpen: boolean;
}

/** A gateway of one user: `connect({ url, token, transports: gateway.transport })`. */
export class MockGateway {
  readonly #now: () => number;
  readonly #history: Notification[] = [];
  readonly #connections = new Set<FakeConnection>();
  readonly #polls = new Set<() => void>();
  #fault: "none" | "hangs" | "fails" = "none";
  #refusal: { code: number; reason: string } | undefined;
  #sequence = 0;
  /** The position before the history. */
  #start = "0-0";
  /** The position up to which the user has read. */
  #readUpTo = "0-0";
  /** Whether no notification left the history unread. */
  #isWhole = true;

  /** `now` is the gateway's clock, in milliseconds since 1970. */
  constructor({ now = Date.now }: { now?: () => number } = {}) {
    this.#now = now;
  }

  /** How many clients are connected. */
  get connections(): number {
    return [...this.#connections].filter(({ isOpen }) => isOpen).length;
  }

  /** The newest position. */
  get position(): string {
    return this.#history.at(-1)?.id ?? this.#start;
  }

  /** Connects clients without a network. */
  readonly transport: OpenTransport = (url, _, events): Transport => {
    const connection: FakeConnection = { events, isOpen: false };
    this.#connections.add(connection);
    queueMicrotask(() => this.#open(connection, url().searchParams.get("last_event_id")));
    return {
      name: "websocket",
      send: (message) => this.#receive(connection, message),
      close: () => void this.#connections.delete(connection),
    };
  };

  /** Answers requests without a network: `new ReadMarks(client, { fetch: gateway.fetch, … })`. */
  readonly fetch = (url: string | URL, init?: RequestInit): Promise<Response> =>
    this.respond(new Request(url, init));

  /** Sends a notification: the sample of the event, with the fields of `changes`. */
  send<E extends keyof Notifications>(event: E, changes: Sample<E> = {}): Notifications[E] {
    const sample: Notifications[E] = SAMPLES[event];
    const data = { ...sample.data, ...changes.data };
    return this.#publish({ ...sample, ...changes, data } as Notifications[E]);
  }

  /** Sends a notification that a service requested under a name of its own. */
  sendOther(event: string, changes: Partial<OtherNotification> = {}): OtherNotification {
    return this.#publish({ ...OTHER_SAMPLE, ...changes, event });
  }

  /** Sends the sample of every event. */
  sendAll(): Notification[] {
    const events = Object.keys(SAMPLES) as (keyof Notifications)[];
    const { event } = OTHER_SAMPLE;
    return [...events.map((event) => this.send(event)), this.sendOther(event)];
  }

  /** What the user has read, as every device knows it. */
  get readState(): ReadState {
    const { position } = this;
    const isRead = ({ id }: Notification) => order(id) <= order(this.#readUpTo);
    const unread = this.#history.filter((notification) => !isRead(notification)).length;
    const reachesBack = this.#history.slice(0, 1).some(isRead) || this.#readUpTo === position;
    const exact = this.#isWhole || reachesBack;
    return { up_to: this.#readUpTo, unread, exact, last_event_id: position };
  }

  /** Marks notifications as read up to a position, by default all, as another device does. */
  markRead(upTo = this.position): ReadState {
    const reached = order(upTo) < order(this.position) ? upTo : this.position;
    const moves = order(reached) > order(this.#readUpTo);
    if (moves) this.#readUpTo = reached;
    this.#send(this.#readStateFrame());
    if (moves) this.#wakePolls();
    return this.readState;
  }

  /** Forgets the history: a client that resumes receives `incomplete`. */
  loseHistory(): void {
    this.#history.length = 0;
    this.#sequence += 1;
    this.#start = `0-${this.#sequence}`;
    this.#isWhole = false;
  }

  /** Closes all connections with a close code, such as 1008 or 4000. */
  close(code: number, reason = ""): void {
    for (const { events } of this.#clear()) events.onClose(code, reason);
  }

  /** Closes all connections like a gateway that restarts. */
  restart(reconnect_after_ms = 500): void {
    for (const connection of this.#clear()) {
      const reason = "restarting";
      this.#state(connection, { state: "disconnected", reason, reconnect_after_ms });
      connection.events.onClose(1012, reason);
    }
  }

  /** Refuses connections with a close code from now on; without one, accepts them again. */
  refuse(code?: number, reason = ""): void {
    this.#refusal = code === undefined ? undefined : { code, reason };
  }

  /** Lets attempts and pings hang, or fail, from now on. */
  set fault(fault: "none" | "hangs" | "fails") {
    this.#fault = fault;
    if (fault === "fails") this.close(1006);
  }

  /**
   * Answers a long poll or `POST /read`, as a handler of MSW: `http.all("*\/read", ({ request }) =>
   * gateway.respond(request))`, and the same with `events`.
   */
  async respond(request: Request): Promise<Response> {
    if (this.#fault === "fails") return Response.error();
    if (this.#fault === "hangs") return new Promise(() => {});
    const isPoll = request.method === "GET";
    // `POST /read` is no connection, to which other refusals apply.
    if (this.#refusal && (isPoll || this.#refusal.code === TOKEN_REFUSED)) {
      const { code, reason: error } = this.#refusal;
      return Response.json({ code, error }, { status: code === TOKEN_REFUSED ? 401 : 429 });
    }
    const { searchParams } = new URL(request.url);
    if (!isPoll) return Response.json(this.markRead(searchParams.get("up_to") ?? ""));
    const wait = Number(searchParams.get("wait") ?? 25);
    let answer = this.#answer(searchParams);
    if (answer.resume === "complete" && answer.frames.length === 0) {
      await this.#nextFrame(wait * 1000, request.signal);
      answer = this.#answer(searchParams);
    }
    return Response.json({ ...answer, next: this.position });
  }

  #open(connection: FakeConnection, after: string | null): void {
    if (!this.#connections.has(connection) || this.#fault === "hangs") return;
    const refusal = this.#fault === "fails" ? { code: 1006, reason: "" } : this.#refusal;
    if (refusal) {
      this.#connections.delete(connection);
      return connection.events.onClose(refusal.code, refusal.reason);
    }
    connection.isOpen = true;
    const { frames, resume } = this.#missed(after);
    const position = { last_event_id: this.position, resume, ping_interval_s: 30 };
    const { unread, up_to: read_up_to, exact, last_event_id: counted_to } = this.readState;
    const read = { unread, read_up_to, exact, counted_to };
    this.#state(connection, { state: "authenticated", ...this.#session(), ...position, ...read });
    for (const frame of frames) connection.events.onFrame(frame);
    if (resume === "incomplete" && frames.length === 0) {
      this.#state(connection, { state: "position", last_event_id: this.position });
    }
  }

  #receive(connection: FakeConnection, message: ClientMessage): void {
    switch (message.type) {
      case "ping":
        if (this.#fault === "none") connection.events.onFrame({ type: "pong" });
        return;
      case "auth":
        return this.#state(connection, { state: "connected", ...this.#session() });
      case "read":
        this.markRead(message.up_to ?? "");
    }
  }

  #session(): Pick<Authenticated, "connection_id" | "token_expires_at"> {
    const token_expires_at = new Date(this.#now() + TOKEN_LIFETIME_MS).toISOString();
    return { connection_id: "00000000-0000-4000-8000-000000000000", token_expires_at };
  }

  #state({ events }: FakeConnection, data: State): void {
    events.onFrame({ event: STATE_EVENT, timestamp: new Date(this.#now()).toISOString(), data });
  }

  #publish<N extends Notification>(notification: N): N {
    this.#sequence += 1;
    const id = `${this.#now()}-${this.#sequence}`;
    const event_id = `00000000-0000-4000-8000-${String(this.#sequence).padStart(12, "0")}`;
    const published = { ...notification, id, event_id };
    this.#history.push(published);
    if (this.#history.length > MAX_HISTORY) {
      this.#start = this.#history.shift()?.id ?? "";
      this.#isWhole &&= order(this.#start) <= order(this.#readUpTo);
    }
    this.#send(published);
    this.#wakePolls();
    return published;
  }

  #readStateFrame(): ReadStateFrame {
    return { event: READ_STATE_EVENT, data: this.readState };
  }

  /** Sends a frame to every connection. */
  #send(frame: object): void {
    for (const { events, isOpen } of this.#connections) if (isOpen) events.onFrame(frame);
  }

  #wakePolls(): void {
    for (const wake of this.#polls) wake();
  }

  /** Returns what a poll is answered, with the read state if the client knows another one. */
  #answer(query: URLSearchParams): { frames: object[]; resume: Resume } {
    const { frames, resume } = this.#missed(query.get("last_event_id") ?? query.get("after"));
    const known = query.get("read_up_to") ?? this.#readUpTo;
    const read = known === this.#readUpTo ? [] : [this.#readStateFrame()];
    return { frames: [...read, ...frames], resume };
  }

  /** Returns what a client has missed since a position. */
  #missed(after: string | null): { frames: Notification[]; resume: Resume } {
    if (after === null) return { frames: [], resume: "none" };
    const index = this.#history.findIndex(({ id }) => id === after);
    const resume = index >= 0 || after === this.#start ? "complete" : "incomplete";
    return { frames: this.#history.slice(index + 1), resume };
  }

  #clear(): FakeConnection[] {
    const connections = [...this.#connections];
    this.#connections.clear();
    return connections;
  }

  #nextFrame(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#polls.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      signal.addEventListener("abort", wake);
      this.#polls.add(wake);
    });
  }
}
