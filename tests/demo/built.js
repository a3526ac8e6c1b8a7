// Generated from page.ts by `npm run page` in ws-gateway/client. Do not edit.

// ws-gateway/client/src/backoff.ts
var INITIAL_FAILURE_MS = 500;
var MAX_FAILURE_MS = 2e4;
var LOST_SPREAD_MS = 1e4;
var INITIAL_REFUSAL_MS = 2e3;
var MAX_REFUSAL_MS = 3e5;
var STABLE_AFTER_MS = 1e3;
var ACCEPTED_AFTER_MS = MAX_REFUSAL_MS;
var Backoff = class {
  #failures = 0;
  #refusals = 0;
  /** Records that an open connection ended; returns whether it was stable. */
  recordConnection(lastedMs) {
    if (lastedMs >= ACCEPTED_AFTER_MS) this.#refusals = 0;
    if (lastedMs < STABLE_AFTER_MS) return false;
    this.#failures = 0;
    return true;
  }
  /** Returns the delay after an attempt failed, or after the loss of an open connection, which may
   * concern all clients of a gateway. */
  afterFailure(mayConcernAll) {
    const longest = Math.min(INITIAL_FAILURE_MS * 2 ** this.#failures, MAX_FAILURE_MS);
    this.#failures += 1;
    return Math.random() * (mayConcernAll ? Math.max(longest, LOST_SPREAD_MS) : longest);
  }
  /** Returns the delay after the gateway refused the token or the connection. */
  afterRefusal() {
    const longest = Math.min(INITIAL_REFUSAL_MS * 2 ** this.#refusals, MAX_REFUSAL_MS);
    this.#refusals += 1;
    return longest * (1 + Math.random()) / 2;
  }
};

// ws-gateway/client/src/contract.ts
var CATEGORIES = ["batch_progress", "processing_results", "file_operations", "class_management", "student_workflow", "system_alerts"];
var STATE_EVENT = "connection_state";
var READ_STATE_EVENT = "read_state";
var SUBPROTOCOL = "huleedu.v1";
var TOKEN_PREFIX = "huleedu.token.";
var STOP_CODES = [1002, 1003];
var WAIT_CODES = [1007, 1009, 4e3];
var TOKEN_CODES = [1008];

// ws-gateway/client/src/json.ts
function parse(text2) {
  try {
    return JSON.parse(text2);
  } catch {
    return void 0;
  }
}

// ws-gateway/client/src/liveness.ts
var PONG_TIMEOUT_MS = 5e3;
var DEFAULT_PING_INTERVAL_S = 30;
var MAX_PING_INTERVAL_S = 1e6;
var Liveness = class {
  #ping;
  #onTimeout;
  #pingTimer;
  #pongTimer;
  #isProbed = false;
  constructor(ping, onTimeout) {
    this.#ping = ping;
    this.#onTimeout = onTimeout;
  }
  start(intervalSeconds) {
    clearInterval(this.#pingTimer);
    const stated = intervalSeconds >= 1 ? intervalSeconds : DEFAULT_PING_INTERVAL_S;
    const seconds = Math.min(stated, MAX_PING_INTERVAL_S);
    this.#pingTimer = setInterval(() => this.#sendPing(), seconds * 1e3);
  }
  /** Pings because the network or the page was suspended. */
  probe() {
    this.#isProbed = true;
    this.#sendPing();
  }
  /** Whether nothing has arrived since a probe. */
  get isProbed() {
    return this.#isProbed;
  }
  /** Sends a ping; the connection has timed out unless any frame arrives in time. */
  #sendPing() {
    if (this.#pongTimer !== void 0) return;
    this.#pongTimer = setTimeout(this.#onTimeout, PONG_TIMEOUT_MS);
    this.#ping();
  }
  /** Records that a frame has arrived. */
  confirm() {
    this.#isProbed = false;
    clearTimeout(this.#pongTimer);
    this.#pongTimer = void 0;
  }
  stop() {
    clearInterval(this.#pingTimer);
    this.confirm();
  }
};

// ws-gateway/client/src/renewal.ts
var RENEWAL_FRACTION = 0.2;
var MAX_RENEWAL_LEAD_MS = 6e4;
var MIN_RENEWAL_INTERVAL_MS = 2e3;
var MAX_TIMER_MS = 1e9;
var Renewal = class {
  #renew;
  #timer;
  constructor(renew) {
    this.#renew = renew;
  }
  /** Replaces the schedule. Uses the gateway's clock, as browser clocks are often wrong. */
  schedule(expiresAt, gatewayTime) {
    const lifetime = Date.parse(expiresAt) - Date.parse(gatewayTime);
    const lead = Math.min(lifetime * RENEWAL_FRACTION, MAX_RENEWAL_LEAD_MS);
    this.#set(lifetime - lead, Date.now() + lifetime);
  }
  stop() {
    clearTimeout(this.#timer);
  }
  #set(delay, expiry) {
    this.stop();
    if (Number.isNaN(delay)) return;
    const bounded = Math.min(Math.max(delay, MIN_RENEWAL_INTERVAL_MS), MAX_TIMER_MS);
    this.#timer = setTimeout(() => {
      this.#set((expiry - Date.now()) / 2, expiry);
      this.#renew();
    }, bounded);
  }
};

// ws-gateway/client/src/connection.ts
var TOKEN_TIMEOUT_MS = 8e3;
var CONNECT_TIMEOUT_MS = 15e3;
var WAKE_TIMEOUT_MS = 5e3;
var MIN_REQUESTED_DELAY_MS = 500;
var MAX_REQUESTED_DELAY_MS = 6e4;
var Connection = class {
  #handler;
  #backoff = new Backoff();
  #liveness = new Liveness(
    () => this.send({ type: "ping" }),
    () => this.open()
  );
  #renewal = new Renewal(() => this.#renew());
  #transport;
  /** Incremented by each attempt and close, so that tokens for earlier attempts are ignored. */
  #attempt = 0;
  #timer;
  /** When the attempt in progress is given up. */
  #deadline;
  /** Whether the attempt replaced one that was given up after the tab woke up. */
  #isFresh;
  #openSince;
  #waiting;
  #tokenReplaced = false;
  /** `reconnect_after_ms` of the gateway. */
  #requestedDelay;
  constructor(handler) {
    this.#handler = handler;
  }
  /** Connects now; closes the current connection, if any. */
  async open() {
    this.cancel();
    const attempt = this.#attempt;
    this.#limit(TOKEN_TIMEOUT_MS, () => this.#onTokenTimeout());
    this.#handler.onStatus({ state: "connecting" });
    if (attempt !== this.#attempt) return;
    let token;
    try {
      token = (await this.#handler.token()).trim();
    } catch (error) {
      if (attempt === this.#attempt) this.#onLocalFailure(`no token: ${error}`);
      return;
    }
    if (attempt !== this.#attempt) return;
    this.#limit(CONNECT_TIMEOUT_MS, () => this.#onFailure("connection timed out"));
    try {
      this.#transport = this.#handler.openTransport(() => this.#handler.connectUrl(token), token, {
        onFrame: (frame) => this.#onFrame(frame),
        onClose: (code, reason) => this.#onClose(code, closeMessage(reason))
      });
    } catch (error) {
      this.#onLocalFailure(String(error).replaceAll(token, "\u2026"));
    }
  }
  /** Checks the connection after the network or the tab was suspended; ends a delay. */
  check() {
    if (this.#waiting) void this.open();
    else if (this.#openSince !== void 0) this.#liveness.probe();
    else if (this.#deadline !== void 0 && !this.#isFresh) {
      this.#limit(Math.min(this.#deadline - Date.now(), WAKE_TIMEOUT_MS), () => {
        if (!this.#transport) return this.#onTokenTimeout();
        void this.open();
        this.#isFresh = true;
      });
    }
  }
  /** Handles the browser's `offline` event: a loopback gateway may still be reachable. */
  checkOffline() {
    if (this.#waiting) {
      this.#waiting = { ...this.#waiting, offline: true };
      this.#handler.onStatus(this.#waiting);
    } else if (this.#openSince !== void 0) this.#liveness.probe();
  }
  send(message) {
    if (this.#openSince !== void 0) this.#transport?.send(message);
  }
  stop(message, code) {
    this.cancel();
    this.#handler.onStatus({ state: "stopped", message, code });
  }
  /** Closes the connection, or ends the attempt or the delay, without a new status. */
  cancel() {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    this.#liveness.stop();
    this.#renewal.stop();
    this.#transport?.close();
    this.#deadline = this.#openSince = this.#requestedDelay = void 0;
    this.#transport = this.#waiting = this.#isFresh = void 0;
  }
  /** Limits the attempt in progress. */
  #limit(ms, onTimeout) {
    clearTimeout(this.#timer);
    this.#deadline = Date.now() + ms;
    this.#timer = setTimeout(onTimeout, ms);
  }
  #wait(delay, message, code) {
    this.cancel();
    this.#timer = setTimeout(() => this.#handler.onRetryDue(), delay);
    const retryAt = Date.now() + delay;
    const offline = globalThis.navigator?.onLine === false;
    this.#waiting = { state: "waiting", retryAt, offline, message, code };
    this.#handler.onStatus(this.#waiting);
  }
  #onFailure(message, code) {
    const mayConcernAll = this.#openSince !== void 0 && !this.#liveness.isProbed;
    this.#wait(this.#requestedDelay ?? this.#backoff.afterFailure(mayConcernAll), message, code);
  }
  #onTokenTimeout() {
    this.#onLocalFailure("token timed out");
  }
  /** Handles a failure before the network was used. */
  #onLocalFailure(message) {
    this.#onFailure(message);
    this.#handler.onRefused();
  }
  #onClose(code, message) {
    const since = this.#openSince;
    if (since !== void 0 && this.#backoff.recordConnection(Date.now() - since)) {
      this.#tokenReplaced = false;
    }
    const isTokenRefused = TOKEN_CODES.includes(code);
    if (isTokenRefused && !this.#tokenReplaced) {
      this.#tokenReplaced = true;
      return void this.open();
    }
    if (STOP_CODES.includes(code)) this.stop(message, code);
    else if (isTokenRefused || WAIT_CODES.includes(code)) {
      this.#wait(this.#backoff.afterRefusal(), message, code);
    } else return this.#onFailure(message || "connection lost", code);
    this.#handler.onRefused();
  }
  #onFrame(frame) {
    this.#liveness.confirm();
    if (frame?.event === STATE_EVENT) {
      if (frame.data) this.#onState(frame.data, frame.timestamp ?? "");
    } else if (typeof frame?.event === "string") {
      this.#handler.onNotification(frame);
    }
  }
  #onState(data, timestamp) {
    const { token_expires_at: expiresAt } = data;
    if (expiresAt) this.#renewal.schedule(expiresAt, timestamp);
    switch (data.state) {
      case "authenticated":
        return this.#onAuthenticated(data);
      case "position":
        return this.#handler.resume.advance(data.last_event_id);
      case "disconnected":
        if (data.reconnect_after_ms >= 0) {
          const delay = Math.max(data.reconnect_after_ms, MIN_REQUESTED_DELAY_MS);
          this.#requestedDelay = Math.min(delay, MAX_REQUESTED_DELAY_MS);
        }
    }
  }
  #onAuthenticated(read) {
    const { resume, connection_id: connectionId } = read;
    clearTimeout(this.#timer);
    this.#deadline = void 0;
    this.#openSince ??= Date.now();
    this.#liveness.start(read.ping_interval_s);
    if (resume !== "complete") this.#handler.resume.start(read.last_event_id);
    const transport2 = this.#transport?.name;
    this.#handler.onStatus({ state: "open", connectionId, resume, transport: transport2, read });
    if (resume === "incomplete") this.#handler.onIncomplete();
  }
  /** Sends a new token. Without one, the current one stays valid until the next scheduled try. */
  async #renew() {
    const attempt = this.#attempt;
    try {
      const token = (await this.#handler.token()).trim();
      if (attempt === this.#attempt) this.send({ type: "auth", token });
    } catch {
    }
  }
};
function closeMessage(reason) {
  const parsed = parse(reason);
  return String(parsed?.message ?? reason);
}

// ws-gateway/client/src/listeners.ts
var Listeners = class {
  #topics = /* @__PURE__ */ new Map();
  add(topic, listener) {
    const listeners = this.#topics.get(topic) ?? /* @__PURE__ */ new Set();
    this.#topics.set(topic, listeners);
    const wrapped = (value) => listener(value);
    listeners.add(wrapped);
    return () => void listeners.delete(wrapped);
  }
  /** Calls every listener; one that throws does not affect the others. */
  emit(topic, value) {
    for (const listener of this.#topics.get(topic) ?? []) {
      try {
        listener(value);
      } catch (error) {
        globalThis.reportError?.(error);
      }
    }
  }
};

// ws-gateway/client/src/page-events.ts
function listenToPage(signal, wake, offline) {
  if (typeof window === "undefined") return;
  const wakeIfVisible = () => document.hidden || wake();
  const options = { signal };
  for (const event of ["online", "pageshow"]) window.addEventListener(event, wake, options);
  document.addEventListener("visibilitychange", wakeIfVisible, options);
  window.addEventListener("offline", offline, options);
}

// ws-gateway/client/src/resume-state.ts
var MAX_DELIVERED_IDS = 1024;
var POSITION = /^\d{1,20}-\d{1,20}$/;
var ResumeState = class {
  #storage;
  #delivered = /* @__PURE__ */ new Set();
  #key;
  /** Where the next connection resumes. */
  position;
  /** Stores nothing if `storage` is `null`, and in the tab's `sessionStorage` if it is missing. */
  constructor(storage) {
    this.#storage = storage;
  }
  /** Loads the position that is stored under a key for a gateway and user, once. */
  load(key) {
    if (this.#key !== void 0) return;
    this.#key = key;
    try {
      if (this.#storage === void 0) this.#storage = globalThis.sessionStorage;
      this.position ??= this.#storage?.getItem(this.#key) ?? void 0;
    } catch {
    }
  }
  /** Takes the newest position of a history that did not, or not completely, resume. */
  start(newest) {
    const { position } = this;
    if (!position || order(position) > order(newest)) this.setPosition(newest);
  }
  /** Moves the position forward, to the id of a notification. */
  advance(id) {
    if (order(this.position) < order(id)) this.setPosition(id);
  }
  /** Ignores a text that is not a position. */
  setPosition(position = "") {
    if (!POSITION.test(position)) return;
    this.position = position;
    try {
      if (this.#key !== void 0) this.#storage?.setItem(this.#key, position);
    } catch {
    }
  }
  /** Records the id; returns false if it was recorded before. */
  isFirstDelivery(id) {
    if (this.#delivered.has(id)) return false;
    this.#delivered.add(id);
    if (this.#delivered.size > MAX_DELIVERED_IDS) {
      const [oldest = ""] = this.#delivered;
      this.#delivered.delete(oldest);
    }
    return true;
  }
};
function order(position = "") {
  return String(position).replace(/\d+/g, (digits) => digits.padStart(20, "0"));
}
function subject(token) {
  try {
    const claims = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/");
    return String(JSON.parse(atob(claims ?? "")).sub);
  } catch {
    return "";
  }
}

// ws-gateway/client/src/leadership.ts
var Candidate = class {
  #name;
  /** The request that is queued or granted. */
  #request;
  #release;
  constructor(name) {
    this.#name = name;
  }
  get isLeader() {
    return this.#release !== void 0;
  }
  /** Whether this tab becomes the leader when there is no other. */
  get isCandidate() {
    return this.#request !== void 0;
  }
  /** Becomes a candidate. */
  join() {
    if (!this.isCandidate) void this.#lock(false);
  }
  /** Takes the leadership from another tab, which does not answer. */
  seize() {
    this.#request?.abort();
    void this.#lock(true);
  }
  /** Gives up leadership and candidacy. */
  resign() {
    this.#request?.abort();
    this.#release?.();
    this.#request = this.#release = void 0;
  }
  async #lock(steal) {
    const request = this.#request = new AbortController();
    const { signal } = request;
    const hold = () => new Promise((release) => {
      if (signal.aborted) return release();
      this.#release = release;
      this.onElected();
    });
    try {
      await navigator.locks.request(this.#name, steal ? { steal } : { signal }, hold);
    } catch {
      if (signal.aborted) return;
      const wasLeader = this.isLeader;
      this.#request = this.#release = void 0;
      if (wasLeader) this.onDeposed();
      else this.onDenied();
    }
  }
};

// ws-gateway/client/src/tabs.ts
var MAX_RECENT = 256;
var PROBE_INTERVAL_MS = 3e3;
var Tabs = class extends Candidate {
  #handler;
  #id = newIdentity();
  #channel;
  #probeTimer;
  /** The latest notifications of this tab, each with the position before it. */
  #recent = [];
  /**
   * The term of the leader: greater than those of all leaders before it, of which one may not know
   * yet that it was replaced.
   */
  #term = 0;
  /** Until the leader's answer arrives, which contains them, notifications and states are ignored:
   * a tab that is open misses nothing from then on. */
  #catchingUp = true;
  #probeUnanswered = false;
  /** Throws where the browser has or allows no `BroadcastChannel`. */
  constructor(name, handler) {
    super(name);
    this.#handler = handler;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#onMessage(data);
    this.#probeTimer = setInterval(() => this.#probe(), PROBE_INTERVAL_MS);
    this.#catchUp();
  }
  /** Sends what the connection reported to the other tabs, if this tab owns it. */
  broadcast(broadcast) {
    if (this.isLeader) this.#post(broadcast);
  }
  /**
   * Keeps a notification for other tabs, with the position before it, and sends it to them if this
   * tab owns the connection.
   */
  share(delivery, previousPosition) {
    this.#recent.push({ ...delivery, previousPosition });
    if (this.#recent.length > MAX_RECENT) this.#recent.shift();
    this.broadcast({ kind: "delivery", delivery });
  }
  /** Asks the leader to check its connection, and for what this tab missed. */
  check() {
    this.join();
    this.#post({ kind: "check" });
    this.#catchUp();
  }
  close() {
    clearInterval(this.#probeTimer);
    this.resign();
    this.#channel.close();
  }
  onElected() {
    this.#term = Math.max(this.#term + 1, Date.now());
    this.#catchingUp = false;
    this.#post({ kind: "leader" });
    this.#handler.onElected();
  }
  onDeposed() {
    this.#handler.onFollow();
    this.join();
    this.#catchUp();
  }
  onDenied() {
    this.close();
    this.#handler.onDenied();
  }
  #post(content) {
    const message = { from: this.#id, term: this.#term, ...content };
    this.#channel.postMessage(message);
  }
  #catchUp() {
    this.#catchingUp = true;
    this.#post({ kind: "catch_up", position: this.#handler.state().position });
  }
  /** Asks whether the leader is alive; replaces it if it did not answer the last time. */
  #probe() {
    const follows = this.isCandidate && !this.isLeader;
    if (follows && this.#probeUnanswered) this.seize();
    this.#probeUnanswered = follows;
    if (follows) this.#post({ kind: "probe" });
  }
  #onMessage(message) {
    if (this.isLeader) this.#onRequest(message);
    else this.#onBroadcast(message);
  }
  #onRequest(message) {
    switch (message.kind) {
      case "probe":
        return void setTimeout(() => this.broadcast({ kind: "leader" }));
      case "check":
        return this.#handler.onCheck();
      case "catch_up":
        const missed = this.#missedSince(message.position);
        return this.#post({ kind: "missed", tab: message.from, missed });
    }
  }
  #onBroadcast(message) {
    const { kind, term } = message;
    if (term < this.#term) return;
    const isNew = term > this.#term;
    this.#term = term;
    if (kind === "leader") this.#probeUnanswered = false;
    if (kind === "missed" && message.tab === this.#id) return this.#onMissed(message.missed);
    if (isNew || kind === "leader" && this.#catchingUp) this.#catchUp();
    if (kind === "incomplete") this.#handler.onIncomplete();
    if (this.#catchingUp) return;
    if (kind === "delivery") this.#handler.onDelivery(message.delivery);
    if (kind === "state") this.#onState(message);
  }
  #onState(state) {
    if (state.status.state === "open" && !this.isCandidate) {
      this.#handler.onFollow();
      this.join();
    }
    this.#handler.onState(state);
  }
  #missedSince(position) {
    const state = this.#handler.state();
    const index = this.#recent.findIndex(({ notification }) => notification.id === position);
    const isNewest = index < 0 && position === state.position;
    const isKnown = [void 0, this.#recent[0]?.previousPosition].includes(position);
    const complete = index >= 0 || isNewest || isKnown;
    const deliveries = isNewest || position === void 0 ? [] : this.#recent.slice(index + 1);
    return { ...state, deliveries, complete };
  }
  #onMissed({ deliveries, complete, ...state }) {
    if (!complete) this.#handler.onIncomplete();
    for (const delivery of deliveries) this.#handler.onDelivery(delivery);
    this.#catchingUp = false;
    this.#onState(state);
  }
};
function newIdentity() {
  return String(Math.random());
}

// ws-gateway/client/src/websocket.ts
var webSocket = (url, token, events) => {
  const socket = new WebSocket(url(), [SUBPROTOCOL, TOKEN_PREFIX + token]);
  socket.onmessage = ({ data }) => {
    const frame = parse(data);
    if (frame !== void 0) events.onFrame(frame);
  };
  socket.onclose = ({ code, reason }) => events.onClose(code, reason);
  return {
    name: "websocket",
    send: (message) => socket.send(JSON.stringify(message)),
    close() {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
  };
};

// ws-gateway/client/src/client.ts
function connect(options) {
  return new Client(options);
}
function is(notification, event) {
  return notification.event === event;
}
var Client = class {
  #options;
  #resume;
  #connection;
  #listeners = new Listeners();
  #tabs;
  /** From `start()` to `close()`. */
  #running;
  #closed = false;
  #categories;
  #status = { state: "idle" };
  /** Does no I/O, so that it may be called on a server. */
  constructor(options) {
    this.#options = options;
    this.#categories = options.categories ?? [];
    this.#resume = new ResumeState(options.storage);
    this.#connection = new Connection({
      openTransport: options.transports ?? webSocket,
      resume: this.#resume,
      token: options.token,
      connectUrl: (token) => this.#connectUrl(token),
      onNotification: (notification) => this.#deliver(notification),
      onStatus: (status) => this.#setStatus(status),
      onIncomplete: () => this.#reportIncomplete(),
      onRefused: () => this.#tabs?.resign(),
      onRetryDue: () => this.#connect()
    });
  }
  /** The current status. */
  get status() {
    return this.#status;
  }
  on(event, listener) {
    return this.#subscribe(`event ${event}`, listener);
  }
  /** Subscribes to every notification. */
  onAny(listener) {
    return this.#subscribe("any", listener);
  }
  /** Calls the listener with the current status, and with each later one. */
  onStatus(listener) {
    const unsubscribe = this.#subscribe("status", listener);
    listener(this.#status);
    return unsubscribe;
  }
  /** Subscribes to losses: notifications were missed that history no longer holds; reload. */
  onIncomplete(listener) {
    return this.#subscribe("incomplete", listener);
  }
  /** Subscribes to the ids of notifications that were delivered before under another id. */
  onRepeated(listener) {
    return this.#subscribe("repeated", listener);
  }
  /** Replaces the category filter; an empty list selects all. */
  filter(categories) {
    this.#categories = categories;
    if (this.#tabs) return;
    if (this.#status.state === "connecting") void this.#connection.open();
    else this.#connection.send({ type: "filter", categories: [...categories] });
  }
  /**
   * Connects, and reconnects until `close()`; no effect if it has started. Throws on an invalid
   * URL, which no retry can change.
   */
  start() {
    if (this.#running) return;
    const { href } = this.#url();
    this.#closed = false;
    const { signal } = this.#running = new AbortController();
    const { shareAs } = this.#options;
    if (shareAs !== void 0) {
      const name = `live-notifications ${href} ${shareAs}`;
      this.#resume.load(name);
      this.#tabs = this.#joinTabs(name);
    }
    this.#connect();
    const wake = () => this.#status.state !== "stopped" && this.retry();
    listenToPage(signal, wake, () => this.#ownsConnection && this.#connection.checkOffline());
  }
  /**
   * Reconnects now instead of after the delay, also after the gateway stopped this client; an open
   * connection is only pinged. No effect after `close()`.
   */
  retry() {
    if (this.#closed) return;
    if (!this.#running) this.start();
    else if (!this.#ownsConnection) this.#tabs?.check();
    else if (this.#status.state === "stopped") this.#connect();
    else this.#connection.check();
  }
  /** Closes the connection, as at sign-out; only `start()` connects again. */
  close() {
    this.#closed = true;
    this.#running?.abort();
    this.#tabs?.close();
    this.#running = this.#tabs = void 0;
    this.#connection.stop("closed by the app");
  }
  #subscribe(topic, listener) {
    if (!this.#closed && this.#options.enabled !== false) this.start();
    return this.#listeners.add(topic, listener);
  }
  /** Connects; with a shared connection, as soon as no other tab does. */
  #connect() {
    if (this.#ownsConnection) void this.#connection.open();
    else this.#tabs?.join();
  }
  get #ownsConnection() {
    return !this.#tabs || this.#tabs.isLeader;
  }
  #url() {
    return new URL(this.#options.url, globalThis.location?.href);
  }
  #connectUrl(token) {
    const url = this.#url();
    this.#resume.load(`live-notifications ${url} ${this.#options.shareAs ?? subject(token)}`);
    const { position } = this.#resume;
    if (position) url.searchParams.set("last_event_id", position);
    if (this.#categories.length > 0 && !this.#tabs) {
      url.searchParams.set("categories", this.#categories.join());
    }
    return url;
  }
  /** Returns nothing if tabs cannot share a connection on this page. */
  #joinTabs(name) {
    try {
      return new Tabs(name, {
        state: () => ({ status: this.#status, position: this.#resume.position }),
        onElected: () => void this.#connection.open(),
        onFollow: () => this.#connection.cancel(),
        onDenied: () => {
          this.#tabs = void 0;
          this.#connect();
        },
        onCheck: () => this.#connection.check(),
        onDelivery: (delivery) => this.#dispatch(delivery),
        onState: ({ status, position }) => {
          this.#resume.setPosition(position);
          this.#setStatus(status);
        },
        onIncomplete: () => this.#reportIncomplete()
      });
    } catch {
      return void 0;
    }
  }
  /** Handles a notification of this tab's own connection. */
  #deliver(notification) {
    const { event_id, id } = notification;
    const identity = event_id ?? id ?? (this.#tabs && newIdentity());
    this.#dispatch({ notification, identity });
  }
  #dispatch(delivery) {
    const { notification, identity } = delivery;
    const { event, id, category } = notification;
    const previousPosition = this.#resume.position;
    if (identity === void 0 || this.#resume.isFirstDelivery(identity)) {
      this.#tabs?.share(delivery, previousPosition);
      const categories = this.#categories;
      const selected = categories.length === 0 || !category || categories.includes(category);
      if (selected) {
        this.#listeners.emit(`event ${event}`, notification);
        if (event !== READ_STATE_EVENT) this.#listeners.emit("any", notification);
      }
    } else this.#listeners.emit("repeated", id);
    this.#resume.advance(id);
  }
  #setStatus(status) {
    this.#status = status;
    this.#tabs?.broadcast({ kind: "state", status, position: this.#resume.position });
    this.#listeners.emit("status", status);
  }
  #reportIncomplete() {
    this.#tabs?.broadcast({ kind: "incomplete" });
    this.#listeners.emit("incomplete", void 0);
  }
};

// ws-gateway/client/src/countdown.ts
function countdown(deadline, now = Date.now()) {
  const left = Math.max(0, Math.ceil((Date.parse(deadline) - now) / 1e3) || 0);
  const hours = Math.floor(left / 3600);
  const minutes = Math.floor(left / 60) % 60;
  const seconds = left % 60;
  const text2 = [hours, minutes, seconds].map((part2) => String(part2).padStart(2, "0")).join(":");
  return { over: left === 0, hours, minutes, seconds, text: text2 };
}

// ws-gateway/client/src/http.ts
var LOST = 1006;
var TRY_AGAIN_LATER = 1013;
function requestEvents(url, token, accept, signal) {
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = url.pathname.replace(/\/ws\/?$/, "/events");
  const headers = { Accept: accept, Authorization: `Bearer ${token}` };
  return fetch(url, { headers, signal, cache: "no-store" });
}
function isOfType(response, type) {
  return response.ok && response.headers.get("content-type")?.startsWith(type) === true;
}
async function reportRefusal(response, signal, events) {
  const refusal = await response.json().catch(() => ({}));
  if (signal.aborted) return;
  const isOfGateway = refusal.error !== void 0;
  const code = refusal.code ?? (isOfGateway ? TRY_AGAIN_LATER : LOST);
  events.onClose(code, refusal.error ?? `HTTP status ${response.status}`);
}
function stateFrame(data) {
  return { event: STATE_EVENT, data };
}

// ws-gateway/client/src/event-stream.ts
var TYPE = "text/event-stream";
var MAX_SILENCE_MS = 2e4;
var eventStream = (url, token, events) => {
  let current = new AbortController();
  let lastChunk = 0;
  async function run({ signal }) {
    try {
      const response = await requestEvents(url(), token, TYPE, signal);
      if (!isOfType(response, TYPE)) return await reportRefusal(response, signal, events);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let received2 = "";
      for (; ; ) {
        const chunk = await reader?.read();
        if (signal.aborted) return;
        if (!chunk || chunk.done) break;
        lastChunk = Date.now();
        const blocks = (received2 + chunk.value).split("\n\n");
        received2 = blocks.pop() ?? "";
        for (const block of blocks) {
          if (!signal.aborted) onBlock(block);
        }
      }
      if (!signal.aborted) events.onClose(LOST, "");
    } catch (error) {
      if (!signal.aborted) events.onClose(LOST, String(error));
    }
  }
  function onBlock(block) {
    const field = (name) => block.split("\n").filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
    const data = parse(field("data"));
    if (data === void 0) return;
    if (field("event") !== "close") return events.onFrame(data);
    current.abort();
    const { code, reason } = data;
    events.onClose(code, reason);
  }
  function restart() {
    current.abort();
    current = new AbortController();
    void run(current);
  }
  void run(current);
  return {
    name: "event_stream",
    send(message) {
      if (message.type === "ping") {
        if (Date.now() - lastChunk < MAX_SILENCE_MS) events.onFrame({ type: "pong" });
        return;
      }
      if (message.type === "auth") token = message.token;
      restart();
    },
    close: () => current.abort()
  };
};

// ws-gateway/client/src/long-poll.ts
var TYPE2 = "application/json";
var WAIT_S = 25;
var PING_INTERVAL_S = 30;
var LATENCY_MS = 1e4;
var MIN_INTERVAL_MS = 1e3;
var MAX_INTERVAL_MS = 8e3;
var longPoll = (url, token, events) => {
  let current = new AbortController();
  let isOpen = false;
  let position;
  let readUpTo = "";
  let repetitions = 0;
  async function run(controller) {
    const { signal } = controller;
    const fail = (reason) => {
      if (signal.aborted) return;
      controller.abort();
      events.onClose(LOST, reason);
    };
    while (!signal.aborted) {
      const wait = isOpen ? WAIT_S : 0;
      const begin = Date.now();
      const timer = setTimeout(() => fail("poll timed out"), wait * 1e3 + LATENCY_MS);
      try {
        const target = url();
        target.searchParams.set("wait", String(wait));
        target.searchParams.set("read_up_to", readUpTo);
        const response = await requestEvents(target, token, TYPE2, signal);
        if (!isOfType(response, TYPE2)) return await reportRefusal(response, signal, events);
        const answer = await response.json();
        if (!signal.aborted) onAnswer(answer, controller);
      } catch (error) {
        fail(String(error));
      } finally {
        clearTimeout(timer);
      }
      if (repetitions === 0 || signal.aborted) continue;
      const interval = Math.min(MIN_INTERVAL_MS * 2 ** (repetitions - 1), MAX_INTERVAL_MS);
      const left = begin + interval - Date.now();
      if (left > 0) await pause(left, signal);
      else repetitions = 0;
    }
  }
  function onAnswer(answer, controller) {
    const { frames, next: last_event_id, resume, retry_after_ms } = answer;
    const hasNews = last_event_id !== position || frames.length > 0;
    const isRepeated = resume === "incomplete" || !hasNews;
    repetitions = isRepeated ? repetitions + 1 : 0;
    position = last_event_id;
    if (!isOpen || resume === "incomplete") {
      isOpen = true;
      const data2 = { last_event_id, resume, connection_id: "", ping_interval_s: PING_INTERVAL_S };
      events.onFrame(stateFrame({ state: "authenticated", ...data2 }));
    }
    for (const frame of frames) {
      if (frame?.event === READ_STATE_EVENT) {
        readUpTo = frame.data?.up_to ?? readUpTo;
      }
      if (!controller.signal.aborted) events.onFrame(frame);
    }
    if (controller.signal.aborted) return;
    events.onFrame(stateFrame({ state: "position", last_event_id }));
    if (retry_after_ms === void 0 || controller.signal.aborted) return;
    controller.abort();
    const reason = "restarting";
    const data = { state: "disconnected", reason, reconnect_after_ms: retry_after_ms };
    events.onFrame(stateFrame(data));
    events.onClose(1012, reason);
  }
  void run(current);
  return {
    name: "long_poll",
    send(message) {
      if (message.type === "ping") return events.onFrame({ type: "pong" });
      if (message.type === "auth") token = message.token;
      current.abort();
      current = new AbortController();
      void run(current);
    },
    close: () => current.abort()
  };
};
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => clearTimeout(timer));
  });
}

// ws-gateway/client/src/ladder.ts
var LIFE_TIMEOUT_MS = 3e3;
var MAX_FAILURES = 2;
var BETTER_AFTER_MS = 6e5;
var RETURN_AFTER_MS = 3e4;
var CONTINUE_MS = 15e3;
var STORAGE_KEY = "live-notifications transport";
function ladder(transports = [webSocket, eventStream, longPoll]) {
  let state;
  return (url, token, events) => {
    state ??= { memory: recall(), progress: { index: 0, until: 0 }, failures: 0 };
    return new Ladder(transports, state, url, token, events);
  };
}
var Ladder = class {
  #transports;
  #state;
  #url;
  #events;
  #token;
  #current;
  #isAlive = false;
  /** Incremented with each transport, so that events of earlier ones are ignored. */
  #turn = 0;
  #timer;
  constructor(transports, state, url, token, events) {
    this.#transports = transports;
    this.#state = state;
    this.#url = url;
    this.#token = token;
    this.#events = events;
    const starts = [state.progress, state.memory];
    const start2 = starts.find(({ until }) => Date.now() < until);
    this.#open(start2 && start2.index < transports.length ? start2.index : 0);
  }
  get name() {
    return this.#current?.name ?? "websocket";
  }
  send(message) {
    if (message.type === "auth") this.#token = message.token;
    if (this.#isAlive) this.#current?.send(message);
    else if (message.type === "filter") this.#open(this.#state.progress.index);
  }
  close() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#current?.close();
  }
  #open(index, limit = LIFE_TIMEOUT_MS) {
    this.close();
    this.#state.progress = { index, until: Date.now() + CONTINUE_MS };
    const turn = this.#turn;
    const isCurrent = () => turn === this.#turn;
    const next = index + 1 < this.#transports.length ? index + 1 : void 0;
    this.#isAlive = false;
    if (next !== void 0) this.#timer = setTimeout(() => this.#giveUp(next), limit);
    try {
      this.#current = this.#transports[index]?.(this.#url, this.#token, {
        // Other bytes are no sign: a proxy may forward the first ones and hold back the rest.
        onFrame: (frame) => {
          if (isCurrent()) this.#onAlive(index);
          if (isCurrent()) this.#events.onFrame(frame);
        },
        onClose: (code, reason) => isCurrent() && this.#onClose(code, reason, next)
      });
    } catch (error) {
      if (next === void 0) throw error;
      this.#open(next);
    }
  }
  #giveUp(next) {
    this.#state.failures += 1;
    this.#open(next, LIFE_TIMEOUT_MS / 2);
  }
  #onAlive(index) {
    if (this.#isAlive) return;
    this.#isAlive = true;
    this.#state.failures = this.#state.progress.until = 0;
    clearTimeout(this.#timer);
    const { memory } = this.#state;
    if (memory.index !== index || memory.until <= Date.now()) {
      const pause2 = pauseAfter(memory, index);
      remember(this.#state.memory = { index, until: Date.now() + pause2, pause: pause2 });
    }
    if (index === 0) return;
    const left = this.#state.memory.until - Date.now();
    this.#timer = setTimeout(() => this.#tryBetter(), left);
  }
  #tryBetter() {
    this.#state.failures = MAX_FAILURES - 1;
    this.#open(0);
  }
  #onClose(code, reason, next) {
    clearTimeout(this.#timer);
    this.#state.progress.until = 0;
    if (!this.#isAlive && code === LOST && next !== void 0) {
      this.#state.failures += 1;
      if (this.#state.failures >= MAX_FAILURES) return this.#open(next);
    } else {
      this.#state.failures = 0;
    }
    this.#events.onClose(code, reason);
  }
};
function pauseAfter(memory, index) {
  if (memory.index === index) return Math.min(2 * memory.pause, BETTER_AFTER_MS);
  return memory.index < index ? RETURN_AFTER_MS : BETTER_AFTER_MS;
}
function recall() {
  try {
    const [index, until, pause2] = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "");
    return { index, until, pause: pause2 };
  } catch {
    return { index: Infinity, until: 0, pause: BETTER_AFTER_MS };
  }
}
function remember({ index, until, pause: pause2 }) {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify([index, until, pause2]));
  } catch {
  }
}

// ws-gateway/client/src/read-state.ts
var ALL = "9999999999999-0";
var MAX_COUNTED = 256;
var MIN_INTERVAL_MS2 = 1e3;
var MAX_INTERVAL_MS2 = 6e4;
var TIMEOUT_MS = 15e3;
var ReadMarks = class {
  #client;
  #options;
  #listeners = new Listeners();
  #subscriptions;
  #state;
  /** The ids of notifications that the gateway has not counted. */
  #later = [];
  /** Whether the state is to be asked for, and may then be older than the known one: Redis may have
   * lost its data. */
  #isStale = false;
  /** Whether a request for the state is sent, or the next one has to wait. */
  #isAsking = false;
  #failures = 0;
  #isConnecting = false;
  /** How many connections were opened. */
  #connections = 0;
  #timer;
  /** Does no I/O, so that it may be called on a server. */
  constructor(client, options) {
    this.#client = client;
    this.#options = options;
  }
  /** The number of unread notifications; unknown until the gateway has answered. */
  get unread() {
    return this.#state && this.#state.unread + this.#later.length;
  }
  /** Whether `unread` is the number of all: the history may no longer reach back far enough. */
  get exact() {
    return this.#state?.exact === true;
  }
  /** Calls the listener with each new number. The first listener connects. */
  onUnread(listener) {
    this.#subscriptions ??= this.#subscribe(this.#client);
    return this.#listeners.add("unread", listener);
  }
  /**
   * Marks the notifications up to this position as read, on every device; default: all. Rejects if
   * the gateway cannot be reached.
   */
  async markRead(upTo = this.#later.at(-1) ?? this.#state?.last_event_id ?? ALL) {
    const url = new URL(this.#options.url, globalThis.location?.href);
    url.protocol = url.protocol.replace("ws", "http");
    url.pathname = url.pathname.replace(/\/ws\/?$/, "/read");
    if (upTo) url.searchParams.set("up_to", upTo);
    const headers = { Authorization: `Bearer ${await this.#options.token()}` };
    const request = this.#options.fetch ?? fetch;
    const connections = this.#connections;
    const response = await request(url, { method: "POST", headers, cache: "no-store" });
    if (!response.ok) throw new Error(`marking as read failed with HTTP status ${response.status}`);
    const state = await response.json();
    if (connections === this.#connections) this.#apply(state);
    else this.#refresh();
  }
  /** Ends the subscriptions to the client. */
  close() {
    this.#subscriptions?.forEach((unsubscribe) => unsubscribe());
    this.#subscriptions = void 0;
    clearTimeout(this.#timer);
    this.#isAsking = false;
  }
  #subscribe(client) {
    return [
      client.on(READ_STATE_EVENT, ({ data }) => this.#apply(data)),
      client.onAny(({ id }) => this.#count(id)),
      client.onRepeated((id) => this.#recount(id)),
      client.onStatus((status) => this.#onStatus(status))
    ];
  }
  /** A connection opens, also with incomplete history: takes its state, or asks for it. */
  #onStatus(status) {
    const isOpening = this.#isConnecting;
    this.#isConnecting = status.state === "connecting";
    if (status.state !== "open") return;
    if (isOpening) this.#connections += 1;
    this.#refresh();
    if (status.resume === "incomplete") this.#later = [];
    const { unread, read_up_to: up_to, exact, counted_to: last_event_id } = status.read ?? {};
    if (!isOpening || !last_event_id) return;
    this.#later = [];
    this.#apply({ up_to, unread, exact, last_event_id });
  }
  /** Asks for the state until it is known, one request at a time. */
  #refresh() {
    this.#isStale = true;
    if (!this.#isAsking) void this.#ask();
  }
  async #ask() {
    this.#isAsking = true;
    await Promise.resolve();
    if (!this.#isStale) {
      this.#isAsking = false;
      return;
    }
    let delay = MIN_INTERVAL_MS2;
    try {
      const timeout = new Promise((_, reject) => this.#timer = setTimeout(reject, TIMEOUT_MS));
      await Promise.race([this.markRead(""), timeout]);
      this.#failures = 0;
    } catch {
      delay = Math.min(delay * 2 ** this.#failures, MAX_INTERVAL_MS2) * (1 + Math.random());
      this.#failures += 1;
    }
    clearTimeout(this.#timer);
    if (!this.#subscriptions) {
      this.#isAsking = false;
      return;
    }
    this.#timer = setTimeout(() => {
      this.#isAsking = false;
      if (this.#isStale) void this.#ask();
    }, delay);
  }
  #apply(state) {
    const known = this.#isStale ? void 0 : this.#state;
    const isOlder = (key) => order(state[key]) < order(known?.[key]);
    if (isOlder("up_to") || state.up_to === known?.up_to && isOlder("last_event_id")) {
      return this.#refresh();
    }
    this.#isStale = false;
    this.#state = state;
    this.#later = this.#later.filter((id) => this.#isLater(id));
    this.#listeners.emit("unread", this.unread);
  }
  /** An event may come again that was read before Redis lost its claim: the gateway counts it. */
  #recount(id = "") {
    if (this.#isLater(id) && !this.#later.includes(id)) this.#refresh();
  }
  #isLater(id) {
    return order(id) > order(this.#state?.last_event_id);
  }
  #count(id) {
    if (!id || !this.#isLater(id)) return;
    this.#later.push(id);
    if (this.#later.length > MAX_COUNTED) this.#refresh();
    if (this.#state) this.#listeners.emit("unread", this.unread);
  }
};

// tests/demo/elements.ts
function element(id) {
  return document.getElementById(id);
}
function button(text2, press) {
  const button2 = document.createElement("button");
  button2.type = "button";
  button2.textContent = text2;
  button2.onclick = press;
  return button2;
}
function colour(element2, category) {
  element2.style.setProperty("--of", `var(--${category})`);
}

// tests/demo/labels.ts
var ENGLISH = {
  skip: "Skip to what was received",
  page: "Live notifications",
  path: "event \u2192 Kafka \u2192 ingest-worker \u2192 Redis \u2192 ws-gateway \u2192 this page",
  retry: "Retry now",
  transport: "Transport",
  automatic: "Automatic",
  language: "Language",
  network: "Network",
  cut: "The network is cut. Send some events, then switch it on: they arrive in order, each once.",
  send: "Send an event",
  all: "Send all",
  choose: "Choose one",
  received: "Received",
  read: "Mark all read",
  clear: "Clear",
  filters: "Categories to show",
  empty: "Nothing yet. What you send appears here within milliseconds.",
  source: "As received",
  missed: "Notifications were missed: an app would now reload its state.",
  timeIsOver: "The time to confirm is over",
  latencyOf: "from the click to this page",
  connecting: "Connecting",
  live: "Live",
  complete: "Live, nothing missed",
  offline: "Offline",
  lost: "Disconnected",
  again: (cause) => `${cause}, trying again`,
  stopped: "Stopped",
  retryIn: (seconds) => `in ${seconds} s`,
  over: (transport2) => `over ${transport2}`,
  unread: (count3) => `${count3} unread`,
  left: (time) => `${time} left to confirm`,
  caughtUp: (seconds) => `caught up after ${seconds} s`,
  transports: {
    websocket: "WebSocket",
    event_stream: "Event stream",
    long_poll: "Long poll"
  },
  categories: {
    batch_progress: "Batch progress",
    processing_results: "Processing results",
    file_operations: "File operations",
    class_management: "Class management",
    student_workflow: "Student workflow",
    system_alerts: "System alerts"
  }
};
var SWEDISH = {
  skip: "Hoppa till det som har tagits emot",
  page: "Direktaviseringar",
  path: "h\xE4ndelse \u2192 Kafka \u2192 ingest-worker \u2192 Redis \u2192 ws-gateway \u2192 den h\xE4r sidan",
  retry: "F\xF6rs\xF6k nu",
  transport: "Transport",
  automatic: "Automatisk",
  language: "Spr\xE5k",
  network: "N\xE4tverk",
  cut: "N\xE4tverket \xE4r avbrutet. Skicka n\xE5gra h\xE4ndelser och sl\xE5 p\xE5 det: alla kommer fram, en g\xE5ng.",
  send: "Skicka en h\xE4ndelse",
  all: "Skicka alla",
  choose: "V\xE4lj en",
  received: "Mottaget",
  read: "Markera alla som l\xE4sta",
  clear: "Rensa",
  filters: "Kategorier att visa",
  empty: "Inget \xE4nnu. Det du skickar visas h\xE4r inom millisekunder.",
  source: "Som mottaget",
  missed: "Aviseringar har g\xE5tt f\xF6rlorade: en app skulle nu l\xE4sa in sina data p\xE5 nytt.",
  timeIsOver: "Tiden f\xF6r att bekr\xE4fta \xE4r ute",
  latencyOf: "fr\xE5n klicket till den h\xE4r sidan",
  connecting: "Ansluter",
  live: "Ansluten",
  complete: "Ansluten, inget har missats",
  offline: "Offline",
  lost: "Fr\xE5nkopplad",
  again: (cause) => `${cause}, f\xF6rs\xF6ker igen`,
  stopped: "Stoppad",
  retryIn: (seconds) => `om ${seconds} s`,
  over: (transport2) => `via ${transport2}`,
  unread: (count3) => count3 === 1 ? "1 ol\xE4st" : `${count3} ol\xE4sta`,
  left: (time) => `${time} kvar att bekr\xE4fta`,
  caughtUp: (seconds) => `i kapp efter ${seconds} s`,
  transports: {
    websocket: "WebSocket",
    event_stream: "H\xE4ndelsestr\xF6m",
    long_poll: "L\xE5ng pollning"
  },
  categories: {
    batch_progress: "Omg\xE5ngens f\xF6rlopp",
    processing_results: "Resultat",
    file_operations: "Filer",
    class_management: "Klasser",
    student_workflow: "Elever",
    system_alerts: "Systemlarm"
  }
};
var LABELS = { en: ENGLISH, sv: SWEDISH };
function statusText(labels2, status) {
  switch (status.state) {
    case "idle":
    case "connecting":
      return labels2.connecting;
    case "open":
      return status.resume === "complete" ? labels2.complete : labels2.live;
    case "waiting":
      return labels2.again(waitingFor(labels2, status));
    case "stopped":
      return status.message ? `${labels2.stopped}: ${status.message}` : labels2.stopped;
  }
}
function waitingFor(labels2, status) {
  const { offline, code, message } = status;
  if (offline) return labels2.offline;
  const isRefused = code !== void 0 && [...WAIT_CODES, ...TOKEN_CODES].includes(code);
  return isRefused ? message : labels2.lost;
}
function statusDetail(labels2, status, now) {
  if (status.state === "waiting") {
    return labels2.retryIn(Math.max(0, Math.ceil((status.retryAt - now) / 1e3)));
  }
  if (status.state !== "open" || !status.transport) return "";
  return labels2.over(labels2.transports[status.transport]);
}
function eventName(event) {
  const text2 = event.replaceAll("_", " ");
  return (text2.charAt(0).toUpperCase() + text2.slice(1)).replace(/^Cj /, "CJ ");
}

// ws-gateway/client/src/texts-english.ts
var plurals = new Intl.PluralRules("en");
var count = (number, one, other) => number == null ? other : `${number} ${plurals.select(number) === "one" ? one : other}`;
var essays = (number) => count(number, "essay", "essays");
var suggestions = (number) => count(number, "suggested match", "suggested matches");
var confirmations = (number) => count(number, "match was confirmed", "matches were confirmed");
var file = (name) => name == null ? "A file" : `The file ${name}`;
var PHASES = {
  spellcheck: "The spell check",
  cj_assessment: "The assessment"
};
var ENGLISH2 = {
  batch_file_added: ({ filename }) => `${file(filename)} was added`,
  batch_file_removed: ({ filename }) => `${file(filename)} was removed`,
  batch_essays_ready: ({ essay_count }) => `The batch is ready, with ${essays(essay_count)}`,
  batch_validation_errors: ({ error_count }) => `${count(error_count, "error needs", "errors need")} your attention`,
  batch_content_provisioning_completed: ({ provisioned_count: ready, expected_count: all }) => ready == null || all == null ? "The content of the essays is ready" : `The content of ${ready} of ${essays(all)} is ready`,
  student_matches_suggested: ({ suggested_matches: list, suggested_matches_count: all }) => `Please check ${suggestions(all ?? list?.length ?? null)}`,
  student_associations_confirmed: ({ confirmed_count }) => confirmations(confirmed_count),
  validation_timeout_processed: ({ auto_confirmed_count }) => `Time is up: ${confirmations(auto_confirmed_count)} automatically`,
  cj_assessment_completed: () => "The assessment is complete",
  cj_assessment_failed: () => "The assessment failed and needs a manual review",
  spellcheck_completed: ({ corrections_count }) => `The spell check is complete, with ${count(corrections_count, "correction", "corrections")}`,
  batch_phase_outcome: ({ phase, status }) => `${PHASES[phase ?? ""] ?? `The phase ${phase ?? ""}`.trim()} has ended${status?.includes("fail") ? " with failures" : ""}`,
  essay_content_provisioned: ({ filename }) => `${file(filename)} is ready`,
  essay_validation_failed: ({ filename, error_message }) => `${file(filename)} could not be used${error_message == null ? "" : `: ${error_message}`}`,
  class_created: ({ class_designation: name }) => name == null ? "A class was created" : `The class ${name} was created`,
  student_created: ({ student_name: name }) => name == null ? "A student was added" : `The student ${name} was added`,
  essay_student_association_updated: () => "An essay was matched with a student"
};

// ws-gateway/client/src/texts-swedish.ts
var plurals2 = new Intl.PluralRules("sv");
var count2 = (number, one, other) => number == null ? other : `${number} ${plurals2.select(number) === "one" ? one : other}`;
var essays2 = (number) => count2(number, "uppsats", "uppsatser");
var suggestions2 = (number) => count2(number, "f\xF6reslagen koppling", "f\xF6reslagna kopplingar");
var file2 = (name) => name == null ? "En fil" : `Filen ${name}`;
var PHASES2 = {
  spellcheck: "Stavningskontrollen",
  cj_assessment: "Bed\xF6mningen"
};
var SWEDISH2 = {
  batch_file_added: ({ filename }) => `${file2(filename)} har lagts till`,
  batch_file_removed: ({ filename }) => `${file2(filename)} har tagits bort`,
  batch_essays_ready: ({ essay_count }) => `Omg\xE5ngen \xE4r klar, med ${essays2(essay_count)}`,
  batch_validation_errors: ({ error_count }) => `${count2(error_count, "fel", "fel")} beh\xF6ver \xE5tg\xE4rdas`,
  batch_content_provisioning_completed: ({ provisioned_count: ready, expected_count: all }) => ready == null || all == null ? "Uppsatsernas inneh\xE5ll \xE4r klart" : `Inneh\xE5llet i ${ready} av ${essays2(all)} \xE4r klart`,
  student_matches_suggested: ({ suggested_matches: list, suggested_matches_count: all }) => `Kontrollera ${suggestions2(all ?? list?.length ?? null)}`,
  student_associations_confirmed: ({ confirmed_count }) => count2(confirmed_count, "koppling har bekr\xE4ftats", "kopplingar har bekr\xE4ftats"),
  validation_timeout_processed: ({ auto_confirmed_count: number }) => `Tiden \xE4r ute: ${count2(number, "koppling", "kopplingar")} bekr\xE4ftades automatiskt`,
  cj_assessment_completed: () => "Bed\xF6mningen \xE4r klar",
  cj_assessment_failed: () => "Bed\xF6mningen misslyckades och beh\xF6ver granskas manuellt",
  spellcheck_completed: ({ corrections_count }) => `Stavningskontrollen \xE4r klar, med ${count2(corrections_count, "r\xE4ttning", "r\xE4ttningar")}`,
  batch_phase_outcome: ({ phase, status }) => `${PHASES2[phase ?? ""] ?? `Steget ${phase ?? ""}`.trim()} \xE4r avslutat${status?.includes("fail") ? " med fel" : ""}`,
  essay_content_provisioned: ({ filename }) => `${file2(filename)} \xE4r klar`,
  essay_validation_failed: ({ filename, error_message }) => `${file2(filename)} kunde inte anv\xE4ndas${error_message == null ? "" : `: ${error_message}`}`,
  class_created: ({ class_designation: name }) => name == null ? "En klass har skapats" : `Klassen ${name} har skapats`,
  student_created: ({ student_name: name }) => name == null ? "En elev har lagts till" : `Eleven ${name} har lagts till`,
  essay_student_association_updated: () => "En uppsats har kopplats till en elev"
};

// ws-gateway/client/src/texts.ts
var LANGUAGES = { en: ENGLISH2, sv: SWEDISH2 };
function text(notification, language2) {
  const texts = LANGUAGES[language2];
  const { event, data } = notification;
  if (Object.hasOwn(texts, event)) return texts[event](data);
  const message = data.message;
  return typeof message === "string" ? message : event;
}

// tests/demo/received.ts
var MAX_ITEMS = 500;
var LIVE_LIMIT_MS = 2e3;
var Received = class {
  #list = element("notifications");
  /** Newest first. */
  #items = [];
  /** By event id: when events were sent that have not arrived. */
  #sentAt = /* @__PURE__ */ new Map();
  #hidden = /* @__PURE__ */ new Set();
  #count = 0;
  #language = "en";
  clear() {
    this.#items = [];
    this.#list.replaceChildren();
    this.#count = 0;
    this.#showCount();
  }
  /** Shows everything in this language. */
  translate(language2) {
    this.#language = language2;
    this.#showFilters();
    this.#items.forEach((item) => this.#render(item));
  }
  /** Adds a notification. */
  show(notification) {
    const template = element("notification");
    const copy = template.content.cloneNode(true);
    const item = {
      element: copy.firstElementChild,
      notification,
      receivedAt: performance.now()
    };
    this.#render(item);
    this.#items.unshift(item);
    this.#list.prepend(item.element);
    for (const { element: element2 } of this.#items.splice(MAX_ITEMS)) element2.remove();
    this.#count += 1;
    this.#showCount();
    const sentAt = this.#sentAt.get(notification.event_id ?? "");
    if (sentAt !== void 0) this.#measure(item, sentAt);
  }
  /** Measures the latency of an event, whose notification may have arrived before its id. */
  sent(id, at) {
    const item = this.#items.find(({ notification }) => notification.event_id === id);
    if (item) this.#measure(item, at);
    else this.#sentAt.set(id, at);
  }
  /** Shows the time that is left now. */
  updateCountdowns() {
    this.#items.forEach((item) => this.#renderCountdown(item));
  }
  get #labels() {
    return LABELS[this.#language];
  }
  #render(item) {
    const { notification } = item;
    const { event, category, priority, timestamp } = notification;
    const show = (selector, text2) => part(item, selector).textContent = text2;
    item.element.dataset.category = category;
    item.element.hidden = this.#hidden.has(category);
    colour(item.element, category);
    show(".title", eventName(event));
    show(".priority", priority);
    part(item, ".priority").dataset.priority = priority;
    show(".message", text(notification, this.#language));
    show(".category", this.#labels.categories[category]);
    show("time", new Date(timestamp).toLocaleTimeString(this.#language));
    show("summary", this.#labels.source);
    show("pre", JSON.stringify(notification, null, 2));
    this.#renderCountdown(item);
    this.#renderLatency(item);
  }
  #renderCountdown(item) {
    if (!is(item.notification, "student_matches_suggested")) return;
    const { over, text: text2 } = countdown(item.notification.data.confirmation_deadline);
    const shown = part(item, ".countdown");
    shown.textContent = over ? this.#labels.timeIsOver : this.#labels.left(text2);
    shown.hidden = false;
  }
  #measure(item, sentAt) {
    this.#sentAt.delete(item.notification.event_id ?? "");
    item.latency = item.receivedAt - sentAt;
    this.#renderLatency(item);
  }
  #renderLatency(item) {
    if (item.latency === void 0) return;
    const isLate = item.latency > LIVE_LIMIT_MS;
    const shown = part(item, ".latency");
    shown.textContent = isLate ? this.#labels.caughtUp((item.latency / 1e3).toFixed(1)) : `${Math.round(item.latency)} ms`;
    shown.toggleAttribute("data-late", isLate);
    shown.title = this.#labels.latencyOf;
  }
  #showFilters() {
    const filters = CATEGORIES.map((category) => {
      const filter = button(this.#labels.categories[category], () => {
        if (!this.#hidden.delete(category)) this.#hidden.add(category);
        filter.ariaPressed = String(!this.#hidden.has(category));
        this.#items.forEach((item) => this.#render(item));
      });
      filter.ariaPressed = String(!this.#hidden.has(category));
      colour(filter, category);
      return filter;
    });
    element("filters").replaceChildren(...filters);
  }
  #showCount() {
    element("count").textContent = String(this.#count);
    element("empty").hidden = this.#count > 0;
  }
};
function part(item, selector) {
  return item.element.querySelector(selector);
}

// tests/demo/page.ts
var TRANSPORTS = {
  websocket: webSocket,
  event_stream: eventStream,
  long_poll: longPoll,
  automatic: ladder()
};
var TRANSPORT_KEY = "transport";
var LANGUAGE_KEY = "language";
var received = new Received();
async function session() {
  return (await fetch("/session")).json();
}
function labels() {
  return LABELS[language()];
}
function language() {
  return localStorage.getItem(LANGUAGE_KEY) === "sv" ? "sv" : "en";
}
function transport() {
  const chosen = localStorage.getItem(TRANSPORT_KEY) ?? "";
  return chosen in TRANSPORTS ? chosen : "websocket";
}
async function start() {
  const { url, user, events } = await session();
  const token = async () => (await session()).token;
  const transports = (...attempt) => TRANSPORTS[transport()](...attempt);
  const client = connect({ url, token, shareAs: user, transports });
  const marks = new ReadMarks(client, { url, token });
  showEvents(events);
  translate(client, marks);
  client.onStatus(() => showStatus(client));
  client.onAny((notification) => received.show(notification));
  client.onIncomplete(() => showHint(labels().missed));
  marks.onUnread(() => showUnread(marks));
  connectControls(client, marks, events);
  setInterval(() => {
    showStatus(client);
    received.updateCountdowns();
  }, 1e3);
}
function connectControls(client, marks, events) {
  element("retry").onclick = () => client.retry();
  element("all").onclick = () => events.forEach((_, number) => void send(number));
  element("clear").onclick = () => received.clear();
  element("read").onclick = () => void marks.markRead().catch((error) => showHint(String(error)));
  element("network").onclick = () => void switchNetwork(client);
  onChoice("language", LANGUAGE_KEY, () => translate(client, marks));
  onChoice("transport", TRANSPORT_KEY, () => {
    showChoices();
    client.close();
    client.start();
  });
}
function onChoice(id, key, apply) {
  const select = element(id);
  select.onchange = () => {
    localStorage.setItem(key, select.value);
    apply();
  };
  addEventListener("storage", (change) => change.key === key && apply());
}
async function switchNetwork(client) {
  const network = element("network");
  const cut = network.ariaChecked === "true";
  await fetch(cut ? "/network/cut" : "/network/restore", { method: "POST" });
  network.ariaChecked = String(!cut);
  showHint(cut ? labels().cut : "");
  client.retry();
}
function translate(client, marks) {
  document.documentElement.lang = language();
  const texts = labels();
  for (const labeled of document.querySelectorAll("[data-label]")) {
    labeled.textContent = String(texts[labeled.dataset.label]);
  }
  for (const title of document.querySelectorAll("#events [data-category]")) {
    title.textContent = texts.categories[title.dataset.category];
  }
  for (const option of element("transport").options) {
    option.textContent = { ...texts.transports, automatic: texts.automatic }[option.value] ?? "";
  }
  element("filters").ariaLabel = texts.filters;
  showHint("");
  showChoices();
  showStatus(client);
  showUnread(marks);
  received.translate(language());
}
function showChoices() {
  element("language").value = language();
  element("transport").value = transport();
}
function showStatus({ status }) {
  const state = element("state");
  state.dataset.state = status.state;
  element("retry").hidden = status.state !== "waiting";
  const text2 = statusText(labels(), status);
  if (state.textContent !== text2) state.textContent = text2;
  element("detail").textContent = statusDetail(labels(), status, Date.now());
  if (status.state === "open") state.dataset.connection = status.connectionId;
}
function showUnread({ unread }) {
  const badge = element("unread");
  badge.hidden = unread === void 0;
  badge.textContent = labels().unread(unread ?? 0);
  element("read").disabled = !unread;
  document.title = unread ? `(${unread}) ${labels().page}` : labels().page;
}
function showHint(text2) {
  const hint = element("hint");
  hint.textContent = text2;
  hint.hidden = text2 === "";
}
function showEvents(events) {
  if (matchMedia("(max-width: 48rem)").matches) element("choose").removeAttribute("open");
  for (const category of CATEGORIES) {
    const title = document.createElement("h3");
    title.dataset.category = category;
    colour(title, category);
    const buttons = document.createElement("div");
    buttons.lang = "en";
    events.forEach((event, number) => {
      if (event.category !== category) return;
      buttons.append(button(eventName(event.name), () => void send(number)));
    });
    const group = document.createElement("section");
    group.append(title, buttons);
    element("events").append(group);
  }
}
async function send(number) {
  const pressed = performance.now();
  const answer = await fetch(`/events/${number}`, { method: "POST" });
  const id = await answer.text();
  if (answer.ok) received.sent(id, pressed);
  else showHint(id);
}
void start();
