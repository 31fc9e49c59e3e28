// What planb.js promises. Ids are strings of digits: they are beyond 2^53. What the API answers is handed on as it is, with
// the names of docs/client-protocol.md.

export type Id = string;

/** The root of what a call may raise. */
export class PlanBError extends Error {}

/** The server refused; repeating the same call changes nothing. `code` is stable (docs/errors.md). */
export class ApiError extends PlanBError {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  /** The problem document (RFC 9457). */
  readonly problem: Record<string, unknown>;
}

/** The token is not valid, has expired and can't be refreshed, or its session was revoked: log in again. */
export class Unauthenticated extends ApiError {}

/** Of `updates()`: a newer stream of the session took this one's place. Follow again when the user turns to this client. */
export class Replaced extends ApiError {}

/** No region answered in time. A write stays in the outbox under `key`, and is sent in the background. */
export class Unreachable extends PlanBError {
  readonly key: string;
}

/** Too many writes wait for their answer: nothing was sent. */
export class OutboxFull extends PlanBError {}

/** The client was closed. */
export class Closed extends PlanBError {}

/** Every bound and pause; what each is for stands beside it in planb.js. */
export interface Options {
  readonly requestTimeoutMs: number;
  readonly giveUpMs: number;
  readonly backoffFirstMs: number;
  readonly backoffMaxMs: number;
  readonly triesPerRegion: number;
  readonly autoSwitch: boolean;
  readonly page: number;
  readonly outboxMax: number;
  readonly outboxBytesMax: number;
  readonly resendAfterMs: number;
  readonly doublesKeptMax: number;
  readonly cursorAfter: number;
  readonly framesMax: number;
  readonly pendingMax: number;
  readonly historyMax: number;
  readonly spreadMs: number;
  readonly silentBeats: number;
  /** A class like the global one, for a Node that has none. */
  readonly WebSocket: (new (url: string) => any) | undefined;
  /** Told what happens in the background and nobody waits for. */
  readonly log: (text: string) => void;
}

/** The defaults. */
export const OPTIONS: Options;

/** As docs/client-protocol.md says for each kind. */
export interface Content {
  kind: string;
  [name: string]: unknown;
}

/** Content of a message with `system`: what was done, to whom, and of each changed field the value before and after. */
export interface Line extends Content {
  kind: "system";
  what: string;
  users?: Id[];
  old?: Record<string, string>;
  new?: Record<string, string>;
}

export interface Message {
  id: Id;
  conversation: Id;
  from: Id;
  key: string;
  /** The same for all copies of one message, in every datacenter: what it is known by. */
  class: string;
  /** Null when it was recalled; may be "" where there is content. */
  text: string | null;
  /** The event of the edit that is shown. */
  edited: Id | null;
  recalled: boolean;
  reactions: Record<string, Id[]>;
  reply_to: Id | null;
  /** A line that tells what `from` did to the chat; nobody wrote it. Its content is a `Line`. */
  system: boolean;
  /** What it holds besides its text. */
  content?: Content | null;
  /** Whom it names: users, or "all". */
  mentions?: Id[];
  /** Of a reply: the first message of the thread that it is in. */
  thread?: Id | null;
  /** What it repeats. */
  forwarded?: { from: Id; message: Id } | null;
  /** Further ids, if a retry through another datacenter made any. */
  copies?: Id[];
  /** In a history, of a message that has any: as they were when the page was read. */
  replies?: Replies;
}

/** To one message, as far as I may see them. */
export interface Replies {
  /** Of the newest ones, without those that were recalled, and those that I have hidden or cleared. */
  count: number;
  /** There are older ones than were counted. */
  more: boolean;
  newest: Id | null;
}

/** A message and the replies to it and to one another. */
export interface Thread {
  /** Its first message. */
  thread: Id;
  /** The same, where it is in this region and shown to me. */
  root: Message | null;
  /** Replies that were not recalled. */
  count: number;
  /** There are more than were counted. */
  count_more: boolean;
}

export interface Profile {
  id: Id;
  name: string;
  avatar: string;
  about: string;
}

export interface Dnd {
  until_ms: number | null;
  schedule: { zone: string; from: string; to: string; days?: number[] } | null;
}

export interface Me extends Profile {
  dnd: Dnd | null;
}

export interface Contact {
  user: Profile;
  /** "asked" by me, or he "asks" me. */
  state: "contact" | "asked" | "asks" | "none";
  since: Id;
}

export interface Chat {
  id: Id;
  kind: "group" | "supergroup";
  title: string;
  about: string;
  avatar: string;
  creator: Id;
  owner: Id;
  /** Who comes in by himself: whoever knows the id; whoever asks and is let in; nobody. */
  entry: "open" | "approval" | "closed";
  dissolved: boolean;
}

/** A link into a chat; `link` is what lets its bearer in. */
export interface Invite {
  invite: Id;
  link: string;
  creator: Id;
  made: Id;
  expires_ms: number | null;
  uses_max: number | null;
  used: number;
  approval: boolean;
}

/** What a link leads to. */
export interface InviteShown {
  chat: Id;
  kind: "group" | "supergroup";
  title: string;
  about: string;
  avatar: string;
  approval: boolean;
  present: boolean;
}

/** Somebody asks to be let into a chat. */
export interface JoinRequest {
  event: Id;
  user: Profile;
  invite: Id | null;
}

export interface Member {
  user: Id;
  role: "owner" | "admin" | "member";
  joined: Id;
}

/** What I have begun to write in a dialog, on any of my devices. `revision` is for `send(…, { draft })`. */
export interface KeptDraft {
  text: string;
  reply_to: Id | null;
  revision: Id;
}

export interface DialogSettings {
  pin: string | null;
  muted_until_ms: number | null;
  marked_unread: boolean;
  draft: KeptDraft | null;
  /** Messages that name me and that I have not read. */
  unread_mentions: number;
  /** There may be others. */
  unread_mentions_more: boolean;
  /** Lane -> the greatest id read. */
  read: Record<string, Id>;
  cleared: Record<string, Id>;
}

export interface Dialog extends DialogSettings {
  conversation: Id;
  kind: "direct" | "group" | "supergroup";
  peer: { user: Profile } | { chat: Chat };
  /** False for a chat that I was removed from. */
  present: boolean;
  top: Message | null;
  /** There may be one further back than was looked; the history tells. */
  top_more: boolean;
  unread: number;
  unread_more: boolean;
}

/** A message of mine that waits to be sent, or was not sent. */
export interface ScheduledMessage {
  scheduled: Id;
  at_ms: number;
  /** As it was given: `to`, and what it says. */
  message: Record<string, unknown>;
  /** Why it was not sent; null while it waits. */
  failure: { code: string; detail: string } | null;
}

export interface PushDevice {
  device: string;
  provider: string;
  /** The region that would push to it. */
  home: string;
  /** False: another device has registered its token since. */
  pushes: boolean;
}

export interface Session {
  session: string;
  device: string;
  expires_ms: number;
  current: boolean;
}

/** A message for `sendMany`. */
export interface Draft {
  to: Id;
  text?: string;
  content?: Content;
  mentions?: Id[];
  replyTo?: Id;
  key?: string;
}

/** An acknowledged write. */
export interface Receipt {
  /** Its event; of a message also the message's id. */
  id: Id;
  key: string;
  /** "remote" where another datacenter holds it as well. */
  durability: "local" | "remote";
  /** An earlier try had done it already. */
  replayed: boolean;
  /** All of the answer: of a message `conversation`, of a new chat `chat`. */
  answer: { id: Id; conversation?: Id; chat?: Id; [name: string]: unknown };
}

/** Something changed; `body` shows it as it is now, as docs/client-protocol.md says for each type. "reset": more was
 * trimmed than updates can tell; load again. */
export interface Update {
  type: string;
  event: Id;
  pts: number;
  /** The supergroup in whose updates it came. */
  channel: Id | null;
  body: Record<string, any>;
  /** A message that this client had not seen before, as opposed to a change of one. */
  first: boolean;
  /** Null for another type, and for a change of a message that has not arrived yet. */
  message: Message | null;
  chat: Chat | null;
}

/** Where a cursor stands, in clear. */
export interface Position {
  dc: string;
  epoch: number;
  pts: number;
  channels: Record<Id, number>;
}

/** What a client went through; `missed` is never anything but 0. */
export type Stats = Record<
  | "received" | "repeated" | "missed" | "holes" | "fetched" | "fetches" | "resumes" | "resets" | "reconnects" | "switches"
  | "retries" | "resent" | "refused" | "evicted" | "refreshes",
  number
>;

export interface Snapshot {
  messages: Record<Id, Record<Id, Message>>;
  chats: Record<Id, Chat>;
  dialogs: Record<Id, DialogSettings>;
}

/** What a client knows, kept right by updates. Bounded to the newest messages of each conversation. */
export class State {
  constructor(user: Id, historyMax?: number);
  readonly user: Id;
  readonly historyMax: number;
  loaded: boolean;
  /** Conversation -> message id -> message. */
  readonly messages: Map<Id, Map<Id, Message>>;
  readonly chats: Map<Id, Chat>;
  readonly dialogs: Map<Id, DialogSettings>;
  /** Chat -> user -> role, as far as updates told. */
  readonly members: Map<Id, Map<Id, string>>;
  /** Chats that I am not in any more. */
  readonly left: Set<Id>;
  readonly profiles: Map<Id, Profile>;
  /** Sessions. */
  readonly revoked: Set<string>;
  /** User -> state, as far as updates told. */
  readonly contacts: Map<Id, Contact["state"]>;
  readonly blocked: Map<Id, boolean>;
  /** Messages that I hid. */
  readonly hidden: Map<string, true>;
  /** Conversations to be loaded again. */
  readonly stale: Set<Id>;
  /** What two clients with equal knowledge have equal. */
  snapshot(): Snapshot;
  /** Takes one update in; any may come again. */
  fold(update: { type: string; event: Id; [name: string]: any }): void;
  clear(): void;
  /** Takes an entry of the dialogs in. */
  loadDialog(entry: Dialog): void;
  /** The newest messages of a conversation, in place of what was known of it. */
  loadHistory(conversation: Id, messages: Message[]): void;
  /** How many messages of a conversation name me and are not read. */
  loadMentions(conversation: Id, count: number, more: boolean): void;
}

/** What `saved()` tells: plain JSON, for the next `Client`. */
export interface Saved {
  readonly version: number;
  readonly user: Id;
  readonly [name: string]: unknown;
}

export interface Making {
  /** Whose token it is; needed for `keepState`. */
  user?: Id;
  /** Hold chats, dialogs and messages in `state`. */
  keepState?: boolean;
  /** What an earlier client of this user told by `saved()`. TypeError if it is none of his. */
  saved?: Saved | null;
  options?: Partial<Options>;
  /** Brings another token when this one expires. Each is good for one use, by one client. */
  refreshToken?: string;
  /** Told each new pair before it is used: keep it, it is what the session goes on with. */
  onTokens?: (pair: Pair) => void;
}

/** What to keep, to go on with the session elsewhere. */
export interface Pair {
  readonly token: string;
  readonly refreshToken: string;
}

/** How a write is sent. The same key is the same intention, however often it is sent; one is made where none is given. */
export interface How {
  key?: string;
  /** "remote" waits for another datacenter. */
  durability?: "" | "local" | "remote";
}

/** One session of one user. Writes raise ApiError for a refusal, and Unreachable when no region answered in time; then the
 * write stays in the outbox and is sent later. */
export class Client {
  /** `regions`: base URLs, the nearest first. */
  constructor(regions: string[], token: string, more?: Making);
  /** A client with a new session. Unauthenticated if user or password is wrong. */
  static login(regions: string[], user: Id, password: string, device: string, more?: Making): Promise<Client>;
  /** Ends everything. What still waits in the outbox is gone, unless you keep what `saved()` tells. */
  close(): void;

  readonly options: Options;
  readonly stats: Stats;
  readonly user: Id;
  /** With `keepState`: loaded at the first iteration of `updates`, and kept right by it. */
  readonly state: State | null;
  get token(): string;
  get refreshToken(): string;
  /** The one that is used now. */
  get region(): string;
  /** How far this client has seen, as X-Clock; "" at first. For another client's `see`. */
  get clock(): string;
  /** Writes that wait in the outbox without an answer. */
  get unsent(): number;
  /** How far the updates have been followed. */
  get position(): Position | null;

  /** Goes to another region. Updates go on without a gap; writes that it does not cover are sent again. */
  switch(region: string): void;
  /** What is written from now on is stamped after all that the client saw from which this clock is. */
  see(clock: string): void;
  /** Returns when every write is acknowledged, and known to be where we are. */
  settled(): Promise<void>;

  /** From here on nothing is missed: `updates` will hand on what comes after this, whenever it is asked. */
  begin(): Promise<void>;
  /** All that concerns me, from `begin` or the first iteration on, without gaps and without doubles, over failures and
   * changes of region. One at a time. Ends when the client is closed; raises Unauthenticated at the end of the session. */
  updates(): AsyncGenerator<Update, void, void>;
  /** State loaded anew, beside `state`: what `state` should be equal to. */
  freshState(): Promise<State>;
  /** What another page or process needs to go on here. It holds the texts of what is in the outbox, and no token. Updates
   * that were taken are behind it, those that were not come again. */
  saved(): Saved;

  /** To a user, a direct, a group or a supergroup. `draft`: the revision of the kept draft that it is sent from.
   * `content`: what it holds besides its text, or instead of one. `mentions`: users, or "all" for a group's members. */
  send(to: Id, text?: string, how?: How & Omit<Draft, "to" | "text"> & { draft?: Id }): Promise<Receipt>;
  /** Many messages in few requests, in order; each has its own outcome. */
  sendMany(drafts: Draft[]): Promise<(Receipt | ApiError)[]>;
  /** Repeats a message that I may read, with its first sender's name. */
  forward(message: Id, to: Id, how?: How): Promise<Receipt>;
  /** What is left out stays as it is. */
  edit(message: Id, text?: string | null, how?: How & { content?: Content }): Promise<Receipt>;
  /** For everybody. */
  recall(message: Id, how?: How): Promise<Receipt>;
  /** For me. */
  hide(message: Id, how?: How): Promise<Receipt>;
  react(message: Id, emoji: string, how?: How): Promise<Receipt>;
  unreact(message: Id, emoji: string, how?: How): Promise<Receipt>;
  /** The newest first. */
  history(peer: Id, from?: { before?: Id }): AsyncGenerator<Message, void, void>;
  /** Above an id, the oldest first. */
  historyAfter(peer: Id, after: Id): AsyncGenerator<Message, void, void>;
  /** Messages of a dialog that name me and that I have not read, the oldest first. */
  mentions(peer: Id): AsyncGenerator<Message, void, void>;
  /** The thread that a message is in, or begins. */
  thread(message: Id): Promise<Thread>;
  /** The replies in the thread of a message, the oldest first. */
  replies(message: Id, from?: { after?: Id }): AsyncGenerator<Message, void, void>;

  /** The same, the newest first. */
  repliesBefore(message: Id, from?: { before?: Id }): AsyncGenerator<Message, void, void>;

  /** Pinned ones first, then by the newest message. One that moves up while they are read may be passed over. */
  dialogs(): AsyncGenerator<Dialog, void, void>;
  /** Marks as read what was delivered to this client, up to a message. */
  read(peer: Id, message: Id, how?: How): Promise<Receipt>;
  /** Clears, for me, what was delivered to this client, up to a message. */
  clear(peer: Id, message: Id, how?: How): Promise<Receipt>;
  /** `rank`: digits of a fraction in base 36, such as "i"; null: not pinned. */
  pin(peer: Id, rank: string | null, how?: How): Promise<Receipt>;
  mute(peer: Id, untilMs: number | null, how?: How): Promise<Receipt>;
  /** Until it is read, or taken back with `on` false. */
  markUnread(peer: Id, on?: boolean, how?: How): Promise<Receipt>;
  /** The receipt's `id` is its revision: for `send(…, { draft })`. */
  setDraft(peer: Id, text: string, how?: How & { replyTo?: Id }): Promise<Receipt>;
  clearDraft(peer: Id, how?: How): Promise<Receipt>;

  /** The receipt's `answer.chat` is its id. */
  createGroup(title: string, users?: Iterable<Id>, more?: How & { about?: string; avatar?: string }): Promise<Receipt>;
  createSupergroup(title: string, users?: Iterable<Id>, more?: How & { about?: string; avatar?: string }): Promise<Receipt>;
  chat(chat: Id): Promise<Chat>;
  updateChat(chat: Id, to: { title?: string; about?: string; avatar?: string; entry?: Chat["entry"] }, how?: How): Promise<Receipt>;
  dissolve(chat: Id, how?: How): Promise<Receipt>;
  /** By user id. */
  members(chat: Id): AsyncGenerator<Member, void, void>;
  addMembers(chat: Id, users: Iterable<Id>, how?: How): Promise<Receipt>;
  join(chat: Id, how?: How): Promise<Receipt>;
  leave(chat: Id, how?: How): Promise<Receipt>;
  kick(chat: Id, user: Id, how?: How): Promise<Receipt>;
  setRole(chat: Id, user: Id, role: "admin" | "member", how?: How): Promise<Receipt>;
  /** My chat is his from now on, while he is a member; I am an admin of it. */
  handOver(chat: Id, user: Id, how?: How): Promise<Receipt>;

  /** The receipt's `answer.link` lets its bearer in, or with `approval` leads to a request. */
  createInvite(chat: Id, more?: How & { expiresMs?: number; usesMax?: number; approval?: boolean }): Promise<Receipt>;
  /** Those that still work. */
  invites(chat: Id): Promise<Invite[]>;
  revokeInvite(chat: Id, invite: Id, how?: How): Promise<Receipt>;
  lookAtInvite(link: string): Promise<InviteShown>;
  /** The receipt's `answer.joined` is false where it made a request. */
  acceptInvite(link: string, how?: How): Promise<Receipt>;
  askToJoin(chat: Id, how?: How): Promise<Receipt>;
  withdrawRequest(chat: Id, how?: How): Promise<Receipt>;
  /** The chats that I ask to be let into, the last one first. */
  myRequests(): Promise<Id[]>;
  /** Who asks to be let into a chat that I manage, the first one first. */
  requests(chat: Id): AsyncGenerator<JoinRequest, void, void>;
  letIn(chat: Id, user: Id, how?: How): Promise<Receipt>;
  refuse(chat: Id, user: Id, how?: How): Promise<Receipt>;
  /** He is removed, and kept out until that is taken back. */
  ban(chat: Id, user: Id, how?: How): Promise<Receipt>;
  unban(chat: Id, user: Id, how?: How): Promise<Receipt>;
  bans(chat: Id): AsyncGenerator<Profile, void, void>;

  me(): Promise<Me>;
  profile(user: Id): Promise<Profile>;
  updateMe(to: { name?: string; about?: string; avatar?: string }, how?: How): Promise<Receipt>;
  /** I get no direct messages from him any more. */
  block(user: Id, how?: How): Promise<Receipt>;
  unblock(user: Id, how?: How): Promise<Receipt>;
  /** By me. */
  isBlocked(user: Id): Promise<boolean>;
  /** Whom I have blocked, by user id. */
  blocked(): AsyncGenerator<Profile, void, void>;
  /** Two who ask each other are contacts. */
  askContact(user: Id, how?: How): Promise<Receipt>;
  /** He has asked me. */
  acceptContact(user: Id, how?: How): Promise<Receipt>;
  /** Also takes my request back, or refuses his. */
  deleteContact(user: Id, how?: How): Promise<Receipt>;
  /** By user id. `state`: only these. */
  contacts(state?: "" | "contact" | "asked" | "asks"): AsyncGenerator<Contact, void, void>;
  /** When I am not to be disturbed. */
  dnd(): Promise<Dnd | null>;
  /** Both null: nothing. */
  setDnd(untilMs: number | null, schedule?: Dnd["schedule"], how?: How): Promise<Receipt>;
  /** And give up the one before. Should somebody have claimed it earlier elsewhere, an update `handle` says so. */
  claimHandle(handle: string, how?: How): Promise<Receipt>;
  releaseHandle(how?: How): Promise<Receipt>;
  /** Whose a handle is. */
  find(handle: string): Promise<Profile>;

  /** The receipt's `answer.sha256` is for the `content` of a message. Put again, under the same key, what is Unreachable. */
  putFile(data: Uint8Array, how?: { name?: string; type?: string; key?: string }): Promise<Receipt>;
  /** One that I have put, or that this message names. */
  file(sha256: string, of?: { message?: Id }): Promise<Uint8Array>;

  /** As `send`, at a time in milliseconds since 1970. The receipt's `answer.scheduled` is for `unschedule`. */
  schedule(to: Id, text: string, how: How & Omit<Draft, "to" | "text"> & { atMs: number; draft?: Id }): Promise<Receipt>;
  /** It is not sent, or not shown any more if it was not. `gone`: it was sent. */
  unschedule(scheduled: Id, how?: How): Promise<Receipt>;
  /** What waits, and what was not sent, the first that is due first. */
  scheduled(): Promise<ScheduledMessage[]>;

  /** Those that are registered for pushes. */
  devices(): Promise<PushDevice[]>;
  /** The region that takes it would push. */
  registerDevice(device: string, provider: string, token: string, how?: How): Promise<Receipt>;
  forgetDevice(device: string, how?: How): Promise<Receipt>;
  /** Those that are still valid. */
  sessions(): Promise<Session[]>;
  /** Ends a session of mine. */
  revoke(session: string, how?: How): Promise<Receipt>;
  /** Ends this session; close the client afterwards. */
  logout(how?: How): Promise<Receipt>;
}
