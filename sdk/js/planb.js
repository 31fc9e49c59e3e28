// A client of Plan B for browsers and Node: calls, writes that are repeated safely, updates without a gap.
//
// It knows the wire (docs/client-protocol.md, docs/websocket.md) and nothing of the server, and needs nothing but fetch and
// WebSocket. README.md says how to use it, planb.d.ts what each call promises. Ids are strings of digits, beyond 2^53:
// they stay strings. From the top down:
//
//   errors, options    what may be raised, every bound and pause
//   Transport          one request until it is answered, in the region that is there
//   Outbox             writes until they are safe
//   Doubles, State     what tells nothing new; what a client knows
//   Follower           the updates: the stream while it lasts, a fetch wherever it can't be trusted
//   Client             the calls

// -- errors

export class PlanBError extends Error {
  get name() {
    return this.constructor.name;
  }
}

export class ApiError extends PlanBError {
  constructor(status, problem) {
    const code = String(problem.code ?? "unknown");
    super(problem.detail ? `${code}: ${problem.detail}` : code);
    Object.assign(this, { status, code, detail: String(problem.detail ?? ""), problem });
  }
}

export class Unauthenticated extends ApiError {}

export class Replaced extends ApiError {}

export class Unreachable extends PlanBError {
  constructor(detail, key = "") {
    super(detail);
    this.key = key;
  }
}

export class OutboxFull extends PlanBError {}

export class Closed extends PlanBError {}

// -- options

export const OPTIONS = Object.freeze({
  requestTimeoutMs: 10_000, // one try of one request
  giveUpMs: 30_000, // all tries of one call; then Unreachable
  backoffFirstMs: 50,
  backoffMaxMs: 5_000,
  triesPerRegion: 3, // failures in a row after which the next region is tried
  autoSwitch: true,
  page: 100,
  outboxMax: 1_000, // writes that wait, or are kept; at most what the server answers for in one call
  outboxBytesMax: 4_194_304,
  resendAfterMs: 2_000, // how long a region may take to hear of a write before the write is sent again
  doublesKeptMax: 10_000, // updates, and things, that are remembered so that a double is noticed
  cursorAfter: 200, // updates over the stream after which a new cursor is taken
  framesMax: 1_000, // frames that wait for a slow reader; then the stream is given up, and resumed
  pendingMax: 10_000, // updates that wait to be taken from updates()
  historyMax: 500, // messages per conversation in state
  spreadMs: 1_000, // after an interruption that everybody has, the fetch begins within this time
  silentBeats: 2.5, // a stream that is silent for this many heartbeats is dead
  WebSocket: undefined, // instead of the global one
  log: (text) => console.warn(`planb: ${text}`), // what happens in the background and nobody waits for
});

const SAVED_VERSION = 1;
const BATCH_MAX = 100;
const KEPT_MAX = 1_000;
const ALIASES_MAX = 1_000;
const HIDDEN_MAX = 10_000;
const NEWEST = String((1n << 63n) - 1n); // the greatest id that there can be
const OPEN_MS = 10_000;
const RETRY_AFTER_S_MAX = 60;
const AGAIN = new Set([408, 425, 429, 502, 503, 504]);
const AGAIN_CODES = new Set(["not_yet_here", "clock_ahead"]);
const BATCH_AGAIN = new Set([
  ...AGAIN_CODES, "unavailable", "log_unavailable", "outcome_unknown", "store_unavailable", "clock_refused", "overloaded",
  "not_serving", "lane_lost", "lease_lost", "too_many_requests",
]);
const EXPIRED_CODE = "token_expired";
const [EARLY, EARLY_MS_MAX, TRY_AGAIN_MS] = [0.1, 60_000, 5_000]; // of a token's life before it is refreshed
const [REVOKED, REFUSED, UNAUTHENTICATED, EXPIRED, REPLACED] = [4003, 4400, 4401, 4402, 4409]; // close codes of the stream

// -- small things

const part = encodeURIComponent; // as one segment of a path

const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null));

// An Idempotency-Key. Not randomUUID: pages without TLS don't have it.
const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// JSON whose members stand in one order: equal things are equal texts.
const ordered = (value) =>
  JSON.stringify(value, (_, one) =>
    one && typeof one === "object" && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one);

function remember(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
}

// The first id in `PX1.<8 or 16 bytes, base64url>.<mac>`, as 8 characters that compare like it; "" for what looks otherwise.
function clockId(clock) {
  const parts = clock.split(".");
  if (parts.length !== 3) return "";
  try {
    const bytes = atob(parts[1].replaceAll("-", "+").replaceAll("_", "/"));
    return bytes.length < 8 ? "" : bytes.slice(0, 8);
  } catch {
    return ""; // no base64: somebody else's header
  }
}

// One at a time.
class Lock {
  #last = Promise.resolve();

  run(work) {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => {}); // told to whoever waits for it
    return mine;
  }
}

// -- requests to one region at a time

// One try that another one may make good.
class Failed extends PlanBError {
  constructor(detail, retryAfterMs = 0, status = 0, problem = null) {
    super(detail);
    Object.assign(this, { retryAfterMs, status, problem });
  }
}

// The access token of every call, and the refresh token that brings the next two. One refresh is on its way at a time,
// whoever waits for it; the new pair is told before it is used.
class Tokens {
  constructor(token, refreshToken, ask, tell) {
    Object.assign(this, { token, refreshToken, ask, tell, dueMs: Infinity, endsMs: Infinity, asking: null });
  }

  take({ token, refresh_token: refreshToken, token_life_s: lifeS }) {
    Object.assign(this, { token, refreshToken });
    this.endsMs = performance.now() + lifeS * 1000;
    this.dueMs = this.endsMs - Math.min(EARLY_MS_MAX, lifeS * 1000 * EARLY);
    this.tell?.({ token, refreshToken });
  }

  // The access token, refreshed if it is about to expire; while it is good, nobody waits for that.
  async fresh() {
    const now = performance.now();
    if (now >= this.dueMs && this.refreshToken) {
      if (now >= this.endsMs) {
        await this.renew(this.token);
      } else {
        this.dueMs = now + TRY_AGAIN_MS;
        this.#begin().catch(() => {}); // else the server tells, when the old token is over
      }
    }
    return this.token;
  }

  // Another token than this one, which the server calls expired; false where there is none to be had.
  async renew(expired) {
    if (!this.refreshToken) return false;
    if (this.token === expired) await this.#begin();
    return true;
  }

  #begin() {
    this.asking ??= this.ask(this.refreshToken)
      .then((answer) => this.take(answer))
      .finally(() => (this.asking = null));
    return this.asking;
  }
}

// Also keeps the greatest X-Clock, so that what is written is stamped after what was seen, in any region.
class Transport {
  constructor(regions, token, options, stats, refreshToken = "", onTokens = null) {
    if (!regions.length) throw new TypeError("at least one region is needed");
    this.regions = regions.map(address);
    this.region = this.regions[0];
    Object.assign(this, { options, stats, closed: false, clock: "", onSwitch: [] });
    this.tokens = new Tokens(token, refreshToken, (text) => this.#refreshed(text), onTokens);
    this.ending = new AbortController();
    this.failures = 0;
  }

  switchTo(region) {
    region = address(region);
    if (!this.regions.includes(region)) this.regions.push(region);
    this.failures = 0;
    if (region === this.region) return;
    this.region = region;
    this.stats.switches += 1;
    for (const tell of this.onSwitch) tell();
  }

  // A try failed as if the region were not there; after some in a row, the next one is used.
  failed(region) {
    if (region !== this.region) return;
    this.failures += 1;
    if (this.options.autoSwitch && this.regions.length > 1 && this.failures >= this.options.triesPerRegion)
      this.switchTo(this.regions[(this.regions.indexOf(region) + 1) % this.regions.length]);
  }

  answered(region) {
    if (region === this.region) this.failures = 0;
  }

  see(clock) {
    if (clockId(clock) > clockId(this.clock)) this.clock = clock;
  }

  // Pauses that double, are bounded, and are drawn, so that clients that failed together don't return together.
  backoff() {
    const { backoffFirstMs, backoffMaxMs } = this.options;
    let tries = 0;
    return {
      pauseMs: (atLeastMs = 0) => {
        const whole = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(tries++, 30));
        const drawn = (whole * (1 + Math.random())) / 2;
        return atLeastMs > drawn ? atLeastMs + Math.random() * backoffFirstMs : drawn;
      },
      reset: () => (tries = 0),
    };
  }

  // Closed when the client is closed meanwhile.
  sleep(ms) {
    this.check();
    const { signal } = this.ending;
    return new Promise((resolve, reject) => {
      const ended = () => (clearTimeout(timer), reject(new Closed("the client was closed")));
      const timer = setTimeout(() => (signal.removeEventListener("abort", ended), resolve()), ms);
      signal.addEventListener("abort", ended, { once: true });
    });
  }

  check() {
    if (this.closed) throw new Closed("the client was closed");
  }

  close() {
    this.closed = true;
    this.ending.abort();
  }

  // The answer, {body, headers, region}, to what may safely be repeated: a read, or a write with a key.
  async call(method, path, request = {}) {
    const until = Date.now() + this.options.giveUpMs;
    const backoff = this.backoff();
    let renewed = false;
    for (;;) {
      this.check();
      const token = request.authorized === false ? "" : await this.tokens.fresh();
      try {
        return await this.#once(method, path, request, token);
      } catch (error) {
        this.check();
        // Two expired ones in one call: some clock is wrong, and a third token would be no better.
        if (error.code === EXPIRED_CODE && !renewed && (await this.tokens.renew(token))) {
          renewed = true;
          continue;
        }
        if (!(error instanceof Failed)) throw error;
        const pause = backoff.pauseMs(error.retryAfterMs);
        if (Date.now() + pause > until) {
          if (error.status === 409) throw new ApiError(409, error.problem);
          throw new Unreachable(`${method} ${path}: ${error.message}`, request.key);
        }
        this.stats.retries += 1;
        await this.sleep(pause);
      }
    }
  }

  async #refreshed(refreshToken) {
    this.stats.refreshes += 1;
    const request = { body: { refresh_token: refreshToken }, authorized: false };
    return (await this.call("POST", "/v1/token/refresh", request)).body;
  }

  // `data` of media type `kind` stands in place of a body; `raw`: the answer is bytes.
  async #once(method, path, { body, query, key, durability, data, kind, raw }, token) {
    const region = this.region;
    const headers = given({
      "Authorization": token ? `Bearer ${token}` : null,
      "Content-Type": body ? "application/json" : kind,
      "Idempotency-Key": key || null,
      "Prefer": durability ? `durability=${durability}` : null,
      "X-Clock": this.clock || null,
    });
    const search = query && Object.keys(query).length ? `?${new URLSearchParams(query)}` : "";
    const trying = new AbortController();
    const end = () => trying.abort();
    const timer = setTimeout(end, data || raw ? this.options.giveUpMs : this.options.requestTimeoutMs);
    this.ending.signal.addEventListener("abort", end);
    let response, found, bytes;
    try {
      response = await fetch(region + path + search, {
        method, headers, body: data ?? (body && JSON.stringify(body)), signal: trying.signal,
        cache: "no-store", credentials: "omit", redirect: "error",
      });
      if (raw && response.ok) bytes = new Uint8Array(await response.arrayBuffer());
      else found = asObject(await response.text());
    } catch (error) {
      this.failed(region);
      throw new Failed(`${region}: ${error?.cause?.message || error?.message || error}`);
    } finally {
      clearTimeout(timer);
      this.ending.signal.removeEventListener("abort", end);
    }
    this.see(response.headers.get("X-Clock") ?? "");
    if (response.ok && (found || bytes)) {
      this.answered(region);
      return { body: found, bytes, headers: response.headers, region };
    }
    throw this.#refusal(region, response, found ?? {});
  }

  #refusal(region, { status, ok, headers }, problem) {
    if (AGAIN.has(status) || ok || (status === 409 && AGAIN_CODES.has(problem.code))) {
      if (ok || [502, 503, 504].includes(status)) this.failed(region); // down, rather than busy or behind
      else this.answered(region);
      const seconds = Math.min(RETRY_AFTER_S_MAX, Math.max(0, Number(headers.get("Retry-After")) || 0));
      return new Failed(`${region}: ${status} ${problem.code ?? ""}`, seconds * 1000, status, problem);
    }
    this.answered(region);
    return new (status === 401 ? Unauthenticated : ApiError)(status, problem);
  }
}

// Of a region, as it is compared.
function address(region) {
  if (!/^https?:\/\/[^/?#]+/i.test(region))
    throw new TypeError(`region ${region}: give its address, as https://fra.example.com or http://127.0.0.1:8080`);
  return region.replace(/\/+$/, "");
}

function asObject(text) {
  try {
    const found = JSON.parse(text);
    return found && typeof found === "object" && !Array.isArray(found) ? found : null;
  } catch {
    return null; // cut off, or some proxy's page: no answer of ours
  }
}

// -- writes until they are safe

// Sent under one key until acknowledged, then kept while a lost region could take them: until another one holds them too,
// or newer ones need the room. After a change of region, or a new epoch of one, the kept writes that the new region does
// not cover are sent again under their keys; whatever arrives twice is one message, one chat, one value.
//
// A write is {key, method, path, body, query, message, durability, receipt, region} and, while it is here, `generation`
// (of the outbox when its receipt was last known to hold), `busy` and `size`. `{message}` in a path stands for `message`.
class Outbox {
  constructor(transport) {
    Object.assign(this, { transport, options: transport.options, stats: transport.stats });
    this.writes = new Map();
    this.bytes = 0;
    this.aliases = new Map(); // id of a message -> the one that it got when it was sent again
    this.generation = 0; // changes whenever what a region acknowledged may be gone
    this.settling = null;
  }

  // The receipt. ApiError for a refusal; Unreachable leaves the write here: it is sent in the background.
  async write(write) {
    this.#add(write);
    try {
      return await this.#deliver(write);
    } catch (error) {
      if (error instanceof ApiError && !(error instanceof Unauthenticated)) this.#drop(write); // else a new token may send it
      if (error instanceof Unreachable) this.resume();
      throw error;
    }
  }

  // Messages in their order, by the batch endpoint; each has its own outcome: a receipt or an ApiError.
  async writeMany(writes) {
    for (const write of writes) this.#add(write);
    const outcomes = new Map();
    try {
      for (let at = 0; at < writes.length; at += BATCH_MAX) await this.#batch(writes.slice(at, at + BATCH_MAX), outcomes);
    } catch (error) {
      if (error instanceof Unreachable) this.resume();
      throw error;
    }
    return writes.map((write) => outcomes.get(write.key));
  }

  // Not acknowledged, and not on their way.
  waiting() {
    return [...this.writes.values()].filter((write) => !write.receipt && !write.busy);
  }

  doubtful() {
    return [...this.writes.values()].filter((write) => write.receipt && write.generation !== this.generation);
  }

  // What was acknowledged so far may be gone: finds out in the background, and sends again what is.
  doubt() {
    this.generation += 1;
    this.resume();
  }

  resume() {
    if (this.writes.size && !this.transport.closed)
      this.#settle().catch((error) => this.options.log(`the outbox can't be settled: ${error.message}`));
  }

  // Returns when nothing waits and nothing is in doubt. Raises what keeps it so.
  async settled() {
    while (this.waiting().length || this.doubtful().length) {
      this.transport.check();
      await this.#settle();
    }
  }

  saved() {
    const kept = ["key", "method", "path", "body", "query", "message", "durability", "region", "receipt"];
    const writes = [...this.writes.values()].map((write) => Object.fromEntries(kept.map((name) => [name, write[name] ?? null])));
    return { writes, aliases: Object.fromEntries(this.aliases) };
  }

  // What was acknowledged may be gone since: it is in doubt.
  restore({ writes, aliases }) {
    this.aliases = new Map(Object.entries(aliases));
    for (const write of writes) {
      this.#add({ ...write });
      this.writes.get(write.key).generation = this.generation - 1;
    }
  }

  #add(write) {
    if (this.writes.has(write.key)) this.#drop(this.writes.get(write.key)); // the application repeats it itself
    write.size = 256 + JSON.stringify(write.body ?? {}).length;
    const { outboxMax, outboxBytesMax } = this.options;
    while (this.writes.size >= outboxMax || (this.writes.size && this.bytes + write.size > outboxBytesMax)) {
      const kept = [...this.writes.values()].find((one) => one.receipt && !one.busy);
      if (!kept) throw new OutboxFull(`${this.writes.size} writes wait to be acknowledged`);
      this.stats.evicted += 1;
      this.#drop(kept);
    }
    this.writes.set(write.key, write);
    this.bytes += write.size;
  }

  #drop(write) {
    if (this.writes.get(write.key) !== write) return;
    this.writes.delete(write.key);
    this.bytes -= write.size;
  }

  async #deliver(write) {
    write.busy = true;
    try {
      const message = part(this.aliases.get(write.message) ?? write.message ?? "");
      const answer = await this.transport.call(write.method, write.path.replace("{message}", message), write);
      const { body, headers, region } = answer;
      const applied = headers.get("Preference-Applied")?.split("durability=")[1];
      const replayed = headers.get("Idempotency-Replayed") === "true";
      return this.#acknowledged(write, body, applied || body.durability || "local", replayed, region);
    } finally {
      write.busy = false;
    }
  }

  #acknowledged(write, answer, durability, replayed, region) {
    const receipt = { id: String(answer.id), key: write.key, durability, replayed, answer };
    if (write.receipt && write.receipt.id !== receipt.id)
      remember(this.aliases, write.receipt.id, receipt.id, ALIASES_MAX);
    Object.assign(write, { receipt, region, generation: this.generation });
    if (durability === "remote") this.#drop(write);
    return receipt;
  }

  // Repeats what failed for the moment; every message is sent under its own key.
  async #batch(writes, outcomes) {
    const until = Date.now() + this.options.giveUpMs;
    const backoff = this.transport.backoff();
    for (let left = writes; ; ) {
      let why;
      [left, why] = await this.#batchOnce(left, outcomes);
      if (!left.length) return;
      const pause = backoff.pauseMs((why.retry_after_s ?? 0) * 1000);
      if (Date.now() + pause > until) throw new Unreachable(`${left.length} messages: ${why.code}`, left[0].key);
      this.stats.retries += 1;
      await this.transport.sleep(pause);
    }
  }

  async #batchOnce(writes, outcomes) {
    const busy = (is) => writes.forEach((write) => (write.busy = is));
    busy(true);
    let answer;
    try {
      const messages = writes.map((write) => ({ key: write.key, ...write.body }));
      answer = await this.transport.call("POST", "/v1/messages/batch", { body: { messages } });
    } finally {
      busy(false);
    }
    const left = [];
    let why = {};
    for (const [at, write] of writes.entries()) {
      const result = answer.body.results[at];
      const { problem } = result;
      if (!problem) {
        outcomes.set(write.key, this.#acknowledged(write, result, result.durability ?? "local", false, answer.region));
      } else if (BATCH_AGAIN.has(problem.code)) {
        left.push(write);
        why = problem;
      } else {
        this.#drop(write);
        outcomes.set(write.key, new ApiError(problem.status ?? 400, problem));
      }
    }
    return [left, why];
  }

  // Until nothing waits and nothing is in doubt, whatever regions come and go meanwhile. One at a time.
  #settle() {
    this.settling ??= this.#settling().finally(() => (this.settling = null));
    return this.settling;
  }

  async #settling() {
    const backoff = this.transport.backoff();
    while (!this.transport.closed) {
      try {
        await this.#settleOnce();
      } catch (error) {
        if (error instanceof Closed) return;
        if (error instanceof Unauthenticated || !(error instanceof PlanBError)) throw error;
      }
      if (!this.waiting().length && !this.doubtful().length) return;
      await this.transport.sleep(backoff.pauseMs());
    }
  }

  async #settleOnce() {
    const { generation } = this;
    const { region } = this.transport;
    const wanted = await this.#uncovered(generation);
    for (const write of this.waiting()) wanted.add(write.key);
    for (const write of [...this.writes.values()].filter((one) => wanted.has(one.key))) {
      if (this.generation !== generation || this.transport.region !== region) return;
      const again = Boolean(write.receipt);
      try {
        await this.#deliver(write);
        this.stats.resent += again;
      } catch (error) {
        const refused = error instanceof ApiError && !(error instanceof Unauthenticated) && !AGAIN_CODES.has(error.code);
        if (!refused) throw error; // it may only not have heard of something yet
        this.#drop(write);
        this.stats.refused += 1;
        this.options.log(`a write is refused when sent again (${write.path}): ${error.message}`);
      }
    }
  }

  // Keys of the doubtful writes that the region still lacks after `resendAfterMs`.
  async #uncovered(generation) {
    const until = Date.now() + this.options.resendAfterMs;
    const backoff = this.transport.backoff();
    for (;;) {
      const asked = new Map(this.doubtful().slice(0, KEPT_MAX).map((write) => [write.receipt.id, write]));
      if (!asked.size) return new Set();
      const { body, region } = await this.transport.call("POST", "/v1/updates", { body: { kept: [...asked.keys()] } });
      if (this.generation !== generation) return new Set();
      const missing = new Set(body.uncovered);
      for (const [id, write] of asked) {
        if (missing.has(id)) continue;
        write.generation = this.generation; // applied here: safe if another region acknowledged it, else as before
        if (write.region !== region) this.#drop(write);
      }
      if (missing.size && Date.now() >= until) return new Set([...missing].map((id) => asked.get(id).key));
      if (missing.size) await this.transport.sleep(Math.min(backoff.pauseMs(), Math.max(0, until - Date.now())));
    }
  }
}

// -- what tells nothing new

// A message, unless it is one of which only a change has arrived.
const messageOf = (update) => (update.type === "message" && !update.message.missing ? update.message : null);

// The thing that an update shows. A message is known by its class, one that has not arrived by its id.
function about(update) {
  const { type } = update;
  if (type === "message")
    return messageOf(update) ? aboutMessage(update.message) : ordered(["missing", update.message.id]);
  const names = {
    hidden: (one) => [one.conversation, one.message],
    member: (one) => [one.chat, one.user],
    session: (one) => [one.session],
    contact: (one) => [one.contact.user.id],
    handle: (one) => [one.handle],
    dnd: () => [],
    device: (one) => [one.device],
    block: (one) => [one.user],
    invite: (one) => [one.chat, one.invite],
    request: (one) => [one.chat, one.user],
    ban: (one) => [one.chat, one.user],
    scheduled: (one) => [one.scheduled],
    dialog: (one) => [one.dialog.conversation],
  };
  // Of a type that this version does not know, only its own event tells it apart.
  const name = Object.hasOwn(names, type) ? names[type](update) : [update[type]?.id ?? update.event];
  return ordered([type, ...name]);
}

const aboutMessage = (message) => ordered(["message", message.class]);

// A double shows a thing as it was shown last. By its event alone it can't be told: a datacenter that lags behind the one
// before shows an older state for a while, and then the same event again brings it back. Bounded: what is older than that
// may pass twice, never be lost.
class Doubles {
  constructor(keptMax) {
    this.keptMax = keptMax;
    this.seed = Array.from(crypto.getRandomValues(new Uint32Array(2)));
    this.shown = new Map(); // thing -> how it was shown last
    this.events = new Map(); // event and thing -> thing
  }

  // Those of one page or frame that tell something new, as [item, first], first: a message not seen before. An event that
  // came before is also dropped when the page brings a new one about the same thing: both show it as it is now.
  fresh(items) {
    const told = items.map((item) => {
      const thing = about(item.update);
      return { item, thing, event: `${item.update.event} ${thing}` };
    });
    const news = new Set(told.filter(({ event }) => !this.events.has(event)).map(({ thing }) => thing));
    const found = [];
    for (const { item, thing, event } of told) {
      const came = this.events.has(event);
      remember(this.events, event, thing, this.keptMax);
      if (came && news.has(thing)) continue;
      const first = messageOf(item.update) !== null && !this.shown.has(thing);
      const looks = this.#looks(item.update);
      if (this.shown.get(thing) !== looks) found.push([item, first]);
      remember(this.shown, thing, looks, this.keptMax);
    }
    return found;
  }

  #looks({ event, ...rest }) {
    return hash(ordered(rest), this.seed);
  }

  // The newest of what is remembered, without these things.
  saved(newest, but) {
    const last = (map) => (newest ? [...map].slice(-newest) : []);
    return {
      seed: this.seed,
      shown: last(this.shown).filter(([thing]) => !but.has(thing)),
      events: last(this.events).filter(([, thing]) => !but.has(thing)),
    };
  }

  restore({ seed, shown, events }) {
    this.seed = seed;
    this.shown = new Map(shown);
    this.events = new Map(events);
  }
}

// HalfSipHash-2-4 (Aumasson, Bernstein 2012) over UTF-16 units, 64 bits: keyed, so that nobody can make two looks alike.
function hash(text, [k0, k1]) {
  let [v0, v1, v2, v3] = [k0, k1 ^ 0xee, k0 ^ 0x6c796765, k1 ^ 0x74656462];
  const turn = (x, n) => (x << n) | (x >>> (32 - n));
  const round = () => {
    v0 = (v0 + v1) | 0; v1 = turn(v1, 5) ^ v0; v0 = turn(v0, 16);
    v2 = (v2 + v3) | 0; v3 = turn(v3, 8) ^ v2;
    v0 = (v0 + v3) | 0; v3 = turn(v3, 7) ^ v0;
    v2 = (v2 + v1) | 0; v1 = turn(v1, 13) ^ v2; v2 = turn(v2, 16);
  };
  const take = (word) => { v3 ^= word; round(); round(); v0 ^= word; };
  for (let at = 0; at + 1 < text.length; at += 2) take(text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16));
  take((text.length << 17) | (text.length % 2 ? text.charCodeAt(text.length - 1) : 0));
  v2 ^= 0xee;
  const word = () => { for (let n = 0; n < 4; n++) round(); return ((v1 ^ v3) >>> 0).toString(16).padStart(8, "0"); };
  const high = word();
  v1 ^= 0xdd;
  return high + word();
}

// -- what a client knows

const NOTHING_SET = {
  pin: null, muted_until_ms: null, marked_unread: false, draft: null, unread_mentions: 0, unread_mentions_more: false,
  read: {}, cleared: {},
};

const byId = (a, b) => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);

const plain = (map, keep = () => true) =>
  Object.fromEntries([...map].filter(([key, value]) => keep(key, value)).sort(([a], [b]) => byId(a, b)));

// Kept right by updates: stale state plus updates equals a fresh fetch. Plain JSON as the API shows it.
export class State {
  constructor(user, historyMax = OPTIONS.historyMax) {
    Object.assign(this, { user, historyMax, loaded: false });
    this.messages = new Map(); // conversation -> Map of message id -> message
    this.chats = new Map();
    this.dialogs = new Map(); // conversation -> its settings, as in NOTHING_SET
    this.members = new Map(); // chat -> Map of user -> role, as far as updates told
    this.left = new Set(); // chats that I am not in any more
    this.profiles = new Map();
    this.revoked = new Set(); // sessions
    this.contacts = new Map(); // user -> "contact", "asked", "asks" or "none", as far as updates told
    this.blocked = new Map(); // user -> have I blocked him, as far as updates told
    this.hidden = new Map(); // ids and names of messages that I hid: a copy that comes late stays hidden
    this.stale = new Set(); // conversations to be loaded again: my membership changed, so what of them I may read did
  }

  // What two clients with equal knowledge have equal. Without chats that I am not in any more: a fetch shows what became
  // of them, updates about it are not for me.
  snapshot() {
    const here = (name) => !this.left.has(name);
    const messages = [...this.messages].filter(([name, some]) => some.size && here(name));
    return {
      messages: plain(messages.map(([name, some]) => [name, plain(some)])),
      chats: plain(this.chats, here),
      dialogs: plain(this.dialogs, (_, one) => ordered(one) !== ordered(NOTHING_SET)),
    };
  }

  // Takes one update in. Any update may come again.
  fold(update) {
    const { type } = update;
    if (type === "message") this.#message(update);
    else if (type === "hidden") this.#hide(update);
    else if (type === "chat") this.#chat(update.chat);
    else if (type === "member") this.#member(update);
    else if (type === "dialog") this.#dialog(update.dialog);
    else if (type === "user") this.profiles.set(update.user.id, update.user);
    else if (type === "session" && update.revoked) this.revoked.add(update.session);
    else if (type === "block") this.blocked.set(update.user, update.blocked);
    else if (type === "contact") this.contacts.set(update.contact.user.id, update.contact.state);
  }

  clear() {
    for (const all of [this.chats, this.dialogs, this.messages, this.left, this.stale]) all.clear();
  }

  // An entry of GET /v1/dialogs.
  loadDialog({ conversation, present, peer, ...entry }) {
    this.#settings({ conversation, ...entry });
    this.#present(conversation, present);
    if (peer.user) this.profiles.set(peer.user.id, peer.user);
    else if (!peer.chat.missing) this.chats.set(peer.chat.id, peer.chat);
  }

  // The newest messages of a conversation, in place of what was known of it.
  loadHistory(conversation, messages) {
    this.stale.delete(conversation);
    this.messages.set(conversation, new Map(messages.map((message) => [message.id, message])));
    this.#bound(conversation);
  }

  // How many messages of a conversation name me and are not read, as GET /v1/dialogs/{peer}/mentions has it.
  loadMentions(conversation, count, more) {
    const known = this.dialogs.get(conversation) ?? NOTHING_SET;
    this.dialogs.set(conversation, { ...known, unread_mentions: count, unread_mentions_more: more });
  }

  #message({ event, message }) {
    if (message.missing) return; // its own update will show it, with whatever came before it
    const { conversation, id } = message;
    if (!this.messages.has(conversation)) this.messages.set(conversation, new Map());
    const known = this.messages.get(conversation);
    const same = [...known.values()].filter((one) => one.class === message.class);
    const hidden = this.hidden.has(aboutMessage(message)) || this.hidden.has(id) || this.#cleared(message);
    if (!same.length && event !== id) {
      // A change of what is not here. Older than what is held, hidden or cleared; or a history can tell.
      const older = known.size >= this.historyMax && [...known.keys()].every((one) => byId(id, one) < 0);
      if (!older && !hidden) this.stale.add(conversation);
      return;
    }
    for (const one of same) known.delete(one.id);
    if (!hidden) known.set(id, message);
    this.#bound(conversation);
  }

  // Under any of its ids: it may have been another one that was here when I cleared. A lane is an id's last 16 bits.
  #cleared(message) {
    const { cleared } = this.dialogs.get(message.conversation) ?? NOTHING_SET;
    return [message.id, ...(message.copies ?? [])].some(
      (id) => byId(id, cleared[String(BigInt(id) & 0xffffn)] ?? "0") <= 0);
  }

  #hide({ conversation, message: id }) {
    const message = this.messages.get(conversation)?.get(id);
    this.messages.get(conversation)?.delete(id);
    remember(this.hidden, id, true, HIDDEN_MAX);
    if (message) remember(this.hidden, aboutMessage(message), true, HIDDEN_MAX); // its copies too
  }

  #chat(chat) {
    if (chat.missing) return;
    if (!this.chats.has(chat.id)) this.stale.add(chat.id);
    this.chats.set(chat.id, chat);
  }

  #member({ chat, user, present, role }) {
    if (!this.members.has(chat)) this.members.set(chat, new Map());
    if (present) this.members.get(chat).set(user, role);
    else this.members.get(chat).delete(user);
    // Anybody's membership of a group: what a message's origin did not owe me yet may lie behind my cursor already. A
    // supergroup has updates of its own, which all members share.
    if (user === this.user || chat.startsWith("G")) this.stale.add(chat);
    if (user === this.user) this.#present(chat, present);
  }

  #dialog(entry) {
    this.#settings(entry);
    const known = this.messages.get(entry.conversation) ?? new Map();
    for (const [id, message] of known) if (this.#cleared(message)) known.delete(id);
  }

  #present(chat, present) {
    if (present) this.left.delete(chat);
    else this.left.add(chat);
  }

  #settings(entry) {
    const set = Object.keys(NOTHING_SET).map((name) => [name, entry[name]]);
    this.dialogs.set(entry.conversation, Object.fromEntries(set));
  }

  #bound(conversation) {
    const known = this.messages.get(conversation);
    if (known.size <= this.historyMax) return;
    for (const id of [...known.keys()].sort(byId).slice(0, known.size - this.historyMax)) known.delete(id);
  }
}

// Everything of one `path`, page by page: `what` names the list in the answer, or makes it, `next` what goes on, as which query.
async function* pages(transport, path, what, query = {}, next = "after", as = "after") {
  query = { limit: String(transport.options.page), ...query };
  for (;;) {
    const { body } = await transport.call("GET", path, { query });
    yield typeof what === "function" ? what(body) : body[what];
    if (!body[next]) return;
    query = { ...query, [as]: body[next] };
  }
}

async function* each(found) {
  for await (const page of found) yield* page;
}

const messagesOf = (peer) => `/v1/dialogs/${part(peer)}/messages`;

// The messages of a page, with what is known of replies to them.
const withReplies = ({ messages, replies }) =>
  messages.map((message) => (replies[message.id] ? { ...message, replies: replies[message.id] } : message));

async function* backwards(transport, path, what, before) {
  for await (const page of pages(transport, path, what, given({ before }), "next_before", "before")) yield* page.reverse();
}

// Read again until nothing new is seen: what moved up while pages were read stands in none of them.
async function allDialogs(transport) {
  const found = new Map();
  for (;;) {
    const known = found.size;
    let count = 0;
    for await (const page of pages(transport, "/v1/dialogs", "dialogs")) {
      count += 1;
      for (const entry of page) found.set(entry.conversation, entry);
    }
    if (count === 1 || found.size === known) return [...found.values()];
  }
}

// Everything anew. Take the cursor before.
async function loadAll(transport, state) {
  const found = await allDialogs(transport);
  state.clear();
  for (const entry of found) state.loadDialog(entry);
  for (const { conversation } of found) await loadHistory(transport, state, conversation);
  state.loaded = true;
}

// The histories of these conversations anew, and what of them names the user.
async function loadSome(transport, state, conversations) {
  for (const conversation of conversations) {
    await loadHistory(transport, state, conversation);
    const path = `/v1/dialogs/${part(conversation)}/mentions`;
    const { count, more } = await ofMine(
      async () => (await transport.call("GET", path, { query: { limit: "1" } })).body, { count: 0, more: false });
    state.loadMentions(conversation, count, more);
  }
}

async function loadHistory(transport, state, conversation) {
  const found = [];
  await ofMine(async () => {
    for await (const message of backwards(transport, messagesOf(conversation), "messages"))
      if (found.push(message) >= state.historyMax) break;
  });
  state.loadHistory(conversation, found);
}

// What `read` brings; `otherwise` where the conversation is none of mine any more.
async function ofMine(read, otherwise) {
  try {
    return await read();
  } catch (error) {
    if (error.status !== 403 && error.status !== 404) throw error;
    return otherwise;
  }
}

// -- updates

// The stream is over; what was missed is found by the next one. `failed`: as if the region were not there.
class Ended extends PlanBError {
  constructor(detail, failed) {
    super(detail);
    this.failed = failed;
  }
}

// One connection to the present region. Receive only.
class Stream {
  constructor(transport) {
    Object.assign(this, { transport, region: "", interrupt: () => {} });
  }

  // The server's frames, its hello first. Ended; Unauthenticated, Replaced or ApiError where coming again is of no use.
  async *frames(cursor, at) {
    const token = await this.transport.tokens.fresh();
    const { options, region } = this.transport;
    const Socket = options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) throw new TypeError("there is no WebSocket here: give one as an option");
    this.region = region;
    const frames = [];
    let ended = null;
    let wake = () => {};
    const end = (error) => ((ended ??= error), wake());
    const socket = new Socket(`${region.replace(/^http/, "ws")}/v1/stream`);
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token, cursor, at }));
    socket.onclose = ({ code, reason }) => end(closed(code, reason));
    socket.onerror = () => end(new Ended("the stream failed", true)); // in Node no close follows a refused connection
    socket.onmessage = ({ data }) => {
      // A browser takes whatever comes. Who is too slow for it gives the stream up, and goes on from where he is.
      if (frames.length < options.framesMax) frames.push(data);
      else end(new Ended("slow: too much waits to be taken", false));
      wake();
    };
    this.interrupt = () => end(new Ended("the client went elsewhere", false));
    let silenceMs = OPEN_MS;
    try {
      for (;;) {
        if (!frames.length && !ended) {
          const timer = setTimeout(() => end(new Ended("the stream fell silent", true)), silenceMs);
          await new Promise((resolve) => (wake = resolve));
          clearTimeout(timer);
        }
        if (this.transport.closed || this.transport.region !== region) throw new Ended("the client went elsewhere", false);
        if (!frames.length) {
          if (ended.code === EXPIRED_CODE && (await this.transport.tokens.renew(token)))
            throw new Ended("the token has expired, and was refreshed", false);
          throw ended;
        }
        const frame = JSON.parse(frames.shift());
        if (frame.type === "hello") silenceMs = Math.max(1000, frame.heartbeat_s * 1000 * options.silentBeats);
        yield frame;
      }
    } finally {
      this.interrupt = () => {};
      socket.close();
    }
  }
}

function closed(code, reason) {
  if (code === REVOKED || code === UNAUTHENTICATED)
    return new Unauthenticated(401, { code: "unauthenticated", detail: reason });
  if (code === EXPIRED) return new Unauthenticated(401, { code: EXPIRED_CODE, detail: reason });
  if (code === REFUSED) return new ApiError(400, { code: "invalid", detail: `the stream was refused: ${reason}` });
  if (code === REPLACED) return new Replaced(429, { code: "too_many_requests", detail: reason });
  return new Ended(`closed: ${code} ${reason}`, code < 4000); // others: the server is well and said why
}

// What counts is the cursor, taken whole from each answer, and the position in clear beside it: an update that is not
// exactly the next of its list is a hole, and a hole is fetched.
class Follower {
  constructor(transport, state, onNewLife) {
    Object.assign(this, { transport, state, onNewLife, options: transport.options, stats: transport.stats });
    this.doubles = new Doubles(this.options.doublesKeptMax);
    this.stream = new Stream(transport);
    Object.assign(this, { fetching: new Lock(), beginning: new Lock(), loading: new Lock() });
    this.pending = []; // updates that nobody has taken yet
    this.cursor = "";
    this.position = null;
    this.region = ""; // whose cursor it is
    this.drained = true; // nothing was left to be fetched behind it
    this.moves = 0; // changes of region
    this.ahead = false; // the position has moved beyond the cursor by what came over the stream
    this.since = 0; // updates that came over the stream since the cursor was taken
    this.got = 0; // updates that came at all
    this.gotAtCursor = 0;
    this.following = false;
    this.wanted = false; // the application wants every update from its first cursor on
    this.life = null; // DC and epoch of the stream: what its pts count in
    this.due = false; // something has to be fetched
    this.holes = new Map();
    this.taken = null; // as `saved` tells it, when every update had been taken
    transport.onSwitch.push(() => this.#switched());
  }

  // Takes a cursor at the present, if there is none: what is loaded from now on is covered by it.
  begin() {
    // One at a time: a second one, later than the first, would pass over what lies between them.
    return this.beginning.run(async () => this.cursor || (await this.#present()));
  }

  // To be called before something is loaded: for one who doesn't follow, what is loaded counts as delivered.
  beforeLoading() {
    return this.beginning.run(async () => this.wanted || (await this.#present()));
  }

  // How far this client is, as the body of a mark tells it. What lies before a cursor at the present comes by loading:
  // until that is done, it would be said of what was never shown.
  async place() {
    await this.begin();
    if (this.wanted) await this.#load(false);
    return { cursor: this.cursor, at: this.position };
  }

  // Where the application is: an update that it has not taken yet comes after this.
  saved() {
    if (!this.pending.length) this.#mark();
    const waiting = new Set(this.pending.map(({ type, event, body }) => about({ type, event, ...body })));
    const { gotAtCursor, ...taken } = this.taken;
    return { ...taken, doubles: this.doubles.saved(this.got - gotAtCursor, waiting) };
  }

  restore({ cursor, position, ahead, wanted, doubles }) {
    Object.assign(this, { cursor, position, ahead, wanted });
    this.doubles.restore(doubles);
    this.since = this.got = doubles.events.length;
  }

  #mark() {
    const { cursor, position, ahead, wanted, gotAtCursor } = this;
    this.taken = { cursor, position, ahead, wanted, gotAtCursor };
  }

  async #present() {
    this.#take(await this.transport.call("GET", "/v1/state"));
  }

  // The new cursor, whole: merging two cursors element by element would miss.
  #take({ body, region }) {
    const before = this.position;
    Object.assign(this, { cursor: body.cursor, position: body.position, ahead: false, region, drained: !body.more });
    this.since = 0;
    this.gotAtCursor = this.got;
    if (before && lifeOf(before) !== lifeOf(this.position)) this.onNewLife();
  }

  #fetched() {
    return this.fetching.run(async () => {
      await this.begin();
      const body = { cursor: this.cursor, limit: this.options.page, ...(this.ahead && { at: this.position }) };
      if (!this.pending.length) this.#mark();
      const whole = await this.transport.call("POST", "/v1/updates", { body });
      const { updates, reset, more } = whole.body;
      this.stats.fetches += 1;
      this.stats.fetched += updates.length;
      this.#got(updates);
      if (reset && this.state) this.state.loaded = false;
      this.#take(whole);
      if (reset) {
        this.stats.resets += 1;
        this.#handOn({ pts: this.position.pts, update: { type: "reset", event: "0" } }, false);
      }
      return { reset, more };
    });
  }

  // What `state` lacks: everything, or the conversations that are stale.
  async #load(stale = true) {
    const { state, transport } = this;
    if (!state) return;
    await this.loading.run(async () => {
      while (!state.loaded || (stale && state.stale.size)) {
        const { moves } = this;
        // First the cursor comes to the region that is loaded from. What a cursor of another region covers may not have
        // come to this one, and nobody would bring it to who goes back.
        while (this.region !== transport.region || !this.drained) await this.#fetched();
        if (state.loaded) await loadSome(transport, state, [...state.stale]);
        else await loadAll(transport, state);
        if (moves !== this.moves) state.loaded = false;
      }
    });
  }

  // The updates of one page or frame, as they came.
  #got(items) {
    // Doubles too: they may show what a slower region showed older.
    if (this.state) for (const { update } of items) this.state.fold(update);
    const fresh = this.doubles.fresh(items);
    this.got += items.length;
    this.stats.repeated += items.length - fresh.length;
    this.stats.received += fresh.length;
    for (const [item, first] of fresh) this.#handOn(item, first);
  }

  #handOn({ pts, channel = null, update }, first) {
    if (!this.following) return; // nobody listens; the cursor moves on all the same, and state was folded
    if (this.pending.length >= this.options.pendingMax)
      throw new PlanBError(`${this.pending.length} updates wait to be taken from updates()`);
    const { type, event, ...body } = update;
    const chat = type === "chat" && !update.chat.missing ? update.chat : null;
    this.pending.push({ type, event, pts, channel, body, first, message: messageOf(update), chat });
  }

  *#drain() {
    while (this.pending.length) yield this.pending.shift();
  }

  // Until the client is closed, its session ends (Unauthenticated), or another stream takes its place (Replaced).
  async *updates() {
    if (this.following) throw new PlanBError("the updates are being followed already");
    this.following = this.wanted = true;
    const { transport } = this;
    const backoff = transport.backoff();
    let opened = 0;
    try {
      while (!transport.closed) {
        yield* this.#drain(); // also what the loop before this one did not take
        this.stats.reconnects += opened;
        opened = 1;
        try {
          yield* this.#connected(backoff);
        } catch (error) {
          // Unreachable: each try was counted against the region. A region that is behind what we have seen, for longer
          // than a call waits, is not our end either.
          const again = error instanceof Ended || error instanceof Unreachable || AGAIN_CODES.has(error.code);
          if (!again) throw error;
          if (error.failed) transport.failed(this.stream.region);
        }
        yield* this.#drain();
        if (!transport.closed) await transport.sleep(backoff.pauseMs());
      }
    } catch (error) {
      if (!(error instanceof Closed)) throw error;
    } finally {
      this.following = false;
    }
  }

  // One connection.
  async *#connected(backoff) {
    await this.begin();
    await this.#load();
    this.life = null;
    for await (const frame of this.stream.frames(this.cursor, this.position)) {
      backoff.reset();
      this.transport.answered(this.stream.region);
      await this.#frame(frame);
      yield* this.#drain();
      while (this.due) {
        const { reset, more } = await this.#fetched();
        if (reset) await this.#load(false);
        this.due = more;
        yield* this.#drain();
      }
      this.#checkHoles();
      await this.#load();
    }
  }

  async #frame(frame) {
    if (!this.pending.length) this.#mark();
    const { type } = frame;
    if (type === "hello" || type === "resume") this.life = lifeOf(frame);
    if (type === "resume") {
      this.stats.resumes += 1;
      if (frame.reason === "epoch") await this.transport.sleep(Math.random() * this.options.spreadMs); // everybody was told
      this.due = true;
    } else if (type === "updates" || type === "heartbeat" || type === "poke") {
      if (lifeOf(this.position) !== this.life) this.due = true; // its pts count in another life than ours
      else if (type === "updates") this.#streamed(frame.updates);
      else if (type === "poke") this.#told(frame.channel ?? null, frame.pts);
      else for (const [channel, pts] of [[null, frame.pts], ...Object.entries(frame.channels)]) this.#told(channel, pts);
    }
  }

  // Takes what is exactly the next of its list. At a hole the rest is left to the fetch, which brings it too.
  #streamed(items) {
    const taken = [];
    for (const item of items) {
      const { channel = null, pts } = item;
      const known = this.#known(channel);
      if (pts <= known) {
        this.stats.repeated += 1;
      } else if (pts === known + 1) {
        const { channels } = this.position;
        this.position = { ...this.position, ...(channel ? { channels: { ...channels, [channel]: pts } } : { pts }) };
        this.ahead = true;
        taken.push(item);
      } else {
        this.#hole(channel, pts);
        break;
      }
    }
    this.#got(taken);
    this.since += taken.length;
    if (this.since >= this.options.cursorAfter) this.due = true;
  }

  // The pts of the own list, or of a supergroup's; undefined for a supergroup that has none yet.
  #known(channel) {
    return channel === null ? this.position.pts : this.position.channels[channel];
  }

  // The server's newest pts: whatever lies before them and is not here was lost on the way.
  #told(channel, pts) {
    if (pts > (this.#known(channel) ?? 0)) this.#hole(channel, pts);
  }

  #hole(channel, pts) {
    this.stats.holes += 1;
    this.holes.set(channel, Math.max(pts, this.holes.get(channel) ?? 0));
    this.due = true;
  }

  // After a fetch that drained everything, no hole of this life may be open.
  #checkHoles() {
    if (lifeOf(this.position) === this.life)
      for (const [channel, pts] of this.holes) this.stats.missed += this.#known(channel) < pts;
    this.holes.clear();
  }

  #switched() {
    this.moves += 1;
    this.onNewLife();
    this.stream.interrupt();
  }
}

// What pts count in: positions of different lives can't be compared.
const lifeOf = ({ dc, epoch }) => `${dc} ${epoch}`;

// -- the client

const STATS = {
  received: 0, repeated: 0, missed: 0, holes: 0, fetched: 0, fetches: 0, resumes: 0, resets: 0, reconnects: 0, switches: 0,
  retries: 0, resent: 0, refused: 0, evicted: 0, refreshes: 0,
};

const messageBody = ({ to, text, content, mentions, replyTo, draft }) =>
  given({ to, text: text || null, content, mentions: mentions?.length ? mentions : null, reply_to: replyTo, draft });

// One session of one user. `regions` are base URLs, the nearest first.
export class Client {
  #transport;
  #outbox;
  #follower;

  constructor(regions, token, { user = "", keepState = false, saved = null, options = {}, refreshToken, onTokens } = {}) {
    if (saved && saved.version !== SAVED_VERSION)
      throw new TypeError(`saved by version ${saved.version}, not ${SAVED_VERSION}`);
    if (saved?.user && user && saved.user !== user) throw new TypeError(`saved for ${saved.user}, not ${user}`);
    this.options = Object.freeze({ ...OPTIONS, ...options });
    this.stats = { ...STATS };
    this.user = user;
    this.state = keepState ? new State(user, this.options.historyMax) : null;
    this.#transport = new Transport(regions, token, this.options, this.stats, refreshToken, onTokens);
    this.#outbox = new Outbox(this.#transport);
    this.#follower = new Follower(this.#transport, this.state, () => this.#outbox.doubt());
    if (saved) {
      this.see(saved.clock);
      this.#follower.restore(saved.follower);
      this.#outbox.restore(saved.outbox);
      this.#outbox.resume();
    }
  }

  static async login(regions, user, password, device, more = {}) {
    const client = new Client(regions, "", { ...more, user, saved: null });
    let answer;
    try {
      const body = { user, password, device };
      answer = (await client.#transport.call("POST", "/v1/login", { body, key: newKey() })).body;
    } finally {
      client.close();
    }
    const made = new Client(regions, answer.token, { ...more, user });
    made.#transport.tokens.take(answer);
    return made;
  }

  close() {
    this.#transport.close();
    this.#follower.stream.interrupt();
  }

  // -- regions

  get token() { return this.#transport.tokens.token; }
  get refreshToken() { return this.#transport.tokens.refreshToken; }
  get region() { return this.#transport.region; }
  get clock() { return this.#transport.clock; }
  get unsent() { return this.#outbox.waiting().length; }
  get position() { return this.#follower.position; }

  switch(region) { this.#transport.switchTo(region); }
  see(clock) { this.#transport.see(clock); }
  settled() { return this.#outbox.settled(); }

  // -- receiving

  async begin() {
    this.#follower.wanted = true;
    await this.#follower.begin();
  }

  updates() { return this.#follower.updates(); }

  async freshState() {
    const fresh = new State(this.user, this.options.historyMax);
    await loadAll(this.#transport, fresh);
    return fresh;
  }

  saved() {
    const [follower, outbox] = [this.#follower.saved(), this.#outbox.saved()];
    return JSON.parse(JSON.stringify({ version: SAVED_VERSION, user: this.user, clock: this.clock, follower, outbox }));
  }

  // -- messages

  send(to, text = "", { content, mentions, replyTo, draft, ...how } = {}) {
    return this.#write("POST", "/v1/messages", messageBody({ to, text, content, mentions, replyTo, draft }), how);
  }

  sendMany(drafts) {
    return this.#outbox.writeMany(drafts.map(({ key, ...draft }) => ({
      key: key || newKey(), method: "POST", path: "/v1/messages", body: messageBody(draft),
    })));
  }

  forward(message, to, how) { return this.#write("POST", "/v1/messages", { to, forward_of: message }, how); }

  edit(message, text, { content, ...how } = {}) {
    return this.#about(message, "PATCH", "", how, given({ text, content }));
  }

  recall(message, how) { return this.#about(message, "DELETE", "", { ...how, query: { for: "all" } }); }
  hide(message, how) { return this.#about(message, "DELETE", "", { ...how, query: { for: "me" } }); }
  react(message, emoji, how) { return this.#about(message, "PUT", `/reactions/${part(emoji)}`, how); }
  unreact(message, emoji, how) { return this.#about(message, "DELETE", `/reactions/${part(emoji)}`, how); }

  async *history(peer, { before } = {}) {
    await this.#follower.beforeLoading();
    yield* backwards(this.#transport, messagesOf(peer), withReplies, before);
  }

  async *historyAfter(peer, after) {
    await this.#follower.beforeLoading();
    yield* each(pages(this.#transport, messagesOf(peer), withReplies, { after }, "next_after"));
  }

  async *mentions(peer) {
    await this.#follower.beforeLoading();
    yield* each(pages(this.#transport, `/v1/dialogs/${part(peer)}/mentions`, "messages", {}, "next_after"));
  }

  async thread(message) {
    await this.#follower.beforeLoading();
    return this.#get(`/v1/messages/${part(message)}/replies`);
  }

  async *repliesBefore(message, { before = NEWEST } = {}) {
    await this.#follower.beforeLoading();
    yield* backwards(this.#transport, `/v1/messages/${part(message)}/replies`, "replies", before);
  }

  async *replies(message, { after } = {}) {
    await this.#follower.beforeLoading();
    yield* each(pages(this.#transport, `/v1/messages/${part(message)}/replies`, "replies", given({ after }), "next_after"));
  }

  // -- dialogs

  async *dialogs() {
    await this.#follower.beforeLoading();
    yield* this.#each("/v1/dialogs", "dialogs");
  }

  read(peer, message, how) { return this.#mark(peer, "read", message, how); }
  clear(peer, message, how) { return this.#mark(peer, "clear", message, how); }
  pin(peer, rank, how) { return this.#write("PUT", `/v1/dialogs/${part(peer)}/pin`, { rank }, how); }
  mute(peer, untilMs, how) { return this.#write("PUT", `/v1/dialogs/${part(peer)}/mute`, { until_ms: untilMs }, how); }
  markUnread(peer, on = true, how = {}) { return this.#write("PUT", `/v1/dialogs/${part(peer)}/unread`, { on }, how); }

  setDraft(peer, text, { replyTo, ...how } = {}) {
    return this.#write("PUT", `/v1/dialogs/${part(peer)}/draft`, given({ text, reply_to: replyTo }), how);
  }

  clearDraft(peer, how) { return this.#write("DELETE", `/v1/dialogs/${part(peer)}/draft`, null, how); }

  // -- chats

  createGroup(title, users = [], more = {}) { return this.#create("group", title, users, more); }
  createSupergroup(title, users = [], more = {}) { return this.#create("supergroup", title, users, more); }
  chat(chat) { return this.#get(`/v1/chats/${part(chat)}`); }

  updateChat(chat, { title, about, avatar, entry }, how) {
    return this.#write("PATCH", `/v1/chats/${part(chat)}`, given({ title, about, avatar, entry }), how);
  }

  dissolve(chat, how) { return this.#write("DELETE", `/v1/chats/${part(chat)}`, null, how); }
  members(chat) { return this.#each(`/v1/chats/${part(chat)}/members`, "members"); }
  addMembers(chat, users, how) { return this.#write("POST", `/v1/chats/${part(chat)}/members`, { users: [...users] }, how); }
  join(chat, how) { return this.#write("POST", `/v1/chats/${part(chat)}/join`, null, how); }
  leave(chat, how) { return this.#write("DELETE", `/v1/chats/${part(chat)}/members/me`, null, how); }
  kick(chat, user, how) { return this.#write("DELETE", `/v1/chats/${part(chat)}/members/${part(user)}`, null, how); }
  setRole(chat, user, role, how) { return this.#write("PATCH", `/v1/chats/${part(chat)}/members/${part(user)}`, { role }, how); }
  handOver(chat, user, how) { return this.#write("PUT", `/v1/chats/${part(chat)}/owner`, { user }, how); }

  // -- coming into chats

  createInvite(chat, { expiresMs, usesMax, approval, ...how } = {}) {
    const body = given({ expires_ms: expiresMs, uses_max: usesMax, approval });
    return this.#write("POST", `/v1/chats/${part(chat)}/invites`, body, how);
  }

  async invites(chat) { return (await this.#get(`/v1/chats/${part(chat)}/invites`)).invites; }
  revokeInvite(chat, invite, how) { return this.#write("DELETE", `/v1/chats/${part(chat)}/invites/${part(invite)}`, null, how); }
  async lookAtInvite(link) { return (await this.#transport.call("POST", "/v1/invites/look", { body: { link } })).body; }
  acceptInvite(link, how) { return this.#write("POST", "/v1/invites/accept", { link }, how); }
  askToJoin(chat, how) { return this.#write("POST", `/v1/chats/${part(chat)}/requests`, null, how); }
  withdrawRequest(chat, how) { return this.#write("DELETE", `/v1/chats/${part(chat)}/requests/me`, null, how); }
  async myRequests() { return (await this.#get("/v1/me/requests")).requests.map((one) => one.chat); }
  requests(chat) { return this.#each(`/v1/chats/${part(chat)}/requests`, "requests"); }
  letIn(chat, user, how) { return this.#write("POST", `/v1/chats/${part(chat)}/requests/${part(user)}/approve`, null, how); }
  refuse(chat, user, how) { return this.#write("DELETE", `/v1/chats/${part(chat)}/requests/${part(user)}`, null, how); }
  ban(chat, user, how) { return this.#write("PUT", `/v1/chats/${part(chat)}/bans/${part(user)}`, null, how); }
  unban(chat, user, how) { return this.#write("DELETE", `/v1/chats/${part(chat)}/bans/${part(user)}`, null, how); }
  bans(chat) { return this.#each(`/v1/chats/${part(chat)}/bans`, "users"); }

  // -- people

  me() { return this.#get("/v1/me"); }
  profile(user) { return this.#get(`/v1/users/${part(user)}`); }
  updateMe({ name, about, avatar }, how) { return this.#write("PATCH", "/v1/me", given({ name, about, avatar }), how); }
  block(user, how) { return this.#write("PUT", `/v1/blocks/${part(user)}`, null, how); }
  unblock(user, how) { return this.#write("DELETE", `/v1/blocks/${part(user)}`, null, how); }
  async isBlocked(user) { return (await this.#get(`/v1/blocks/${part(user)}`)).blocked; }
  blocked() { return this.#each("/v1/blocks", "users"); }
  askContact(user, how) { return this.#write("POST", "/v1/contacts", { user }, how); }
  acceptContact(user, how) { return this.#write("POST", `/v1/contacts/${part(user)}/accept`, null, how); }
  deleteContact(user, how) { return this.#write("DELETE", `/v1/contacts/${part(user)}`, null, how); }
  contacts(state = "") { return this.#each("/v1/contacts", "contacts", state ? { state } : {}); }
  async dnd() { return (await this.me()).dnd; }
  setDnd(untilMs, schedule = null, how = {}) { return this.#write("PUT", "/v1/me/dnd", { until_ms: untilMs, schedule }, how); }
  claimHandle(handle, how) { return this.#write("PUT", "/v1/me/handle", { handle }, how); }
  releaseHandle(how) { return this.#write("DELETE", "/v1/me/handle", null, how); }
  async find(handle) { return (await this.#get(`/v1/handles/${part(handle)}`)).user; }

  // -- files

  // The bytes are not kept in the outbox: what is Unreachable is put again by the caller, under the same key.
  async putFile(data, { name, type, key = newKey() } = {}) {
    const kind = type || "application/octet-stream";
    const answer = await this.#transport.call("POST", "/v1/files", { query: given({ name }), key, data, kind });
    const replayed = answer.headers.get("Idempotency-Replayed") === "true";
    return { id: answer.body.id, key, durability: "local", replayed, answer: answer.body };
  }

  async file(sha256, { message } = {}) {
    const path = `/v1/files/${part(sha256)}`;
    return (await this.#transport.call("GET", path, { query: given({ message }), raw: true })).bytes;
  }

  // -- messages that are to be sent later

  schedule(to, text, { atMs, content, mentions, replyTo, draft, ...how }) {
    const body = { ...messageBody({ to, text, content, mentions, replyTo, draft }), at_ms: atMs };
    return this.#write("POST", "/v1/scheduled", body, how);
  }

  unschedule(scheduled, how) { return this.#write("DELETE", `/v1/scheduled/${part(scheduled)}`, null, how); }
  async scheduled() { return (await this.#get("/v1/scheduled")).scheduled; }

  // -- devices and sessions

  async devices() { return (await this.#get("/v1/devices")).devices; }
  registerDevice(device, provider, token, how) { return this.#write("PUT", `/v1/devices/${part(device)}`, { provider, token }, how); }
  forgetDevice(device, how) { return this.#write("DELETE", `/v1/devices/${part(device)}`, null, how); }
  async sessions() { return (await this.#get("/v1/sessions")).sessions; }
  revoke(session, how) { return this.#write("DELETE", `/v1/sessions/${part(session)}`, null, how); }
  logout(how) { return this.#write("POST", "/v1/logout", null, how); }

  // -- inside

  async #get(path) { return (await this.#transport.call("GET", path)).body; }

  #each(path, what, query) { return each(pages(this.#transport, path, what, query)); }

  async #write(method, path, body, { key = "", durability = "", query = null, message = "" } = {}) {
    return this.#outbox.write({ key: key || newKey(), method, path, body, query, message, durability });
  }

  #about(message, method, rest, how, body = null) {
    return this.#write(method, `/v1/messages/{message}${rest}`, body, { ...how, message });
  }

  // Only what was delivered to us may be covered, so the mark says how far we are.
  async #mark(peer, what, message, how) {
    const body = { message, ...(await this.#follower.place()) };
    return this.#write("POST", `/v1/dialogs/${part(peer)}/${what}`, body, how);
  }

  #create(kind, title, users, { about, avatar, ...how }) {
    const body = given({ kind, title, users: [...users], about: about || null, avatar: avatar || null });
    return this.#write("POST", "/v1/chats", body, how);
  }
}
