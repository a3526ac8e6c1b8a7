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

// ws-gateway/client/src/liveness.ts
var PONG_TIMEOUT_MS = 5e3;
var DEFAULT_PING_INTERVAL_S = 30;
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
    const seconds = intervalSeconds > 0 ? intervalSeconds : DEFAULT_PING_INTERVAL_S;
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
      token = await this.#handler.token();
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
      this.#onLocalFailure(String(error));
    }
  }
  /** Checks the connection after the network or the tab was suspended; ends a delay. */
  check() {
    if (this.#waiting) void this.open();
    else if (this.#deadline !== void 0) {
      const left = Math.max(this.#deadline - Date.now(), 0);
      this.#limit(
        Math.min(left, WAKE_TIMEOUT_MS),
        () => this.#transport ? this.open() : this.#onTokenTimeout()
      );
    } else if (this.#openSince !== void 0) this.#liveness.probe();
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
    this.#deadline = this.#openSince = this.#requestedDelay = this.#waiting = void 0;
    this.#transport?.close();
    this.#transport = void 0;
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
    const offline = globalThis.navigator?.onLine === false;
    const retryAt = Date.now() + delay;
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
    if (STOP_CODES.includes(code)) this.stop(message, code);
    else if (isTokenRefused && !this.#tokenReplaced) {
      this.#tokenReplaced = true;
      return void this.open();
    } else if (isTokenRefused || WAIT_CODES.includes(code)) {
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
    switch (data.state) {
      case "authenticated":
        this.#renewal.schedule(data.token_expires_at, timestamp);
        return this.#onAuthenticated(data);
      case "connected":
        return this.#renewal.schedule(data.token_expires_at, timestamp);
      case "position":
        return this.#handler.onPosition(data.last_event_id);
      case "disconnected":
        if (data.reconnect_after_ms >= 0) {
          this.#requestedDelay = Math.min(data.reconnect_after_ms, MAX_REQUESTED_DELAY_MS);
        }
    }
  }
  #onAuthenticated({ connection_id, last_event_id, ping_interval_s, resume }) {
    clearTimeout(this.#timer);
    this.#deadline = void 0;
    this.#openSince ??= Date.now();
    this.#liveness.start(ping_interval_s);
    if (resume !== "complete") this.#handler.onStart(last_event_id);
    const transport = this.#transport?.name;
    this.#handler.onStatus({ state: "open", connectionId: connection_id, resume, transport });
    if (resume === "incomplete") this.#handler.onIncomplete();
  }
  /** Sends a new token. Without one, the current one stays valid until the next scheduled try. */
  async #renew() {
    const attempt = this.#attempt;
    try {
      const token = await this.#handler.token();
      if (attempt === this.#attempt) this.send({ type: "auth", token });
    } catch {
    }
  }
};
function closeMessage(reason) {
  try {
    return String(JSON.parse(reason).message);
  } catch {
    return reason;
  }
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
    const isAhead = order(position) > order(newest);
    if (!position || isAhead || newest.startsWith("0-")) this.setPosition(newest);
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
var Leadership = class {
  #name;
  #handler;
  /** The request that is queued or granted. */
  #request;
  #release;
  constructor(name, handler) {
    this.#name = name;
    this.#handler = handler;
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
    if (!this.isCandidate) void this.#lock({});
  }
  /** Takes the leadership from a tab that does not answer. */
  seize() {
    if (this.isLeader) return;
    this.#request?.abort();
    void this.#lock({ steal: true });
  }
  /** Gives up leadership and candidacy. */
  resign() {
    const release = this.#release;
    this.#request?.abort();
    this.#request = this.#release = void 0;
    release?.();
  }
  async #lock(options) {
    const request = this.#request = new AbortController();
    const { signal } = request;
    const hold = () => new Promise((release) => {
      if (signal.aborted) return release();
      this.#release = release;
      this.#handler.onElected();
    });
    try {
      await navigator.locks.request(this.#name, options.steal ? options : { signal }, hold);
    } catch {
      if (signal.aborted) return;
      const wasLeader = this.isLeader;
      this.#request = this.#release = void 0;
      if (wasLeader) this.#handler.onDeposed();
      else this.#handler.onDenied();
    }
  }
};

// ws-gateway/client/src/tabs.ts
var MAX_RECENT = 256;
var PROBE_INTERVAL_MS = 3e3;
var Tabs = class {
  #handler;
  #id = newIdentity();
  #channel;
  #leadership;
  #probeTimer;
  /** The latest notifications of this tab, and the position before the first of them. */
  #recent = [];
  #positionBeforeRecent;
  /**
   * The term of the leader: greater than those of all leaders before it, of which one may not know
   * yet that it was replaced.
   */
  #term = 0;
  /** Until the leader's answer arrives, which contains them, notifications are ignored. */
  #catchingUp = true;
  #probeUnanswered = false;
  /** Throws where the browser has or allows no `BroadcastChannel`. */
  constructor(name, handler) {
    this.#handler = handler;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#onMessage(data);
    this.#leadership = new Leadership(name, {
      onElected: () => {
        this.#term = Math.max(this.#term + 1, Date.now());
        this.#catchingUp = false;
        this.#post({ kind: "leader" });
        handler.onElected();
      },
      onDeposed: () => {
        handler.onFollow();
        this.join();
        this.#catchUp();
      },
      onDenied: () => {
        this.close();
        handler.onDenied();
      }
    });
    this.#probeTimer = setInterval(() => this.#probe(), PROBE_INTERVAL_MS);
    this.#catchUp();
  }
  get isLeader() {
    return this.#leadership.isLeader;
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
    if (this.#recent.length === 0) this.#positionBeforeRecent = previousPosition;
    this.#recent.push(delivery);
    if (this.#recent.length > MAX_RECENT) {
      const dropped = this.#recent.shift()?.notification;
      this.#positionBeforeRecent = dropped?.id ?? this.#positionBeforeRecent;
    }
    this.broadcast({ kind: "delivery", delivery });
  }
  /** Lets another tab connect, as this one cannot at present. */
  resign() {
    this.#leadership.resign();
  }
  /** Becomes a candidate again. */
  join() {
    this.#leadership.join();
  }
  /** Asks the leader to check its connection, and for what this tab missed. */
  check() {
    this.join();
    this.#post({ kind: "check" });
    this.#catchUp();
  }
  close() {
    clearInterval(this.#probeTimer);
    this.#leadership.resign();
    this.#channel.close();
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
    const { isLeader, isCandidate } = this.#leadership;
    if (this.#probeUnanswered && isCandidate) this.#leadership.seize();
    this.#probeUnanswered = isCandidate && !isLeader;
    if (this.#probeUnanswered) this.#post({ kind: "probe" });
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
    switch (kind) {
      case "delivery":
        if (!this.#catchingUp) this.#handler.onDelivery(message.delivery);
        return;
      case "state":
        return this.#onState(message);
      case "incomplete":
        this.#handler.onIncomplete();
    }
  }
  #onState({ status, position }) {
    if (status.state === "open" && !this.#leadership.isCandidate) {
      this.#handler.onFollow();
      this.join();
    }
    this.#handler.onState({ status, position: this.#catchingUp ? void 0 : position });
  }
  #missedSince(position) {
    const state = this.#handler.state();
    const index = this.#recent.findIndex(({ notification }) => notification.id === position);
    const isNewest = index < 0 && position === state.position;
    const isKnown = [void 0, this.#positionBeforeRecent].includes(position);
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
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return void 0;
  }
}

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
      token: options.token,
      connectUrl: (token) => this.#connectUrl(token),
      onNotification: (notification) => this.#deliver(notification),
      onStatus: (status) => this.#setStatus(status),
      onStart: (newest) => this.#resume.start(newest),
      onPosition: (position) => this.#resume.advance(position),
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
    if (this.#options.shareAs === void 0) {
      this.#resume.load(`live-notifications ${url} ${subject(token)}`);
    }
    const { position } = this.#resume;
    if (position !== void 0) url.searchParams.set("last_event_id", position);
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
    }
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
  const text = [hours, minutes, seconds].map((part) => String(part).padStart(2, "0")).join(":");
  return { over: left === 0, hours, minutes, seconds, text };
}

// tests/demo/labels.ts
function waitingFor({ offline, code, message }) {
  if (offline) return "Offline";
  const isRefused = code !== void 0 && [...WAIT_CODES, ...TOKEN_CODES].includes(code);
  return isRefused ? message : "Disconnected";
}
var labels = {
  /** `cj_assessment_failed` becomes `CJ assessment failed`. */
  name(name) {
    const text = name.replaceAll("_", " ");
    const capital = text.charAt(0).toUpperCase() + text.slice(1);
    return capital.replace(/^Cj /, "CJ ");
  },
  status(status) {
    switch (status.state) {
      case "idle":
      case "connecting":
        return "Connecting";
      case "open":
        return status.resume === "complete" ? "Live, nothing missed" : "Live";
      case "waiting":
        return `${waitingFor(status)}, trying again`;
      case "stopped":
        return status.message ? `Stopped: ${status.message}` : "Stopped";
    }
  },
  wait(status, now) {
    if (status.state !== "waiting") return "";
    return `in ${Math.max(0, Math.ceil((status.retryAt - now) / 1e3))} s`;
  },
  /** The message of a notification; some name only their file. */
  message(data) {
    const { message, filename } = data;
    return String(message ?? filename ?? "");
  },
  latency(milliseconds, liveLimit) {
    if (milliseconds <= liveLimit) return `${Math.round(milliseconds)} ms`;
    return `caught up after ${(milliseconds / 1e3).toFixed(1)} s`;
  }
};

// tests/demo/page.ts
var MAX_ITEMS = 500;
var LIVE_LIMIT_MS = 2e3;
var element = (id) => document.getElementById(id);
var list = element("notifications");
var sentAt = /* @__PURE__ */ new Map();
var arrivedEarly = /* @__PURE__ */ new Map();
var hidden = /* @__PURE__ */ new Set();
var received = 0;
async function session() {
  return (await fetch("/session")).json();
}
async function start() {
  const { url, user, events } = await session();
  const token = async () => (await session()).token;
  const client = connect({ url, token, shareAs: user });
  client.onStatus(showStatus);
  client.onAny(show);
  client.onIncomplete(() => showHint("Notifications were missed: an app would now reload its state."));
  showEvents(events);
  showFilters();
  connectControls(client, events);
  setInterval(() => {
    showStatus(client.status);
    updateCountdowns();
  }, 1e3);
}
function connectControls(client, events) {
  element("retry").onclick = () => client.retry();
  element("all").onclick = () => events.forEach((_, number) => void send(number));
  element("clear").onclick = () => {
    list.replaceChildren();
    received = 0;
    updateCount();
  };
  const toggle = element("switch");
  toggle.onclick = async () => {
    const cut = toggle.ariaChecked === "true";
    await fetch(cut ? "/network/cut" : "/network/restore", { method: "POST" });
    toggle.ariaChecked = String(!cut);
    element("hint").hidden = !cut;
    client.retry();
  };
}
function showStatus(status) {
  const state = element("state");
  state.dataset.state = status.state;
  element("retry").hidden = status.state !== "waiting";
  const text = labels.status(status);
  if (state.textContent !== text) state.textContent = text;
  element("wait").textContent = labels.wait(status, Date.now());
  if (status.state === "open") state.dataset.connection = status.connectionId;
}
function showHint(text) {
  const hint = element("hint");
  hint.textContent = text;
  hint.hidden = false;
}
function showEvents(events) {
  if (matchMedia("(max-width: 48rem)").matches) element("choose").removeAttribute("open");
  for (const category of CATEGORIES) {
    const title = document.createElement("h3");
    title.textContent = labels.name(category);
    colour(title, category);
    const buttons = document.createElement("div");
    events.forEach((event, number) => {
      if (event.category === category) buttons.append(button(labels.name(event.name), () => send(number)));
    });
    const group = document.createElement("section");
    group.append(title, buttons);
    element("events").append(group);
  }
}
function showFilters() {
  for (const category of CATEGORIES) {
    const filter = button(labels.name(category), () => {
      if (!hidden.delete(category)) hidden.add(category);
      filter.ariaPressed = String(!hidden.has(category));
      for (const item of list.querySelectorAll(`[data-category="${category}"]`)) {
        item.hidden = hidden.has(category);
      }
    });
    filter.ariaPressed = "true";
    colour(filter, category);
    element("filters").append(filter);
  }
}
function button(text, press) {
  const button2 = document.createElement("button");
  button2.type = "button";
  button2.textContent = text;
  button2.onclick = press;
  return button2;
}
function colour(element2, category) {
  element2.style.setProperty("--of", `var(--${category})`);
}
async function send(number) {
  const pressed = performance.now();
  const answer = await fetch(`/events/${number}`, { method: "POST" });
  const id = await answer.text();
  if (!answer.ok) return showHint(id);
  const shown = arrivedEarly.get(id);
  if (!shown) {
    sentAt.set(id, pressed);
    return;
  }
  arrivedEarly.delete(id);
  showLatency(shown.item, shown.at - pressed);
}
function show(notification) {
  const at = performance.now();
  const template = element("notification");
  const item = template.content.cloneNode(true).firstElementChild;
  const text = (selector, value) => {
    item.querySelector(selector).textContent = value;
  };
  const { event, category, priority, event_id, data, timestamp } = notification;
  item.dataset.category = category;
  item.dataset.eventId = event_id ?? "";
  item.hidden = hidden.has(category);
  colour(item, category);
  text(".title", labels.name(event));
  text(".priority", priority);
  item.querySelector(".priority").dataset.priority = priority;
  text(".category", labels.name(category));
  text(".message", labels.message(data));
  text("time", new Date(timestamp).toLocaleTimeString());
  text("pre", JSON.stringify(notification, null, 2));
  if (is(notification, "student_matches_suggested")) {
    item.dataset.deadline = notification.data.confirmation_deadline;
  }
  list.prepend(item);
  while (list.childElementCount > MAX_ITEMS) list.lastElementChild?.remove();
  received += 1;
  updateCount();
  updateCountdowns();
  if (event_id) measureLatency(item, event_id, at);
}
function measureLatency(item, event, at) {
  const pressed = sentAt.get(event);
  if (pressed === void 0) {
    arrivedEarly.set(event, { item, at });
  } else {
    sentAt.delete(event);
    showLatency(item, at - pressed);
  }
}
function showLatency(item, milliseconds) {
  const latency = item.querySelector(".latency");
  latency.textContent = labels.latency(milliseconds, LIVE_LIMIT_MS);
  latency.toggleAttribute("data-late", milliseconds > LIVE_LIMIT_MS);
  latency.title = "from the click to this page";
}
function updateCountdowns() {
  for (const item of list.querySelectorAll("[data-deadline]")) {
    const shown = item.querySelector(".countdown");
    const left = countdown(item.dataset.deadline ?? "");
    shown.textContent = left.over ? "The time to confirm is over" : `${left.text} left to confirm`;
    shown.hidden = false;
  }
}
function updateCount() {
  element("count").textContent = String(received);
  element("empty").hidden = received > 0;
}
void start();
